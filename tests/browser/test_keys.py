"""Keys outside of the tree's rows, keys of the run and its plots, and where the focus is then."""

import pytest

from tests.browser.plots_page import history_of, show_history
from tests.browser.stub_page import (
    IDLE,
    RUNNING,
    kernel_answer,
    kernel_set,
    make_info,
    mlp,
    mount,
    sent,
)
from tests.browser.test_tree import focused, row

pytestmark = pytest.mark.browser

UNDO, REDO = "Control+z", "Control+Shift+z"


def listen(page):
    """Hear what a notebook hears: key presses that reach the document."""
    page.evaluate(
        """() => {
          window.heard = [];
          document.addEventListener("keydown", (event) => window.heard.push(event.key), true);
        }"""
    )


def heard(page):
    return page.evaluate("() => window.heard.filter((k) => !['Control', 'Shift'].includes(k))")


def asked_for(page):
    return [m["type"] for m in sent(page) if m["type"] not in ("hello", "select")]


def note(page):
    return page.locator(".fz-note").text_content()


def spoken(page):
    return page.locator("[aria-live=polite]").text_content()


def press_in_tree(page, *keys):
    row(page, "layers.0").focus()
    for key in keys:
        page.keyboard.press(key)


# ---- undo and redo are ours all over the view


@pytest.mark.parametrize(
    "name",
    ["Freeze all", "Presets", "Pause", "Stop", "Filter", "Table", "Curves", "smooth", "log y"],
)
def test_undo_and_redo_are_of_the_model_on_every_button_and_never_the_notebooks(page, name):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(20))
    listen(page)
    roles = {"Curves": "tab", "smooth": "slider", "log y": "checkbox"}
    page.get_by_role(roles.get(name, "button"), name=name, exact=True).first.focus()
    for key in (UNDO, "Control+y", REDO, "Meta+z"):
        page.keyboard.press(key)
    assert asked_for(page) == ["undo", "redo", "redo", "undo"]
    assert [key for key in heard(page) if key != "Meta"] == []


def test_undo_and_redo_are_of_the_model_in_the_bar_of_a_selection_and_in_panes(page):
    mount(page, mlp())
    listen(page)
    press_in_tree(page, "Shift+Space", "Shift+G")
    page.get_by_role("group", name="Selection").get_by_role(
        "button", name="Freeze", exact=True
    ).focus()
    page.keyboard.press(UNDO)
    page.get_by_role("combobox", name="State").focus()
    page.keyboard.press(UNDO)
    page.get_by_label("with buffers").focus()
    page.keyboard.press(REDO)
    assert asked_for(page) == ["undo", "undo", "redo"]
    assert heard(page) == []


@pytest.mark.parametrize("role", ["searchbox", "textbox", "spinbutton"])
def test_where_one_types_undo_is_of_the_text(page, role):
    mount(page, mlp(), run=IDLE)
    press_in_tree(page, "Shift+S")
    listen(page)
    field = page.get_by_role(role)
    field.fill("3")
    page.wait_for_timeout(700)  # what is typed without a pause is undone together
    field.press_sequentially("45")
    for expected in ("3", "10" if role == "spinbutton" else "", "10"[: 2 * (role == "spinbutton")]):
        page.keyboard.press(UNDO)
        assert field.input_value() == expected
    for expected in ("3", "345", "345"):
        page.keyboard.press(REDO)
        assert field.input_value() == expected
    page.keyboard.press("Control+a")
    assert heard(page) == []
    assert {"undo", "redo"} & set(asked_for(page)) == set()


