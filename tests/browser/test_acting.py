"""Selecting several rows, menus, presets, locks, columns and code, in Chromium with a stub."""

import struct

import pytest

from tests.browser.stub_page import (
    PRESETS,
    RUNNING,
    answer,
    clicks,
    columns,
    default_state,
    kernel_answer,
    kernel_set,
    make_info,
    mlp,
    mount,
    sent,
)
from tests.browser.test_tree import HOSTILE, dialog_gone, focused, row, word

pytestmark = pytest.mark.browser

HELD, LOCKED = 4, 16


def selected(page):
    rows = page.locator('.fz-row[aria-selected="true"]').all()
    return [row.get_attribute("data-path") for row in rows]


def did(page):
    """What the view asked for, without who and when."""
    return [
        {k: v for k, v in m.items() if k not in ("type", "view", "seq")} for m in sent(page, "do")
    ]


def item(page, name):
    return page.get_by_role("menuitem", name=name)


def menu_labels(page):
    return page.locator(".fz-item-label").all_text_contents()


# ---- several rows


def test_control_click_selects_and_freezes_nothing(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.4").click(modifiers=["Control"])
    assert selected(page) == ["layers.0", "layers.4"]
    assert page.locator(".fz-picked-text").text_content() == "2 rows selected · 8,970 parameters"
    row(page, "layers.0").click(modifiers=["Control"])
    assert selected(page) == ["layers.4"]
    assert clicks(page) == []


def test_shift_click_selects_all_between(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.3").click(modifiers=["Shift"])
    assert selected(page) == ["layers.0", "layers.1", "layers.2", "layers.3"]
    row(page, "").click(modifiers=["Shift"])
    assert selected(page) == ["", "layers.0"]


def test_a_plain_click_is_about_its_row_alone(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.2").click(modifiers=["Control"])
    row(page, "layers.4").click()
    assert selected(page) == []
    assert [click["path"] for click in clicks(page)] == ["layers.4"]
    assert not page.locator(".fz-picked").is_visible()


def test_the_keyboard_selects_as_the_mouse_does(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    assert selected(page) == ["layers.0", "layers.1", "layers.2"]
    page.keyboard.press("Shift+ArrowUp")
    assert selected(page) == ["layers.0", "layers.1"]
    page.keyboard.press("Escape")
    assert selected(page) == []
    page.keyboard.press("Control+Space")
    assert selected(page) == [focused(page)] == ["layers.1"]
    page.keyboard.press("Control+a")
    assert len(selected(page)) == 6


def test_what_is_selected_is_frozen_together(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.4").click(modifiers=["Control"])
    page.get_by_role("button", name="Freeze", exact=True).click()
    row(page, "layers.0").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+U")
    paths = ["layers.0", "layers.4"]
    assert did(page) == [
        {"action": "freeze", "paths": paths},
        {"action": "toggle_many", "paths": paths},
        {"action": "unfreeze", "paths": paths},
    ]


def test_rows_that_are_acted_on_are_pending_until_the_answer(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.4").click(modifiers=["Control"])
    page.keyboard.press("Shift+F")
    assert page.locator('[aria-busy="true"]').count() == 2
    answer(page)
    assert page.locator('[aria-busy="true"]').count() == 0


def test_of_a_selected_row_and_one_below_it_the_upper_one_is_meant(page):
    mount(page, mlp())
    row(page, "layers.0").locator(".fz-twisty").click()
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.0.bias").click(modifiers=["Shift"])
    assert page.locator(".fz-picked-text").text_content() == "3 rows selected · 8,320 parameters"
    page.keyboard.press("Shift+F")
    assert did(page) == [{"action": "freeze", "paths": ["layers.0"]}]


def test_the_kernel_learns_what_is_selected_once_and_not_for_nothing(page):
    mount(page, mlp())
    page.wait_for_timeout(250)
    assert sent(page, "select") == []
    row(page, "layers.0").focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    page.wait_for_timeout(250)
    (message,) = sent(page, "select")
    assert message["paths"] == ["layers.0", "layers.1", "layers.2", "layers.3"]


def test_a_selection_made_elsewhere_shows(page):
    mount(page, mlp())
    chosen = {"n": 1, "view": "another", "rows": [1, 5]}
    kernel_set(page, info=make_info(selected=chosen))
    assert selected(page) == ["layers.0", "layers.2"]
    row(page, "layers.0").click(modifiers=["Control"])
    kernel_set(page, info=make_info("a note", selected=chosen))  # nothing new
    assert selected(page) == ["layers.2"]
    own = sent(page, "hello")[0]["view"]
    kernel_set(page, info=make_info(selected={"n": 2, "view": own, "rows": [0]}))
    assert selected(page) == ["layers.2"]


def test_a_selection_survives_a_new_structure(page):
    mount(page, mlp())
    row(page, "layers.2").click(modifiers=["Control"])
    fewer = [*mlp()[:1], *mlp()[4:]]
    kernel_set(page, tree=columns(fewer, version=2), state=default_state(fewer))
    assert selected(page) == ["layers.2"]


# ---- actions by key, on the focused row


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Shift+F", {"action": "freeze", "paths": ["layers.2"]}),
        ("Shift+U", {"action": "unfreeze", "paths": ["layers.2"]}),
        ("Shift+H", {"action": "hold", "paths": ["layers.2"]}),
        ("Shift+L", {"action": "lock", "paths": ["layers.2"]}),
        ("Shift+T", {"action": "preset", "name": "up_to", "at": "layers.2"}),
        ("Shift+R", {"action": "preset", "name": "after", "at": "layers.2"}),
    ],
)
def test_keys_act_on_the_focused_row(page, key, expected):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.keyboard.press(key)
    assert did(page) == [expected]


def test_what_is_held_is_released_and_what_is_locked_unlocked(page):
    state = default_state(mlp())
    state[5] = 1 | HELD | LOCKED
    mount(page, mlp(), state=state)
    row(page, "layers.2").focus()
    page.keyboard.press("Shift+H")
    page.keyboard.press("Shift+L")
    assert [m["action"] for m in did(page)] == ["release", "unlock"]


def test_freeze_all_has_a_key(page):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.keyboard.press("Shift+A")
    page.keyboard.press("Shift+N")
    assert [m["type"] for m in sent(page, "freeze_all", "unfreeze_all")] == [
        "freeze_all",
        "unfreeze_all",
    ]


def test_a_held_key_acts_once(page):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.keyboard.down("Shift")
    page.keyboard.down("F")
    page.keyboard.down("F")
    page.keyboard.up("F")
    assert len(did(page)) == 1


def test_a_lock_shows_on_its_row_and_on_those_below(page):
    state = default_state(mlp())
    state[1] |= LOCKED
    mount(page, mlp(), state=state)
    row(page, "layers.0").locator(".fz-twisty").click()
    for path in ("layers.0", "layers.0.weight", "layers.0.bias"):
        assert row(page, path).locator(".fz-lock").is_visible()
        assert "locked" in row(page, path).get_by_role("checkbox").get_attribute("aria-label")
    assert not row(page, "layers.2").locator(".fz-lock").is_visible()
    assert word(page, "layers.0") == "trainable"


# ---- menus


def test_presets_are_applied_from_their_menu(page):
    mount(page, mlp())
    opener = page.get_by_role("button", name="Presets")
    opener.click()
    assert opener.get_attribute("aria-expanded") == "true"
    assert menu_labels(page) == list(PRESETS.values())
    item(page, "Only biases train").click()
    assert did(page) == [{"action": "preset", "name": "biases_only"}]
    assert page.get_by_role("menu").count() == 0
    assert opener.get_attribute("aria-expanded") == "false"


def test_presets_about_a_place_name_the_focused_row(page):
    mount(page, mlp())
    page.get_by_role("button", name="Presets").click()
    assert item(page, "up to here").get_attribute("aria-disabled") == "true"
    item(page, "up to here").click(force=True)
    assert did(page) == []
    page.keyboard.press("Escape")
    row(page, "layers.2").focus()
    page.keyboard.press("Shift+P")
    page.keyboard.press("5")
    assert did(page) == [{"action": "preset", "name": "up_to", "at": "layers.2"}]


def test_a_menu_is_used_by_keyboard_and_gives_the_focus_back(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("Shift+M")
    menu = page.get_by_role("menu", name="layers.0")
    assert menu.is_visible()
    active = "() => document.activeElement.querySelector('.fz-item-label')?.textContent"
    assert page.evaluate(active) == "Freeze"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(active) == "Unfreeze"
    page.keyboard.press("End")
    assert page.evaluate(active) == "Copy the path"
    page.keyboard.press("l")
    assert page.evaluate(active) == "Lock against changes"
    page.keyboard.press("Enter")
    assert did(page) == [{"action": "lock", "paths": ["layers.0"]}]
    assert focused(page) == "layers.0"


def test_a_menu_closes_by_escape_and_by_a_press_elsewhere(page):
    mount(page, mlp())
    row(page, "layers.0").click(button="right")
    assert page.get_by_role("menu").count() == 1
    page.keyboard.press("Escape")
    assert page.get_by_role("menu").count() == 0
    row(page, "layers.0").click(button="right")
    page.locator(".fz-counts").click(position={"x": 4, "y": 4})
    assert page.get_by_role("menu").count() == 0
    assert clicks(page) == []


def test_a_right_click_outside_of_a_selection_is_about_its_row(page):
    mount(page, mlp())
    row(page, "layers.0").click(modifiers=["Control"])
    row(page, "layers.2").click(modifiers=["Control"])
    row(page, "layers.0").click(button="right")
    assert selected(page) == ["layers.0", "layers.2"]
    page.keyboard.press("Escape")
    row(page, "layers.4").click(button="right")
    assert selected(page) == []
    item(page, "Freeze").first.click()
    assert did(page) == [{"action": "freeze", "paths": ["layers.4"]}]


def test_all_rows_of_a_type_can_be_selected(page):
    mount(page, mlp())
    row(page, "layers.0").click(button="right")
    item(page, "Select all of type Linear").click()
    assert selected(page) == ["layers.0", "layers.2", "layers.4"]


def test_a_menu_fits_into_the_window(page):
    mount(page, mlp())
    page.set_viewport_size({"width": 420, "height": 420})
    row(page, "layers.4").click(button="right", position={"x": 300, "y": 10})
    box = page.get_by_role("menu").bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    assert box["x"] + box["width"] <= 420
    assert box["y"] + box["height"] <= 420


def test_a_hostile_name_in_a_menu_is_text(page):
    mount(page, [(0, "Net", "Net", "", 6, 0), (1, HOSTILE[0], HOSTILE[1], "", 6, 0)])
    page.locator(".fz-row").nth(1).click(button="right")
    assert any(HOSTILE[1] in label for label in menu_labels(page))
    assert page.evaluate("() => window.pwned") is None
    assert page.locator(".freezeviz img, .freezeviz script").count() == 0


# ---- columns


def numbers(n):
    return b"".join(
        struct.pack("<4f", 0.5 * i, 0.001 * i, 1 / (i + 1), 1000.0 * i) for i in range(n)
    )


def test_columns_are_chosen_and_kept(page):
    mount(page, mlp(), measures=numbers(12))
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("menuitemcheckbox", name="Gradient norm", exact=True).click()
    page.get_by_role("menuitemcheckbox", name="Share of the step's time").click()
    assert page.get_by_role("menu").count() == 1
    page.keyboard.press("Escape")
    heads = page.get_by_role("columnheader").all_text_contents()
    assert heads == ["Name", "Type", "Params", "State", "Backward", "Grad. norm", "Step time"]
    assert row(page, "layers.0").locator(".fz-gradient").text_content() == "0.500"
    assert row(page, "layers.0").locator(".fz-time").text_content() == "50.0\u00a0%"
    assert page.get_by_role("treegrid").get_attribute("aria-colcount") == "7"


def test_measures_follow_the_run(page):
    mount(page, mlp())
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("menuitemcheckbox", name="Bytes kept for backward").click()
    page.keyboard.press("Escape")
    assert row(page, "layers.2").locator(".fz-saved").text_content() == ""
    kernel_set(page, measures=numbers(12))
    assert row(page, "layers.2").locator(".fz-saved").text_content() == "5.00 kB"
    kernel_set(page, measures=b"\x00\x01\x02")  # not of this structure
    assert row(page, "layers.2").locator(".fz-saved").text_content() == ""


def test_trend_lines_are_asked_for_and_drawn(page):
    mount(page, mlp(), measures=numbers(12))
    assert sent(page, "ask") == []
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("menuitemcheckbox", name="Gradient norm over time").click()
    page.keyboard.press("Escape")
    (asked,) = sent(page, "ask")
    assert asked["rows"] == [0, 1, 4, 5, 8, 9]
    line = struct.pack("<6f", 1, 10, 100, 1, 1, 1)
    kernel_answer(page, "trends", {"rows": [0, 1], "version": 1}, [line])
    drawn = row(page, "").locator(".fz-trend path").get_attribute("d")
    assert drawn == "M0.0 16.0L32.0 8.0L64.0 0.0"
    assert row(page, "layers.2").locator(".fz-trend path").get_attribute("d") in ("", None)


def test_rows_say_what_backward_does_there(page):
    mount(page, mlp(), roles=bytes([1, 4, 4, 4, 3, 1, 1, 1, 2, 1, 1, 1]))
    backward = {
        path: row(page, path).locator(".fz-backward").text_content()
        for path in ("layers.0", "layers.1", "layers.2", "layers.3")
    }
    assert list(backward.values()) == ["nothing to do", "stops here", "trains", "flows through"]
    title = row(page, "layers.1").locator(".fz-backward").get_attribute("title")
    assert title.startswith("Backward stops here")


def test_what_is_only_expected_is_marked(page):
    mount(page, mlp(), roles=bytes([9] * 12))
    cell = row(page, "layers.1").locator(".fz-backward")
    assert cell.get_attribute("data-expected") == "true"
    assert "expected" in cell.get_attribute("title")
    assert "expected" in page.locator(".fz-head .fz-backward").get_attribute("title")
    kernel_set(page, roles=bytes([1] * 12))
    assert cell.get_attribute("data-expected") is None


def test_tied_rows_lead_to_one_another(page):
    # A tied parameter has one row, under its first path.
    nodes = [node for i, node in enumerate(mlp()) if i != 10]
    tree = columns(nodes)
    tree["aliases"] = {"2": ["layers.4.weight"]}
    mount(page, tree, state=default_state(nodes))
    assert row(page, "layers.4").locator(".fz-tied").text_content() == "shares"
    row(page, "layers.4").locator(".fz-tied").click()
    assert focused(page) == "layers.0.weight"
    assert row(page, "layers.0.weight").locator(".fz-tied").text_content() == "shared"
    page.keyboard.press("Shift+J")
    assert focused(page) == "layers.4"
    assert clicks(page) == []


# ---- code and keys


def test_code_is_shown_and_copied(page, context):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("Shift+Y")
    page.evaluate(
        """() => {
          window.copied = [];
          Object.defineProperty(navigator, "clipboard", {configurable: true,
            value: {writeText: async (text) => void window.copied.push(text)}});
        }"""
    )
    kernel_answer(page, "code", {"text": 'fv.freeze(model, "<b>layers.0</b>")'})
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("On the clipboard.").wait_for()
    assert dialog.get_by_role("textbox").input_value() == 'fv.freeze(model, "<b>layers.0</b>")'
    assert page.evaluate("() => window.copied") == ['fv.freeze(model, "<b>layers.0</b>")']
    page.keyboard.press("Escape")
    dialog_gone(page)
    assert focused(page) == "layers.0"


def test_where_the_clipboard_is_not_allowed_the_text_is_there_to_be_copied(page):
    mount(page, mlp())
    page.get_by_role("button", name="More", exact=True).click()
    item(page, "Copy as policy").click()
    page.evaluate(
        """() => Object.defineProperty(navigator, "clipboard", {configurable: true,
             value: {writeText: () => Promise.reject(new Error("denied"))}})"""
    )
    kernel_answer(page, "policy", {"text": '{"steps": []}'})
    page.get_by_text("press Ctrl+C").wait_for()
    assert page.evaluate("() => getSelection().toString()") == '{"steps": []}'


def test_code_that_cannot_be_made_is_said(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("Shift+Y")
    kernel_answer(page, "code", {"error": "no code for this"})
    assert page.locator(".fz-note").text_content() == "no code for this"
    assert page.get_by_role("dialog").count() == 0


def test_a_question_mark_lists_all_keys(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    assert dialog.is_visible()
    text = dialog.text_content()
    for known in ("Shift+F", "Lock or unlock", "Ctrl+Z", "Copy as code", "Row by row"):
        assert known in text
    page.get_by_role("button", name="Close").click()
    assert focused(page) == "layers.0"


def test_arrows_go_through_the_toolbar(page):
    mount(page, mlp())
    page.get_by_role("button", name="Expand all").focus()
    page.keyboard.press("ArrowRight")
    name = "() => document.activeElement.getAttribute('data-action')"
    assert page.evaluate(name) == "collapse"
    page.keyboard.press("End")
    assert page.evaluate(name) == "more"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(name) == "expand"


def test_a_run_that_begins_later_gets_its_dashboard(page):
    mount(page, mlp())
    assert page.locator(".fz-run").count() == 0
    kernel_set(page, run=RUNNING)
    assert page.locator(".fz-run").count() == 1
    assert page.locator(".fz-status").text_content() == "running"
