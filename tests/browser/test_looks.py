"""What all views show alike: rows that are unfolded, columns, plots; said by code or on a page."""

import pytest

from tests.browser.lab import SETUP, SHOW
from tests.browser.plots_page import history_of, show_history
from tests.browser.stub_page import RUNNING, answer, kernel_set, make_info, mlp, mount, sent
from tests.browser.test_keys import spoken
from tests.browser.test_tree import labels, row

pytestmark = pytest.mark.browser

LOOK = {
    "plot": "curves",
    "x": "step",
    "log": False,
    "smooth": 0.8,
    "metrics": None,
    "table": False,
}


def is_open(page, path):
    return row(page, path).get_attribute("aria-expanded") == "true"


def folds(**marks):
    """Marks of the model's own row and of its three layers that have something below them."""
    trait = [0] * 12
    for name, mark in marks.items():
        trait[{"model": 0, "first": 1, "second": 5, "third": 9}[name]] = mark
    return bytes(trait)


def told(page, kind):
    page.wait_for_timeout(200)
    return [
        {name: value for name, value in message.items() if name not in ("type", "view", "seq")}
        for message in sent(page, kind)
    ]


# ---- unfolded


def test_rows_that_are_folded_on_the_page_are_told(page):
    mount(page, mlp())
    row(page, "layers.0").locator(".fz-twisty").click()
    row(page, "layers.0").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+E")
    page.get_by_role("button", name="Collapse all").click()
    assert told(page, "fold") == [
        {"open": True, "paths": ["layers.0"]},
        {"open": False, "paths": ["layers.0"]},
        {"open": True, "paths": []},
        {"open": False, "paths": []},
    ]


def test_rows_follow_what_code_says_of_them(page):
    mount(page, mlp(), folds=folds(first=2))
    assert is_open(page, "layers.0")
    assert not is_open(page, "layers.2")
    kernel_set(page, folds=folds(first=1, second=2))
    assert not is_open(page, "layers.0")
    assert is_open(page, "layers.2")
    kernel_set(page, folds=folds(first=1, second=2, model=1))
    assert labels(page) == ["Sequential"]


def test_what_one_just_folded_is_not_undone_by_what_the_kernel_said_before(page):
    mount(page, mlp(), folds=folds(first=1))
    row(page, "layers.0").locator(".fz-twisty").click()
    kernel_set(page, folds=folds(first=1, third=2))  # it has not heard of the click yet
    assert is_open(page, "layers.0")
    assert not is_open(page, "layers.4")
    kernel_set(page, folds=folds(first=2, third=2))
    answer(page)
    assert is_open(page, "layers.0")
    assert is_open(page, "layers.4")


