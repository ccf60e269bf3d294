"""Every action of a page has a key, and a method of the controller that does the same."""

import inspect
import re
from importlib.resources import files

import pytest

from freezeviz.explorer import Controller
from freezeviz.explorer._looks import COLUMNS, USUAL_COLUMNS, PlotLook
from freezeviz.explorer._presets import LABELS, NEED_PLACE
from freezeviz.widgets import _messages as messages

JS = files("freezeviz.widgets") / "static" / "js"
# By what code does the same as an action of the page.
METHODS = {
    "toggle": ["toggle", "toggle_many"],
    "freeze": ["freeze"],
    "unfreeze": ["unfreeze"],
    "hold": ["hold", "release"],
    "lock": ["lock", "unlock"],
    "up_to": ["apply_preset"],
    "after": ["apply_preset"],
    "freeze_all": ["freeze"],
    "unfreeze_all": ["unfreeze"],
    "presets": ["presets", "apply_preset"],
    "undo": ["undo"],
    "redo": ["redo"],
    "search": ["search"],
    "next": ["next_found"],
    "previous": ["previous_found"],
    "filter": ["filter", "kinds"],
    "selector": ["preview", "freeze", "unfreeze"],
    "select": ["select_rows"],
    "select_down": ["select_rows"],
    "select_up": ["select_rows"],
    "select_all": ["select_all"],
    "select_kind": ["filter", "select_rows"],
    "deselect": ["select_none"],
    "expand": ["expand"],
    "collapse": ["collapse", "collapse_all"],
    "details": ["details"],
    "columns": ["show_columns"],
    "menu": [],  # opens what has these actions
    "tied": ["tied"],
    "code": ["code"],
    "policy": ["policy"],
    "path": ["rows"],
    "keys": [],  # help(controller)
    "start": ["start"],
    "pause": ["pause", "resume"],
    "stop": ["stop"],
    "plot": ["show_plots"],
    "axis": ["show_plots"],
    "log": ["show_plots"],
    "rougher": ["show_plots"],
    "smoother": ["show_plots"],
    "table": ["show_plots"],
    "png": ["export"],
    "svg": ["export"],
    "csv": ["export"],
}
OPEN_MENUS = {"more", "row_menu"}


def source(name):
    return (JS / name).read_text(encoding="utf-8")


def actions():
    """Ids and keys of the page's list of actions."""
    text = source("actions.js")
    pattern = r'\{\s*id: "(\w+)",\s*label: "[^"]+",\s*group: "\w+",(?:\s*keys: \[([^\]]*)\])?'
    found = {m[1]: re.findall(r'"([^"]+)"', m[2] or "") for m in re.finditer(pattern, text)}
    assert len(found) == len(re.findall(r"\bid: \"", text)) > 40
    return found


def test_every_action_of_the_page_has_a_method():
    assert METHODS.keys() == actions().keys()


@pytest.mark.parametrize("name", sorted({name for names in METHODS.values() for name in names}))
def test_every_such_method_is_there_and_tells_what_it_does(name):
    method = getattr(Controller, name)
    assert callable(method)
    assert inspect.getdoc(method)


def test_every_action_of_the_page_has_a_key_of_its_own():
    keys = actions()
    assert [name for name, own in keys.items() if not own] == []
    every = [key for own in keys.values() for key in own]
    assert len(every) == len(set(every))


def test_whatever_can_be_pressed_or_chosen_is_in_the_list_of_actions():
    used = set()
    for path in JS.iterdir():
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'(?<!\.)\b(?:button|iconButton|menuButton|opener)\("(\w+)"', text))
        used |= set(re.findall(r'"data-action": "(\w+)"', text))
        used |= set(re.findall(r'item\(panel, "(\w+)"', text))
        used |= set(re.findall(r'this\.opener\("(\w+)"', text))
    assert {"freeze_all", "details", "path", "start", "filter", "select_kind"} <= used
    assert used - actions().keys() == OPEN_MENUS


def test_whatever_a_page_may_ask_for_is_a_method():
    asked = messages.ON_PATHS | {"preview", "details", "code", "policy", "export"}
    asked |= messages.PLAIN - {"hello", "bye", "freeze_all", "unfreeze_all"}
    asked |= {"toggle", "start", "fold", "columns", "plots"}
    other = {"fold": "expand", "columns": "show_columns", "plots": "show_plots"}
    for name in asked:
        assert callable(getattr(Controller, other.get(name, name)))


def test_columns_of_the_page_are_those_of_the_controller():
    text = source("columns.js")
    assert tuple(re.findall(r'\{\s*key: "(\w+)"', text)) == COLUMNS
    usual = re.search(r"DEFAULT_COLUMNS = \[(.*?)\]", text)
    assert usual is not None
    assert tuple(re.findall(r'"(\w+)"', usual[1])) == USUAL_COLUMNS


def test_plots_of_the_page_begin_as_those_of_the_controller():
    text = source("plotframe.js")
    look = PlotLook()
    positions, begins, tab, axis = (
        "".join(re.findall(pattern, text))
        for pattern in (
            r"SMOOTH = \[(.*?)\]",
            r'value: "(\d+)",\s*"aria-label": "smooth"',
            r"TABS = \{ (\w+):",
            r'AXES = \["(\w+)"',
        )
    )
    assert float(positions.split(", ")[int(begins)]) == look.smooth
    assert (tab, axis) == (look.plot, look.x)


def test_presets_about_a_place_are_those_of_the_page():
    places = re.search(r"AT_ROW = \[(.*?)\]", source("actions.js"))
    assert places is not None
    assert tuple(re.findall(r'"(\w+)"', places[1])) == NEED_PLACE
    assert set(NEED_PLACE) < LABELS.keys()
