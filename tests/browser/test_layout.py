"""What stands where on the page, at any width; and that the page asks nothing of any network."""

import struct

import pytest

from tests.browser.states import STATES, chosen_columns, show_rich
from tests.browser.stub_page import RUNNING, default_state, mount

pytestmark = pytest.mark.browser

WIDTHS = (1280, 760, 380)


@pytest.mark.parametrize("state", STATES)
def test_no_state_is_wider_than_the_page_or_asks_a_network(page, state):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    STATES[state](page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(60)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == []


def test_rows_keep_their_height_whatever_stands_in_them(page):
    long = "256, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True"
    nodes = [
        (0, "Net", "Net", "", 12, 0),
        (1, "norm with a name that goes on and on" * 4, "BatchNorm" * 9, long, 512, 2),
        (1, "next", "Linear", long, 12, 0),
    ]
    page.evaluate("() => document.body.style.margin = 0")
    measures = struct.pack("<4f", 1e-30, 123456.0, 1.0, 1e15) * 3
    mount(page, nodes, state=default_state(nodes), measures=measures, roles=bytes([1, 2, 3]))
    page.get_by_role("button", name="Columns").click()
    for item in page.get_by_role("menuitemcheckbox").all():
        if item.get_attribute("aria-checked") == "false":
            item.click()
    page.keyboard.press("Escape")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(60)
        taller = page.evaluate(
            """() => [...document.querySelectorAll(".fz-row > [role=gridcell]")].filter((cell) => {
              const row = cell.parentElement.getBoundingClientRect();
              const box = cell.getBoundingClientRect();
              return row.height !== 28 || box.height > 28 || box.top < row.top - 0.5
                || box.bottom > row.bottom + 0.5;
            }).map((cell) => cell.className)"""
        )
        assert taller == []


def test_names_stay_in_sight_while_the_columns_scroll(page):
    page.set_viewport_size({"width": 700, "height": 900})
    chosen_columns(page)
    page.keyboard.press("Escape")
    tree = page.locator(".fz-tree")
    assert page.get_by_role("columnheader", name="State").bounding_box()["x"] < 600
    tree.evaluate("(tree) => { tree.scrollLeft = 9999; }")
    assert tree.evaluate("(tree) => tree.scrollLeft") > 100
    left = tree.bounding_box()["x"]
    for name in page.locator(".fz-row .fz-name").all():
        assert name.bounding_box()["x"] == pytest.approx(left, abs=2)
    saved = page.get_by_role("columnheader", name="Saved").bounding_box()
    assert saved["x"] + saved["width"] <= left + tree.bounding_box()["width"] + 1


def test_where_all_columns_have_room_nothing_scrolls(page):
    show_rich(page)
    tree = page.locator(".fz-tree")
    assert tree.get_attribute("data-wide") is None
    assert tree.evaluate("(tree) => tree.scrollWidth - tree.clientWidth") == 0


def test_in_one_wide_column_the_numbers_stand_beside_the_plots(page):
    page.set_viewport_size({"width": 860, "height": 900})
    show_rich(page, run=RUNNING)
    plots = page.locator(".fz-plots").bounding_box()
    metrics = page.locator(".fz-metrics").bounding_box()
    assert metrics["x"] >= plots["x"] + plots["width"]
    assert metrics["y"] == pytest.approx(plots["y"], abs=2)


@pytest.mark.parametrize("width", [1280, 460, 380])
def test_histograms_stand_in_sight_beside_their_numbers(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    STATES["details"](page)
    pane = page.locator(".fz-arrays-box").bounding_box()
    drawn = page.locator(".fz-histogram").first.bounding_box()
    assert drawn["width"] >= 40
    assert drawn["x"] + drawn["width"] <= pane["x"] + pane["width"]