def test_the_browsers_own_undo_in_a_field_is_of_that_field_alone(page):
    mount(page, mlp())
    page.evaluate(
        """() => {
          const cell = document.createElement("div");
          cell.contentEditable = "true";
          cell.id = "cell";
          document.body.prepend(cell);
        }"""
    )
    by_menu = page.context.new_cdp_session(page)

    def choose(command):
        press = {"type": "rawKeyDown", "key": "Unidentified", "commands": [command]}
        by_menu.send("Input.dispatchKeyEvent", press)

    page.locator("#cell").press_sequentially("cell")
    field = page.get_by_role("searchbox")
    field.press_sequentially("norm")
    for _ in range(4):
        choose("undo")
    assert field.input_value() == ""
    assert page.locator("#cell").text_content() == "cell"
    page.keyboard.press(REDO)
    assert field.input_value() == "norm"


def test_a_key_of_a_button_held_down_undoes_once(page):
    mount(page, mlp())
    page.get_by_role("button", name="Freeze all", exact=True).focus()
    page.keyboard.down("Control")
    for _ in range(3):
        page.keyboard.down("z")
    page.keyboard.up("z")
    page.keyboard.up("Control")
    assert asked_for(page) == ["undo"]


# ---- where the focus is after a menu


@pytest.mark.parametrize(
    "keys", [("Shift+P", "1"), ("Shift+P", "Escape"), ("Shift+V", "Escape"), ("Shift+V", "Tab")]
)
def test_a_menu_opened_by_key_gives_the_focus_back_to_its_row(page, keys):
    mount(page, mlp())
    row(page, "layers.2").focus()
    for key in keys:
        page.keyboard.press(key)
    assert page.get_by_role("menu").count() == 0
    assert focused(page) == "layers.2"
    page.keyboard.press("Shift+F")  # the keys of the tree go on
    assert sent(page, "do")[-1]["action"] == "freeze"
    expanded = page.locator("[aria-haspopup=menu][aria-expanded=true]")
    assert expanded.count() == 0


def test_a_menu_opened_at_its_button_gives_the_focus_back_to_the_button(page):
    mount(page, mlp())
    page.get_by_role("button", name="Presets").click()
    page.keyboard.press("Escape")
    assert page.evaluate("() => document.activeElement.textContent") == "Presets"


@pytest.mark.parametrize("key", ["Shift+T", "Shift+R"])
def test_a_preset_about_a_place_needs_one_below_the_model(page, key):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press(key)
    assert sent(page, "do") == []
    assert note(page).startswith("Choose a row below the model first")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(key)
    assert [m["at"] for m in sent(page, "do")] == ["layers.0"]


# ---- the run


def test_a_run_is_started_paused_resumed_and_stopped_by_keys(page):
    mount(page, mlp(), run=IDLE)
    page.get_by_label("epochs").fill("7")
    press_in_tree(page, "Shift+B")
    kernel_set(page, run=RUNNING)
    page.keyboard.press("Shift+W")
    kernel_set(page, run=RUNNING | {"status": "paused"})
    page.keyboard.press("Shift+W")
    kernel_set(page, run=RUNNING)
    page.keyboard.press("Shift+Q")
    assert asked_for(page) == ["start", "pause", "resume", "stop"]
    assert sent(page, "start")[0]["epochs"] == 7
    assert focused(page) == "layers.0"


def test_a_key_that_can_do_nothing_now_says_so(page):
    mount(page, mlp())
    press_in_tree(page, "Shift+B")
    assert note(page).startswith("There is no run yet")
    kernel_set(page, run=IDLE)
    page.keyboard.press("Shift+W")
    assert note(page) == "Nothing runs that could be paused."
    page.keyboard.press("Shift+Q")
    assert note(page) == "Nothing runs that could be stopped."
    page.keyboard.press("F8")
    assert note(page) == "There is nothing in this plot yet."
    kernel_set(page, run=RUNNING)
    page.keyboard.press("Shift+B")
    assert note(page).startswith("It runs already")
    kernel_set(page, run=RUNNING | {"can_start": False})
    page.keyboard.press("Shift+B")
    assert note(page) == "The code that drives this run has it in hand."
    assert asked_for(page) == []


