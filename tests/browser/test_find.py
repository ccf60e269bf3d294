"""Search, filter and selector in Chromium, with a stub for the kernel."""

import numpy as np
import pytest

from tests.browser.stub_page import (
    answer,
    columns,
    default_state,
    kernel_answer,
    kernel_set,
    linear,
    make_info,
    mlp,
    mount,
    sent,
)
from tests.browser.test_tree import HOSTILE, focused, row, shown

pytestmark = pytest.mark.browser

NET = [
    (0, "Net", "Net", "", 100, 0),
    (1, "encoder", "Block", "", 60, 0),
    *linear(2, "attention", 2, 2),
    (2, "norm", "BatchNorm", "2", 4, 2),
    (3, "weight", "parameter", "2", 4, 1),
    *linear(1, "head", 2, 2),
]


def search(page, text):
    page.get_by_role("searchbox").fill(text)
    page.wait_for_timeout(30)


def count(page):
    return page.locator(".fz-search-count").text_content()


def current(page):
    return page.locator('.fz-row[data-found="current"]').get_attribute("data-path")


def spoken(page):
    return page.locator("[aria-live=polite]").text_content()


def panel(page, name):
    page.get_by_role("button", name=name, exact=True).click()


# ---- search


def test_what_is_typed_is_highlighted_and_counted_at_once(page):
    mount(page, NET)
    search(page, "Att")
    assert count(page) == "1 of 3"
    assert row(page, "encoder.attention").locator("mark").text_content() == "att"
    assert spoken(page) == "3 rows found"
    search(page, "")
    assert count(page) == ""
    assert page.locator("mark").count() == 0


def test_a_type_is_found_too(page):
    mount(page, NET)
    search(page, "batchnorm")
    assert count(page) == "1 of 1"
    assert current(page) == "encoder.norm"


def test_enter_goes_from_one_found_row_to_the_next_and_opens_what_is_above(page):
    mount(page, NET)
    search(page, "weight")
    assert count(page) == "1 of 3"
    assert current(page) == "encoder.attention.weight"
    page.keyboard.press("Enter")
    assert (count(page), current(page)) == ("2 of 3", "encoder.norm.weight")
    assert spoken(page) == "2 of 3: encoder.norm.weight"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert current(page) == "encoder.attention.weight"
    page.keyboard.press("Shift+Enter")
    assert (count(page), current(page)) == ("3 of 3", "head.weight")
    assert page.evaluate("() => document.activeElement.type") == "search"


def test_enter_right_after_typing_searches_for_what_was_typed(page):
    mount(page, NET)
    page.get_by_role("searchbox").focus()
    page.keyboard.insert_text("weight")
    page.keyboard.press("Enter")
    assert count(page) == "2 of 3"


def test_the_arrow_leads_from_the_search_to_the_found_row(page):
    mount(page, NET)
    search(page, "head")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "head"
    page.keyboard.press("F3")
    assert focused(page) == "head.weight"
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.type") == "search"
    page.keyboard.press("Escape")
    assert page.get_by_role("searchbox").input_value() == ""
    page.keyboard.press("Escape")
    assert focused(page) == "head.weight"


def test_what_is_not_there_is_said(page):
    mount(page, NET)
    search(page, "zebra")
    assert count(page) == "no match"
    assert page.get_by_role("searchbox").get_attribute("aria-invalid") == "true"
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Next found row").count() == 0


def test_a_search_survives_a_change_of_state_and_of_structure(page):
    mount(page, NET)
    search(page, "weight")
    page.keyboard.press("Enter")
    kernel_set(page, state=default_state(NET))
    assert (count(page), current(page)) == ("2 of 3", "encoder.norm.weight")
    fewer = [node for node in NET if node[1] != "head"][:-2]
    kernel_set(page, tree=columns(fewer, version=2), state=default_state(fewer))
    assert count(page) == "1 of 2"


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_odd_names_are_found_and_shown_as_text(page, name):
    mount(page, [(0, "Net", "Net", "", 6, 0), (1, name, "Linear", "", 6, 0)])
    search(page, name)
    assert count(page) == "1 of 1"
    assert page.locator(".fz-row").nth(1).locator(".fz-label").text_content() == name
    assert page.evaluate("() => window.pwned") is None
    assert page.locator(".freezeviz img, .freezeviz script").count() == 0