def test_rows_that_a_filter_unfolds_are_the_filters_own(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("Shift+G")
    page.get_by_role("combobox", name="State").select_option("trainable")
    row(page, "layers.2").locator(".fz-twisty").click()
    assert told(page, "fold") == []
    kernel_set(page, folds=folds(third=2))
    page.get_by_role("button", name="Clear").click()
    assert [is_open(page, f"layers.{i}") for i in (0, 2, 4)] == [False, False, True]


def test_a_row_that_code_selects_comes_into_sight(page):
    mount(page, mlp())
    assert row(page, "layers.4.bias").count() == 0
    info = make_info(selected={"n": 1, "view": "", "rows": [11]})
    kernel_set(page, info=info, folds=folds(model=2, third=2))  # it unfolds what is above
    assert row(page, "layers.4.bias").get_attribute("aria-selected") == "true"
    assert told(page, "fold") == []
    kernel_set(page, info=make_info(selected={"n": 2, "view": "other", "rows": [3]}))
    assert row(page, "layers.0.bias").count() == 0  # another view's is no reason to move this one


def test_a_page_that_loads_leaves_folded_what_is_above_a_selected_row(page):
    info = make_info(selected={"n": 1, "view": "", "rows": [11]})
    mount(page, mlp(), info=info, folds=folds(model=2, third=1))
    assert not is_open(page, "layers.4")
    assert told(page, "fold") == []


def test_a_row_that_another_view_unfolds_before_ours_was_answered_is_unfolded(page):
    mount(page, mlp(), folds=folds(model=2, first=2))
    row(page, "layers.0").locator(".fz-twisty").click()
    assert not is_open(page, "layers.0")
    kernel_set(page, folds=folds(model=2, first=2))
    answer(page)
    assert is_open(page, "layers.0")


# ---- columns


def headings(page):
    return page.locator("[role=columnheader]").all_text_contents()


def test_columns_chosen_on_the_page_are_told(page):
    mount(page, mlp())
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("menuitemcheckbox", name="Bytes of the parameters").click()
    assert told(page, "columns") == [
        {"columns": ["type", "count", "bytes", "state", "backward"]},
    ]


def test_columns_follow_what_code_says(page):
    mount(page, mlp())
    kernel_set(page, info=make_info(columns=["state", "saved"]))
    assert headings(page) == ["Name", "State", "Saved"]
    page.get_by_role("button", name="Columns").click()
    assert page.get_by_role("menuitemcheckbox", checked=True).all_text_contents() == [
        "Bytes kept for backward"
    ]
    page.get_by_role("menuitemcheckbox", name="Type and sizes").click()
    kernel_set(page, info=make_info(columns=["state", "saved"]))  # as it was before
    assert headings(page) == ["Name", "Type", "State", "Saved"]
    kernel_set(page, info=make_info(columns=["type", "state"]))
    answer(page)
    assert headings(page) == ["Name", "Type", "State"]


@pytest.mark.parametrize(("chosen", "heard"), [(None, [["state", "time"]]), (["state"], [])])
def test_columns_that_the_browser_kept_count_where_nobody_has_chosen(page, chosen, heard):
    # A page of its own address has a storage.
    page.route("http://page.test/", lambda route: route.fulfill(body="<!doctype html><p>"))
    page.goto("http://page.test/")
    page.evaluate("() => localStorage.setItem('freezeviz.columns', '[\"time\"]')")
    mount(page, mlp(), info=make_info(columns=chosen))
    assert [message["columns"] for message in told(page, "columns")] == heard
    assert headings(page) == ["Name", "State", *["Step time"] * (chosen is None)]


# ---- plots


def test_how_plots_are_looked_at_is_told_when_it_stands_still(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    page.get_by_role("slider", name="smooth").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.get_by_label("log y").check()
    assert told(page, "plots") == [LOOK | {"smooth": 0.97, "log": True}]
    page.get_by_role("button", name="Table").click()
    page.get_by_role("tab", name="Cost").click()
    assert told(page, "plots")[1:] == [
        LOOK | {"smooth": 0.97, "log": True, "plot": "cost", "table": True}
    ]


def test_plots_follow_what_code_says(page):
    look = LOOK | {"x": "epoch", "smooth": 0.6, "metrics": ["loss"]}
    mount(page, mlp(), run=RUNNING, info=make_info(plots=look))
    show_history(page, history_of(60))
    assert page.get_by_role("combobox", name="x axis").input_value() == "epoch"
    assert page.locator(".fz-smoothtext").text_content() == "0.6"
    kernel_set(page, info=make_info(plots=look | {"plot": "cost", "log": True}))
    assert page.get_by_role("tab", selected=True).text_content() == "Cost"
    assert page.get_by_label("log y").is_checked()
    kernel_set(page, info=make_info(plots=look | {"table": True}))
    assert page.get_by_role("table").count() == 1
    assert told(page, "plots") == []


def test_metrics_that_code_leaves_out_are_not_drawn(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    shown = page.locator(".fz-strip [aria-pressed=true]")
    assert shown.all_text_contents() == ["loss", "accuracy"]
    kernel_set(page, info=make_info(plots=LOOK | {"metrics": ["accuracy"]}))
    assert shown.all_text_contents() == ["accuracy"]
    page.get_by_role("button", name="loss").click()
    assert told(page, "plots") == [LOOK]


def test_metrics_that_code_leaves_out_stay_so_when_they_come_later(page):
    mount(page, mlp(), run=RUNNING, info=make_info(plots=LOOK | {"metrics": ["loss"]}))
    show_history(page, history_of(60))
    shown = page.locator(".fz-strip [aria-pressed=true]")
    assert shown.all_text_contents() == ["loss"]
    page.get_by_label("log y").check()
    assert told(page, "plots") == [LOOK | {"log": True, "metrics": ["loss"]}]


def test_a_look_is_not_undone_by_what_the_kernel_said_before(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    page.get_by_label("log y").check()
    kernel_set(page, info=make_info(plots=LOOK))
    assert page.get_by_label("log y").is_checked()
    assert told(page, "plots") == [LOOK | {"log": True}]
    kernel_set(page, info=make_info(plots=LOOK))
    assert page.get_by_label("log y").is_checked()
    answer(page)  # and here it says what it has
    assert not page.get_by_label("log y").is_checked()


def test_a_key_leads_from_plot_to_plot(page):
    mount(page, mlp(), run=RUNNING)
    show_history(page, history_of(60))
    row(page, "layers.0").focus()
    for name in ("Gradients", "Cost", "Curves"):
        page.keyboard.press(";")
        assert page.get_by_role("tab", selected=True).text_content() == name
        assert spoken(page) == name


def test_a_key_selects_all_rows_of_a_type(page):
    mount(page, mlp())
    row(page, "layers.1").focus()
    page.keyboard.press("=")
    assert told(page, "select")[-1] == {"paths": ["layers.1", "layers.3"]}


# ---- in a notebook


def test_two_cells_and_code_show_the_same(open_notebook):
    lab = open_notebook(SETUP, SHOW, SHOW)
    page = lab.page
    page.wait_for_function("() => document.querySelectorAll('.freezeviz-live').length === 2")
    controller = "explorer.controller"
    twisties = lab.row("layers.0").locator(".fz-twisty")
    twisties.first.click()
    lab.until(f"'layers.0' in {controller}.expanded")
    page.wait_for_function(
        """() => [...document.querySelectorAll('.fz-row[data-path="layers.0"]')].every(
             (row) => row.getAttribute("aria-expanded") === "true")"""
    )
    assert lab.python(f"{controller}.collapse('layers.0') or 1") == 1
    assert lab.python(f"{controller}.show_columns(['bytes']) or 1") == 1
    assert lab.python(f"{controller}.show_plots(plot='cost') or 1") == 1
    page.wait_for_function(
        """() => [...document.querySelectorAll('.fz-row[data-path="layers.0"]')].every(
             (row) => row.getAttribute("aria-expanded") === "false")
             && document.querySelectorAll(".fz-head .fz-bytes").length === 2
             && !document.querySelector(".fz-head .fz-type")"""
    )
    page.wait_for_function(
        """() => document.querySelectorAll(
             '[role=tab][data-tab=cost][aria-selected=true]').length === 2"""
    )
    page.get_by_role("tab", name="Gradients").last.click()
    lab.until(f"{controller}.plots.plot == 'gradients'")
    page.wait_for_function(
        """() => document.querySelectorAll(
             '[role=tab][data-tab=gradients][aria-selected=true]').length === 2"""
    )
    lab.screenshot("lab_looks")
