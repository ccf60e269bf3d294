"""The details of a row, in Chromium with a stub for the kernel."""

import pytest

from tests.browser.stub_page import (
    clicks,
    kernel_answer,
    mlp,
    mount,
    sent,
)
from tests.browser.test_tree import HOSTILE, focused, row

pytestmark = pytest.mark.browser


def array(path, **changes):
    return {
        "path": path,
        "shape": [128, 64],
        "dtype": "float32",
        "device": "cpu",
        "frozen": False,
        "aliases": [],
        "minimum": -0.5,
        "mean": 0.001,
        "maximum": 0.5,
        "nonfinite": 0,
        "histogram": {"counts": [1, 5, 2], "edges": [-0.5, -0.1, 0.1, 0.5], "sampled": False},
        "problem": "",
    } | changes


def details(path, *parameters, **changes):
    return {
        "details": {
            "path": path,
            "kind": "Linear",
            "doc": "A linear layer.",
            "source": "nn/_layers/_linear.py:20",
            "parameters": list(parameters),
            "buffers": [],
            "left_out": 0,
        }
        | changes
    }


def pane(page):
    return page.get_by_role("region", name="Details")


def show(page, path):
    row(page, path).focus()
    page.keyboard.press("Shift+D")
    page.wait_for_function("() => window.sent.some((m) => m.about === 'details')")


def test_details_are_asked_for_when_they_are_opened_and_not_before(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.wait_for_timeout(200)
    assert sent(page, "ask") == []
    show(page, "layers.0")
    (asked,) = sent(page, "ask")
    assert (asked["about"], asked["path"]) == ("details", "layers.0")


def test_a_pane_has_arrays_with_numbers_and_a_histogram(page):
    mount(page, mlp())
    show(page, "layers.0")
    weight = array("layers.0.weight", frozen=True, nonfinite=2)
    kernel_answer(page, "details", details("layers.0", weight, array("layers.0.bias", shape=[])))
    assert pane(page).get_by_role("heading").text_content() == "layers.0"
    text = pane(page).text_content()
    assert "A linear layer." in text
    assert "nn/_layers/_linear.py:20" in text
    first = pane(page).get_by_role("row").nth(1)
    assert first.get_by_role("rowheader").text_content() == "weightfrozen"
    cells = first.get_by_role("cell").all_text_contents()
    assert cells == [
        "128 × 64float32 · cpu",
        "-0.500",
        "1.0e-3",
        "0.500",
        "2 values are not finite",
    ]
    assert pane(page).get_by_role("row").nth(2).get_by_role("cell").first.text_content() == (
        "scalarfloat32 · cpu"
    )
    picture = first.get_by_role("img", name="Histogram of 8 values from -0.500 to 0.500")
    assert picture.locator("path").get_attribute("d").count("z") == 3


def test_the_pane_follows_the_focus_and_asks_once_for_a_walk(page):
    mount(page, mlp())
    show(page, "layers.0")
    kernel_answer(page, "details", details("layers.0"))
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    page.wait_for_timeout(250)
    assert [m["path"] for m in sent(page, "ask")] == ["layers.0", "layers.4"]


def test_an_answer_about_another_row_is_not_shown(page):
    mount(page, mlp())
    show(page, "layers.0")
    first = sent(page, "ask")[0]
    page.keyboard.press("End")
    page.wait_for_function("() => window.sent.filter((m) => m.about === 'details').length === 2")
    kernel_answer(page, "details", details("layers.4"))
    late = {"type": "answer", "view": first["view"], "seq": first["seq"], "about": "details"}
    page.evaluate("(message) => window.kernel.message(message)", late | details("layers.0"))
    assert pane(page).get_by_role("heading").text_content() == "layers.4"


def test_it_says_that_it_looks_where_that_takes_long(page):
    mount(page, mlp())
    show(page, "layers.0")
    page.wait_for_timeout(260)
    assert "Looking at it" in pane(page).text_content()
    kernel_answer(page, "details", details("layers.0"))
    assert "Looking at it" not in pane(page).text_content()
    assert "No parameters and no buffers of its own." in pane(page).text_content()


def test_what_went_wrong_is_said_in_the_pane(page):
    mount(page, mlp())
    show(page, "layers.0")
    kernel_answer(page, "details", {"error": "no path 'layers.0' <img src=x>"})
    assert "no path 'layers.0' <img src=x>" in pane(page).text_content()
    assert pane(page).locator("img").count() == 0


def test_without_a_kernel_the_pane_says_so(page):
    mount(page, mlp())
    page.evaluate("() => window.kernel.comeOrGo()")
    row(page, "layers.0").focus()
    page.keyboard.press("Shift+D")
    pane(page).get_by_text("The kernel is gone").wait_for()


def test_more_arrays_below_are_counted(page):
    mount(page, mlp())
    show(page, "")
    kernel_answer(page, "details", details("", array("a.weight"), left_out=40))
    assert "40 more arrays below" in pane(page).text_content()


def test_an_array_that_cannot_be_read_says_why(page):
    mount(page, mlp())
    show(page, "layers.0")
    unread = {"minimum": None, "mean": None, "maximum": None, "histogram": None}
    weight = array("layers.0.weight", problem="it is on another machine", **unread)
    kernel_answer(page, "details", details("layers.0", weight))
    assert "it is on another machine" in pane(page).text_content()
    assert pane(page).get_by_role("cell").nth(1).text_content() == "–"


@pytest.mark.parametrize("text", HOSTILE)
def test_odd_texts_are_text(page, text):
    mount(page, mlp())
    show(page, "layers.0")
    odd = array(text, dtype=text, aliases=[text], problem=text)
    kernel_answer(page, "details", details("layers.0", odd, kind=text, doc=text, source=text))
    assert page.evaluate("() => window.pwned") is None
    assert pane(page).locator("img, script").count() == 0
    assert text in pane(page).text_content()
    assert page.evaluate(
        "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def test_the_sign_on_a_row_opens_its_details_and_freezes_nothing(page):
    mount(page, mlp())
    row(page, "layers.2").hover()
    row(page, "layers.2").locator(".fz-more").click()
    page.wait_for_function("() => window.sent.some((m) => m.about === 'details')")
    assert sent(page, "ask")[-1]["path"] == "layers.2"
    assert clicks(page) == []


def test_escape_in_the_pane_closes_it_and_leads_back(page):
    mount(page, mlp())
    show(page, "layers.0")
    kernel_answer(page, "details", details("layers.0", array("layers.0.weight")))
    pane(page).get_by_role("button", name="Close").focus()
    page.keyboard.press("Escape")
    assert pane(page).count() == 0 or not pane(page).is_visible()
    assert focused(page) == "layers.0"