def test_without_a_kernel_keys_of_the_run_do_nothing(page):
    mount(page, mlp(), run=RUNNING, connected=False)
    show_history(page, history_of(20))
    press_in_tree(page, "Shift+Q", "F8", UNDO)
    assert sent(page) == []
    assert note(page).startswith("The kernel behind this view is gone")


# ---- the plots


def test_plots_are_steered_by_keys_from_the_tree_and_from_the_plots(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60, seconds=lambda i: 0.01))
    log = page.get_by_role("checkbox", name="log y")
    axis = page.get_by_role("combobox", name="x axis")
    smooth = page.get_by_role("slider", name="smooth")
    press_in_tree(page, "Shift+K")
    assert log.is_checked()
    assert spoken(page) == "Log scale on"
    before = int(smooth.input_value())
    for key in (".", ".", ","):
        page.keyboard.press(key)
    assert int(smooth.input_value()) == before + 1
    assert spoken(page) == "Smooth 0.9"
    page.keyboard.press("Shift+X")
    assert axis.input_value() == "time"
    assert focused(page) == "layers.0"

    page.get_by_role("slider", name="position in the run").focus()
    page.keyboard.press("Shift+X")
    assert axis.input_value() == "step"
    assert spoken(page) == "x axis: step"
    page.keyboard.press("Shift+I")
    assert page.get_by_role("button", name="Table").get_attribute("aria-pressed") == "true"
    data = page.get_by_role("region", name="Data")
    assert data.evaluate("(data) => document.activeElement === data")
    page.keyboard.press("Shift+I")
    position = page.get_by_role("slider", name="position in the run")
    assert position.evaluate("(slider) => document.activeElement === slider")
    for _ in range(20):
        page.keyboard.press(",")
    assert spoken(page) == "Smooth off"


@pytest.mark.parametrize(
    ("key", "format_"), [("F8", "png"), ("Shift+F8", "svg"), ("Shift+Z", "csv")]
)
def test_plots_are_saved_by_keys(page, key, format_):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    press_in_tree(page, key)
    asked = kernel_answer(page, "export", {"error": f"no {format_} today"})
    assert asked["format"] == format_
    assert note(page) == f"no {format_} today"


def test_keys_of_the_curves_say_so_in_another_tab(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    page.get_by_role("tab", name="Cost").click()
    page.keyboard.press("Shift+K")
    assert not page.get_by_label("log y").is_checked()
    assert note(page) == "Log scale and smoothing are about the curves."


def test_what_is_typed_is_never_a_key_of_the_run(page):
    mount(page, mlp(), run=RUNNING)
    page.get_by_role("searchbox").press_sequentially("QWBXK.,")
    assert page.get_by_role("searchbox").input_value() == "QWBXK.,"
    assert asked_for(page) == []


def test_controls_tell_their_keys(page):
    mount(page, mlp(), run=RUNNING, info=make_info())
    told = {
        ("button", "Start"): "Shift+B",
        ("button", "Pause"): "Shift+W",
        ("button", "Stop"): "Shift+Q",
        ("button", "Table"): "Shift+I",
        ("button", "PNG"): "F8",
        ("button", "SVG"): "Shift+F8",
        ("button", "CSV"): "Shift+Z",
        ("combobox", "x axis"): "Shift+X",
        ("checkbox", "log y"): "Shift+K",
        ("slider", "smooth"): ", .",
        ("button", "Filter"): "Shift+G",
    }
    for (role, name), keys in told.items():
        control = page.get_by_role(role, name=name, exact=True)
        assert control.get_attribute("aria-keyshortcuts") == keys, name
        assert f"({keys})" in control.get_attribute("title"), name


def test_the_list_of_keys_has_those_of_run_and_plots(page):
    mount(page, mlp())
    press_in_tree(page, "?")
    text = page.get_by_role("dialog", name="Keys").inner_text()
    for known in ("Run", "Plots", "Shift+B", "Start the run", "Shift+F8", "Smooth more"):
        assert known in text
