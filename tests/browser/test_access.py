"""The explorer for everyone: axe-core on every state and look; zoom, motion, forced colours."""

import pytest

from tests.browser.axe import load, violations
from tests.browser.lab import watched_page
from tests.browser.states import STATES, show_rich
from tests.browser.stub_page import IDLE, mlp, mount

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 380, "height": 900}
ZOOMED = {"width": 640, "height": 450}  # 1280 by 900 at 200 %: see `sharp`
# The looks in which geometry differs are looked at in full, the others for their contrast.
CONTRAST = ["color-contrast", "link-in-text-block"]


@pytest.fixture(scope="module")
def sharp_context(browser):
    context = browser.new_context(viewport=WIDE, device_scale_factor=2)
    yield context
    context.close()


@pytest.fixture
def sharp(sharp_context):
    """A page with two device pixels to one of its own: a small one is a large one at 200 %."""
    page = watched_page(sharp_context)
    page.set_content("<!doctype html><html lang='en'><body></body></html>")
    yield page
    assert page.problems == []
    page.close()


def settle(page):
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def look(page, size=WIDE, **media):
    page.emulate_media(**{"color_scheme": "light", "forced_colors": "none"} | media)
    page.set_viewport_size(size)
    settle(page)


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(sharp, state):
    STATES[state](sharp)
    load(sharp)
    found = {}
    look(sharp)
    found["light"] = violations(sharp)
    look(sharp, color_scheme="dark")
    found["dark"] = violations(sharp, only=CONTRAST)
    look(sharp, forced_colors="active")
    found["forced colours"] = violations(sharp, only=CONTRAST)
    look(sharp, NARROW)
    found["narrow"] = violations(sharp)
    look(sharp, ZOOMED)
    found["200 %"] = violations(sharp)
    assert found == {name: [] for name in found}


def test_axe_would_find_something(page):
    show_rich(page)
    load(page)
    page.evaluate(
        """() => {
          document.querySelector(".fz-row").removeAttribute("role");
          document.querySelector(".fz-counts").style.color = "#ccc";
          document.querySelector(".fz-counts").style.background = "#fff";
          document.querySelector("[data-action=undo]").removeAttribute("aria-label");
          document.querySelector("[data-action=undo]").removeAttribute("title");
        }"""
    )
    rules = {line.split(":")[0] for line in violations(page)}
    assert {"aria-required-parent", "color-contrast", "button-name"} <= rules


@pytest.mark.parametrize("size", [NARROW, ZOOMED], ids=["narrow", "200 %"])
@pytest.mark.parametrize("state", ["tree", "filter and selector", "details", "curves", "failed"])
def test_nothing_is_wider_than_the_page_or_lies_over_something_else(sharp, state, size):
    sharp.set_viewport_size(size)
    STATES[state](sharp)
    settle(sharp)
    wide, cut, over = sharp.evaluate(
        """() => {
          const root = document.documentElement;
          const shown = [...document.querySelectorAll(".freezeviz :is(button, input, select)")]
            .filter((element) => element.checkVisibility({checkVisibilityCSS: true}))
            .map((element) => ({element, box: element.getBoundingClientRect()}));
          const cut = shown.filter(({element, box}) => box.left < 0 || box.right > innerWidth
            || (element.localName === "button" && element.scrollWidth > element.clientWidth + 1
                && !element.classList.contains("fz-metricchip")));
          const over = shown.filter((a) => shown.some((b) => a !== b
            && a.box.left < b.box.right - 2 && b.box.left < a.box.right - 2
            && a.box.top < b.box.bottom - 2 && b.box.top < a.box.bottom - 2));
          const text = ({element}) => element.outerHTML.slice(0, 100);
          return [root.scrollWidth > root.clientWidth, cut.map(text), over.map(text)];
        }"""
    )
    assert (wide, cut, over) == (False, [], [])


@pytest.mark.parametrize(("width", "first"), [(700, "Training"), (1200, "Model")])
def test_tab_goes_as_one_sees(page, width, first):
    mount(page, mlp(), run=IDLE, width=width)
    if width > 1040 and not page.evaluate("() => CSS.supports('reading-flow', 'grid-order')"):
        first = "Training"  # side by side, this browser cannot know
    page.keyboard.press("Tab")
    region = "() => document.activeElement.closest('section').ariaLabel"
    assert page.evaluate(region) == first


def moving(page):
    """Open a row and return the names of what moves for that."""
    return page.evaluate(
        """() => {
          document.querySelector('[data-path="body"] .fz-twisty').click();
          document.body.getBoundingClientRect();
          return document.getAnimations().length;
        }"""
    )


def test_nothing_moves_where_less_motion_is_wanted(page):
    show_rich(page)
    assert moving(page) > 0
    page.emulate_media(reduced_motion="reduce")
    show_rich(page)
    assert moving(page) == 0


# Grounds as they are painted: where the system chooses colours, what differs by its ground alone,
# or by a picture in its ground, is lost.
_PAINTED = """
(selectors) => selectors.map((selector) => {
  const [base, pseudo] = selector.split("::");
  const element = document.querySelector(base);
  if (!element) return `${selector}: not there`;
  const style = getComputedStyle(element, pseudo ? `::${pseudo}` : null);
  const page = getComputedStyle(document.body).backgroundColor;
  const ground = style.backgroundColor;
  return ["rgba(0, 0, 0, 0)", page, "rgb(255, 255, 255)"].includes(ground)
    ? `${selector}: ${ground}` : null;
}).filter(Boolean)
"""


def test_shapes_are_seen_in_colours_of_the_system(page):
    page.emulate_media(forced_colors="active")
    STATES["columns"](page)
    masks = [".fz-glyph", ".fz-icon", ".fz-row[data-locked] .fz-lock::before"]
    assert page.evaluate(_PAINTED, [*masks, ".fz-item[aria-checked=true]::before"]) == []
    STATES["found and selected"](page)
    assert page.evaluate(_PAINTED, [".fz-share > span", ".fz-row[aria-selected=true]"]) == []
    STATES["curves"](page)
    chosen, other = (
        page.get_by_role("tab", selected=selected).first.evaluate(
            "(tab) => { const s = getComputedStyle(tab); "
            "return `${s.borderBottomWidth} ${s.borderBottomColor}`; }"
        )
        for selected in (True, False)
    )
    assert chosen != other