def test_typing_and_enter_are_not_heard_by_the_notebook(page):
    page.evaluate(
        """() => {
          window.heard = [];
          document.addEventListener("keydown", (event) => window.heard.push(event.key), true);
        }"""
    )
    mount(page, NET)
    page.get_by_role("searchbox").focus()
    for key in ("a", "Enter", "Shift+Enter", "ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("() => window.heard.filter((key) => key !== 'Shift')") == []


# ---- filter


def test_filters_leave_rows_and_what_is_above_them(page):
    state = default_state(NET)
    state[0], state[1], state[2:5] = 2, 2, [1, 1, 1]
    mount(page, NET, state=state)
    panel(page, "Filter")
    page.get_by_label("State").select_option("frozen")
    assert shown(page) == ["Net", "encoder", "attention", "weight", "bias"]
    assert page.locator(".fz-filter [role=status]").text_content() == "3 rows shown"
    assert page.get_by_role("treegrid").get_attribute("aria-rowcount") == "6"
    page.get_by_role("combobox", name="Type").select_option("Linear")
    assert shown(page) == ["Net", "encoder", "attention"]
    page.get_by_role("button", name="Clear").click()
    assert shown(page) == ["Net", "encoder", "attention", "norm", "head"]


def test_rows_with_buffers_can_be_singled_out(page):
    mount(page, NET)
    panel(page, "Filter")
    page.get_by_label("with buffers").check()
    assert shown(page) == ["Net", "encoder", "norm"]


def test_only_what_the_search_found_can_be_left(page):
    mount(page, NET)
    search(page, "norm")
    panel(page, "Filter")
    page.get_by_label("found by the search").check()
    assert shown(page) == ["Net", "encoder", "norm", "weight"]
    search(page, "head")
    assert shown(page) == ["Net", "head", "weight", "bias"]


def test_a_filter_by_state_follows_the_state(page):
    mount(page, NET)
    panel(page, "Filter")
    page.get_by_label("State").select_option("frozen")
    assert shown(page) == []
    state = default_state(NET)
    state[0], state[7:10] = 2, [1, 1, 1]
    kernel_set(page, state=state)
    assert shown(page) == ["Net", "head", "weight", "bias"]


def test_types_of_a_filter_have_their_numbers(page):
    mount(page, NET)
    panel(page, "Filter")
    options = page.get_by_role("combobox", name="Type").locator("option").all_text_contents()
    assert options == ["any", "Linear (2)", "BatchNorm (1)", "Block (1)", "Net (1)"]


def test_what_was_open_before_a_filter_is_open_after_it(page):
    mount(page, NET)
    row(page, "encoder").locator(".fz-twisty").click()
    before = shown(page)
    panel(page, "Filter")
    page.get_by_label("with buffers").check()
    page.get_by_label("with buffers").uncheck()
    assert shown(page) == before == ["Net", "encoder", "head"]


def selected(page):
    rows = page.locator('.fz-row[aria-selected="true"]').all()
    return [row.get_attribute("data-path") for row in rows]


def filtered_by_type(page, kind):
    mount(page, NET)
    panel(page, "Filter")
    page.get_by_role("combobox", name="Type").select_option(kind)
    assert shown(page) == ["Net", "encoder", "attention", "head"]


def test_all_rows_are_those_that_pass_the_filter_and_not_what_is_above_them(page):
    filtered_by_type(page, "Linear")
    row(page, "").focus()
    page.keyboard.press("Control+a")
    assert selected(page) == ["encoder.attention", "head"]
    page.keyboard.press("Shift+F")
    asked = sent(page, "do")[0]
    assert (asked["action"], asked["paths"]) == ("freeze", ["encoder.attention", "head"])
    page.get_by_role("button", name="Clear", exact=True).first.click()
    row(page, "").focus()
    page.keyboard.press("Control+a")  # without a filter: all that shows
    assert selected(page)[0] == ""


def test_ranges_in_a_filter_leave_out_what_is_above_its_rows(page):
    filtered_by_type(page, "Linear")
    row(page, "").focus()
    for expected in ([], ["encoder.attention"], ["encoder.attention", "head"]):
        page.keyboard.press("Shift+ArrowDown")
        assert selected(page) == expected
    page.keyboard.press("Shift+Home")
    assert "" not in selected(page)
    page.keyboard.press("Escape")
    row(page, "head").click(modifiers=["Control"])
    row(page, "").click(modifiers=["Shift"])
    assert selected(page) == ["encoder.attention", "head"]


# ---- selector


def preview(page, text, **content):
    page.locator(".fz-selector input").fill(text)
    page.wait_for_function(
        """(text) => window.sent.some((m) => m.about === "preview" && m.selector === text)""",
        arg=text,
    )
    named, changes = content.pop("named", []), content.pop("rows", [])
    numbers = {"matches": len(named), "changes": len(changes), "locked": 0, "version": 1}
    buffers = [np.array(rows, "<i4").tobytes() for rows in (named, changes)]
    full = numbers | {"n_parameters": 12, "n_bytes": 48} | content
    return kernel_answer(page, "preview", full, buffers)


def test_a_selector_shows_what_would_change_and_changes_nothing(page):
    mount(page, NET)
    panel(page, "Select")
    asked = preview(page, "**.weight", named=[3, 6, 8], rows=[3, 8])
    assert (asked["selector"], asked["action"]) == ("**.weight", "freeze")
    assert page.locator(".fz-selector-said").text_content() == (
        "3 parameters named (12 numbers, 48 B); 2 would change."
    )
    assert row(page, "encoder.attention").get_attribute("data-preview") == "below"
    assert row(page, "encoder.norm").get_attribute("data-preview") is None
    row(page, "head").locator(".fz-twisty").click()
    assert row(page, "head.weight").get_attribute("data-preview") == "change"
    assert sent(page, "do") == []
    page.get_by_role("button", name="Freeze", exact=True).click()
    assert sent(page, "do")[0]["action"] == "freeze"
    assert sent(page, "do")[0]["selector"] == "**.weight"


def test_enter_does_what_the_preview_shows(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8])
    page.keyboard.press("Enter")
    assert [m["selector"] for m in sent(page, "do")] == ["head"]


def test_a_wrong_selector_is_said_inline_and_cannot_be_pressed(page):
    mount(page, NET)
    panel(page, "Select")
    error = "nothing matches 'haed'. <b>Closest</b>: 'head'."
    preview(page, "haed", error=error)
    said = page.locator(".fz-selector-said")
    assert (said.text_content(), said.get_attribute("data-level")) == (error, "error")
    assert page.locator(".fz-selector b").count() == 0
    assert page.get_by_role("button", name="Freeze", exact=True).is_disabled()
    page.keyboard.press("Enter")
    assert sent(page, "do") == []


def test_the_preview_is_of_the_button_that_one_is_about_to_press(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8])
    page.get_by_role("button", name="Unfreeze", exact=True).hover()
    assert [m["action"] for m in sent(page, "ask")] == ["freeze", "unfreeze"]


def test_only_the_answer_to_the_last_letter_counts(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8])
    first = sent(page, "ask")[-1]
    preview(page, "haed", error="no match")
    page.evaluate(
        """([view, seq]) => window.kernel.message(
          {type: "answer", view, seq, about: "preview", matches: 1, changes: 1, version: 1,
           locked: 0, n_parameters: 1, n_bytes: 1})""",
        [first["view"], first["seq"]],
    )
    assert page.locator(".fz-selector-said").text_content() == "no match"


def test_a_preview_of_another_structure_marks_no_rows(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8], version=7)
    assert page.locator("[data-preview]").count() == 0


def test_closing_the_selector_takes_its_marks_away(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8])
    assert page.locator("[data-preview]").count() > 0
    page.keyboard.press("Escape")
    assert page.locator("[data-preview]").count() == 0
    assert not page.locator(".fz-selector").is_visible()
    assert focused(page) == ""


def test_a_changed_state_is_previewed_anew(page):
    mount(page, NET)
    panel(page, "Select")
    preview(page, "head", named=[8], rows=[8])
    kernel_set(page, state=default_state(NET))
    assert len(sent(page, "ask")) == 2


def test_without_a_kernel_a_selector_does_nothing(page):
    mount(page, mlp(), info=make_info())
    panel(page, "Select")
    preview(page, "layers.0", named=[2], rows=[2])
    answer(page)
    page.evaluate("() => window.kernel.comeOrGo()")
    assert page.get_by_role("button", name="Freeze", exact=True).is_disabled()
