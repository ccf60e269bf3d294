"""The tree in Chromium, with a stub for the kernel."""

import numpy as np
import pytest

from tests.browser.stub_page import (
    RUNNING,
    answer,
    clicks,
    columns,
    default_state,
    kernel_set,
    linear,
    mlp,
    mount,
    sent,
    wide,
)

pytestmark = pytest.mark.browser

BIT_HELD, BIT_PENDING = 4, 8


def row(page, path):
    return page.locator(f'.fz-row[data-path="{path}"]')


def word(page, path):
    return row(page, path).locator(".fz-word").text_content()


def labels(page):
    return page.locator(".fz-row .fz-label").all_text_contents()


def focused(page):
    return page.evaluate("() => document.activeElement?.getAttribute('data-path')")


def dialog_gone(page):
    """A dialog tells of its end in a task of its own, after which the focus is back."""
    page.locator("dialog").wait_for(state="detached")


def shown(page):
    """Labels in the order in which they are seen."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".fz-row")]
          .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
          .map((row) => row.querySelector(".fz-label").textContent)"""
    )


def test_the_top_level_shows_at_first_with_types_sizes_and_states(page):
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    mount(page, mlp(), state=state)
    assert labels(page) == [
        "Sequential",
        "layers.0",
        "layers.1",
        "layers.2",
        "layers.3",
        "layers.4",
    ]
    assert row(page, "layers.0").locator(".fz-kind").text_content() == "Linear64 → 128"
    assert row(page, "layers.0").locator(".fz-count").text_content() == "8,320"
    assert word(page, "layers.0") == "frozen"
    assert word(page, "") == "mixed"
    assert word(page, "layers.2") == "trainable"
    assert word(page, "layers.1") == "—"


def test_it_is_a_treegrid_to_assistive_technology(page):
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    mount(page, mlp(), state=state)
    grid = page.get_by_role("treegrid", name="Model")
    assert grid.get_attribute("aria-rowcount") == "7"
    assert grid.get_by_role("columnheader").all_text_contents() == [
        "Name",
        "Type",
        "Params",
        "State",
        "Backward",
    ]
    first = row(page, "layers.0")
    assert first.get_attribute("role") == "row"
    expected = {"level": "2", "posinset": "1", "setsize": "5", "expanded": "false", "rowindex": "3"}
    assert {name: first.get_attribute(f"aria-{name}") for name in expected} == expected
    assert first.get_by_role("gridcell").count() == 5
    checks = {"": "mixed", "layers.0": "true", "layers.2": "false"}
    for path, checked in checks.items():
        assert row(page, path).get_by_role("checkbox").get_attribute("aria-checked") == checked
    assert row(page, "layers.1").get_by_role("checkbox").get_attribute("aria-disabled") == "true"
    assert row(page, "layers.1").get_attribute("aria-expanded") is None


def test_states_differ_by_shape_and_word_not_by_colour_alone(page):
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    mount(page, mlp(), state=state)
    shapes = {
        path: row(page, path)
        .locator(".fz-icon")
        .evaluate("(icon) => getComputedStyle(icon).maskImage")
        for path in ("", "layers.0", "layers.2")
    }
    assert len(set(shapes.values())) == 3
    assert {word(page, path) for path in shapes} == {"mixed", "frozen", "trainable"}


def test_a_click_on_a_row_asks_to_toggle_it(page):
    mount(page, mlp())
    row(page, "layers.2").click()
    (click,) = clicks(page)
    assert (click["id"], click["path"]) == (5, "layers.2")
    assert click["t"] > 1.6e12
    assert sent(page, "toggle")[0]["seq"] == 2
    assert focused(page) == "layers.2"


def test_a_click_on_the_triangle_opens_and_closes_and_toggles_nothing(page):
    mount(page, mlp())
    row(page, "layers.0").locator(".fz-twisty").click()
    assert shown(page)[1:4] == ["layers.0", "weight", "bias"]
    assert row(page, "layers.0").get_attribute("aria-expanded") == "true"
    row(page, "layers.0").locator(".fz-twisty").click()
    assert "weight" not in labels(page)
    assert clicks(page) == []


def test_every_quick_click_is_sent(page):
    mount(page, mlp())
    page.evaluate(
        """() => {
          for (let i = 0; i < 40; i++)
            document.querySelector(`[data-path="layers.${i % 2 ? 0 : 2}"]`).click();
        }"""
    )
    assert [click["path"] for click in clicks(page)] == ["layers.2", "layers.0"] * 20
    seqs = [message["seq"] for message in sent(page, "toggle")]
    assert seqs == [2, 3]  # the first at once, the others together


def test_what_comes_after_a_click_is_sent_after_it(page):
    info = {"note": {"n": 0, "level": "info", "text": ""}, "undo": "freeze a", "redo": None}
    mount(page, mlp(), info=info)
    page.evaluate(
        """() => {
          for (const path of ["layers.0", "layers.2"])
            document.querySelector(`[data-path="${path}"]`).click();
          document.querySelector("[data-action=undo]").click();
        }"""
    )
    assert [message["type"] for message in sent(page)[1:]] == ["toggle", "toggle", "undo"]


def test_a_click_is_pending_until_the_kernel_answers(page):
    mount(page, mlp())
    row(page, "layers.0").click()
    assert row(page, "layers.0").get_attribute("aria-busy") == "true"
    page.wait_for_function(
        """() => document.querySelector('[data-path="layers.0"] .fz-word').textContent
          === "pending" """
    )
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    kernel_set(page, state=state)
    answer(page)
    assert row(page, "layers.0").get_attribute("aria-busy") is None
    assert word(page, "layers.0") == "frozen"


def test_a_request_that_the_kernel_has_not_applied_is_pending(page):
    state = default_state(mlp())
    state[1] = BIT_PENDING
    mount(page, mlp(), state=state)
    assert word(page, "layers.0") == "pending"
    assert "change pending" in row(page, "layers.0").get_by_role("checkbox").get_attribute(
        "aria-label"
    )


def test_a_held_module_says_so(page):
    state = default_state(mlp())
    state[1] = 1 | BIT_HELD
    mount(page, mlp(), state=state)
    assert word(page, "layers.0") == "held"
    assert (
        row(page, "layers.0").get_by_role("checkbox").get_attribute("aria-label")
        == "frozen and held"
    )


def test_what_is_held_without_parameters_says_so_too(page):
    state = default_state(mlp())
    state[4] |= BIT_HELD
    mount(page, mlp(), state=state)
    assert word(page, "layers.1") == "held"
    chip = row(page, "layers.1").locator(".fz-chip")
    assert chip.get_attribute("aria-label") == "no parameters, held"
    assert "stand still" in chip.get_attribute("title")
    assert word(page, "layers.3") == "—"


def test_a_row_without_parameters_is_not_sent_but_explained(page):
    mount(page, mlp())
    row(page, "layers.1").click()
    assert clicks(page) == []
    assert page.locator(".fz-note").text_content() == (
        "layers.1 (ReLU) has no parameters: nothing to freeze."
    )


def test_the_keyboard_moves_opens_and_toggles(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("ArrowDown")
    assert focused(page) == "layers.0"
    page.keyboard.press("ArrowRight")
    assert row(page, "layers.0").get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowRight")
    assert focused(page) == "layers.0.weight"
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")
    assert focused(page) == "layers.0"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    assert row(page, "layers.0").get_attribute("aria-expanded") == "false"
    page.keyboard.press("End")
    assert focused(page) == "layers.4"
    page.keyboard.press("Home")
    assert focused(page) == ""
    assert [click["path"] for click in clicks(page)] == ["layers.0.weight", "layers.0"]


def test_one_row_is_in_the_tab_order_and_it_is_the_last_focused(page):
    mount(page, mlp())
    row(page, "layers.2").focus()
    assert page.locator('.fz-row[tabindex="0"]').count() == 1
    page.keyboard.press("ArrowDown")
    assert page.locator('.fz-row[tabindex="0"]').get_attribute("data-path") == "layers.3"


def test_the_focused_row_can_be_seen(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("ArrowDown")
    shadow = row(page, "layers.0").evaluate("(row) => getComputedStyle(row).boxShadow")
    assert "inset" in shadow


def test_a_held_key_toggles_once(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    assert len(clicks(page)) == 1


def test_a_letter_leads_to_a_row_that_starts_with_it(page):
    mount(page, [(0, "Net", "Net", "", 12, 0), *linear(1, "alpha", 1, 1), *linear(1, "beta", 1, 1)])
    row(page, "").focus()
    page.keyboard.press("b")
    assert focused(page) == "beta"


def test_the_notebook_does_not_hear_keys_meant_for_the_tree(page):
    page.evaluate(
        """() => {
          window.heard = [];
          document.addEventListener("keydown", (event) => window.heard.push(event.key), true);
        }"""
    )
    mount(page, mlp(), run=None)
    row(page, "").focus()
    for key in ("ArrowDown", "d", "a", "Enter", " "):
        page.keyboard.press(key)
    assert page.evaluate("() => window.heard") == []
    for key in ("Escape", "Shift+Enter", "Control+s"):
        page.keyboard.press(key)
    assert "Escape" in page.evaluate("() => window.heard")
    assert "s" in page.evaluate("() => window.heard")


def test_control_z_in_the_tree_is_undo(page):
    info = {"note": {"n": 0, "level": "info", "text": ""}, "undo": "freeze a", "redo": None}
    mount(page, mlp(), info=info)
    row(page, "").focus()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.keyboard.press("Control+y")
    assert [m["type"] for m in sent(page, "undo", "redo")] == ["undo", "redo", "redo"]


def test_closing_a_module_with_the_focus_inside_moves_the_focus_to_it(page):
    mount(page, mlp())
    page.get_by_role("button", name="Expand all").click()
    row(page, "layers.0.bias").focus()
    row(page, "layers.0").locator(".fz-twisty").click()
    assert focused(page) == "layers.0"


def test_buttons_do_what_they_say(page):
    info = {"note": {"n": 0, "level": "info", "text": ""}, "undo": "freeze layers.0", "redo": None}
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    mount(page, mlp(), info=info, state=state)
    page.get_by_role("button", name="Expand all").click()
    assert len(labels(page)) == 12
    page.get_by_role("button", name="Collapse all").click()
    assert len(labels(page)) == 6
    page.get_by_role("button", name="Undo").click()
    assert page.get_by_role("button", name="Undo").get_attribute("title") == "Undo: freeze layers.0"
    assert page.get_by_role("button", name="Redo").is_disabled()
    page.get_by_role("button", name="Freeze all", exact=True).click()
    page.get_by_role("button", name="Unfreeze all").click()
    kinds = [m["type"] for m in sent(page) if m["type"] not in ("hello", "size")]
    assert kinds == ["fold", "fold", "undo", "freeze_all", "unfreeze_all"]


def test_counts_of_trainable_and_frozen_parameters_follow_the_state(page):
    mount(page, mlp())
    counts = page.locator(".fz-counts")
    assert counts.text_content() == "17,226 trainable · 0 frozen (0.0\u00a0%)"
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    kernel_set(page, state=state)
    assert counts.text_content() == "8,906 trainable · 8,320 frozen (48.3\u00a0%)"


HOSTILE = [
    '<img src=x onerror="window.pwned = 1">',
    "\"quoted\" & 'quoted' </div><script>window.pwned = 1</script>",
    "x" * 500,
    "שלום עולם",
    "🧊🔥 emoji",
    "",
    "__proto__",
    "constructor",
    "a.b.c",
]


def test_names_are_shown_as_they_are_and_run_nothing(page):
    nodes = [(0, HOSTILE[0], HOSTILE[0], HOSTILE[1], 6 * len(HOSTILE), 0)]
    nodes += [(1, name, HOSTILE[0], HOSTILE[1], 6, 0) for name in HOSTILE]
    mount(page, nodes)
    shown_labels = labels(page)[1:]
    assert shown_labels == [name or "(empty name)" for name in HOSTILE]
    assert page.evaluate("() => window.pwned") is None
    assert page.locator(".freezeviz img, .freezeviz script").count() == 0
    page.locator(".fz-row").nth(1).click()
    assert clicks(page)[0]["path"] == HOSTILE[0]


def test_a_long_name_is_cut_with_dots_and_told_in_full_on_hover(page):
    mount(page, [(0, "Net", "Net", "", 6, 0), (1, "x" * 500, "Linear", "", 6, 0)], width=600)
    label = page.locator(".fz-label").nth(1)
    assert label.evaluate("(e) => e.scrollWidth > e.clientWidth")
    assert label.evaluate("(e) => getComputedStyle(e).textOverflow") == "ellipsis"
    assert "x" * 500 in page.locator(".fz-row .fz-name").nth(1).get_attribute("title")


def test_a_message_of_the_kernel_is_text_too(page):
    mount(page, mlp())
    note = {"n": 1, "level": "error", "text": HOSTILE[0]}
    kernel_set(page, info={"note": note, "undo": HOSTILE[0], "redo": None})
    assert page.locator(".fz-note").text_content() == HOSTILE[0]
    assert page.locator(".freezeviz img").count() == 0


def test_an_empty_model_says_so(page):
    mount(page, [(0, "Nothing", "Nothing", "", 0, 0)])
    assert page.get_by_text("This model has no layers and no parameters.").is_visible()
    assert page.get_by_role("button", name="Freeze all", exact=True).is_disabled()


def test_a_new_structure_keeps_what_was_open(page):
    mount(page, mlp())
    row(page, "layers.0").locator(".fz-twisty").click()
    changed = [*mlp()[:4], (1, "layers.1", "Dropout", "", 0, 0), *linear(1, "layers.2", 128, 10)]
    kernel_set(page, tree=columns(changed, version=2), state=default_state(changed))
    assert shown(page) == ["Sequential", "layers.0", "weight", "bias", "layers.1", "layers.2"]


def test_a_view_that_goes_leaves_nothing_behind(page):
    mount(page, mlp())
    page.evaluate("() => window.dispose()")
    assert sent(page)[-1]["type"] == "bye"
    assert page.evaluate("() => Object.values(window.kernel.handlers).flat().length") == 0
    assert page.locator(".freezeviz").count() == 0


@pytest.mark.parametrize("modules", [3_000, 30_000])
def test_a_large_model_is_quick(page, modules):
    nodes = wide(modules)
    assert sum(not node[5] for node in nodes) == modules
    times = mount(page, nodes)
    assert times["painted"] < 500
    expand = """() => new Promise((done) => {
      const began = performance.now();
      document.querySelector("[data-action=expand]").click();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    })"""
    assert page.evaluate(expand) < 1000
    assert page.locator(".fz-row").count() < 60
    grid = page.get_by_role("treegrid")
    assert grid.get_attribute("aria-rowcount") == str(len(nodes) + 1)
    row(page, "").focus()
    page.keyboard.press("End")
    last = page.locator('.fz-row[tabindex="0"]')
    assert last.get_attribute("aria-rowindex") == str(len(nodes) + 1)
    assert last.evaluate(
        """(row) => {
          const seen = row.closest(".fz-tree").getBoundingClientRect();
          const own = row.getBoundingClientRect();
          return own.top >= seen.top && own.bottom <= seen.bottom + 1;
        }"""
    )


def test_a_list_longer_than_browsers_allow_is_scrolled_to_its_end(page):
    n = 400_000  # 11.2 million pixels
    codes = np.zeros(n, "<i4")
    codes[0] = 1
    parents = np.zeros(n, "<i4")
    parents[0] = -1
    ones = np.ones(n, "<f8")
    tree = {
        "version": 1,
        "labels": ["row", "Model"],
        "label_of": codes.tobytes(),
        "parents": parents.tobytes(),
        "kinds": ["Linear"],
        "kind_of": np.zeros(n, "<i4").tobytes(),
        "details": [""],
        "detail_of": np.zeros(n, "<i4").tobytes(),
        "counts": ones.tobytes(),
        "bytes": ones.tobytes(),
        "flags": bytes(n),
        "aliases": {},
    }
    mount(page, tree, state=bytes(n))
    assert page.locator(".fz-body").bounding_box()["height"] == 8_000_000
    row(page, "").focus()
    seen = """(row) => {
      const box = row.closest(".fz-tree").getBoundingClientRect();
      const own = row.getBoundingClientRect();
      return own.top >= box.top && own.bottom <= box.bottom + 1;
    }"""
    page.keyboard.press("End")
    for _ in range(3):
        last = page.locator(".fz-row:focus")
        assert last.evaluate(seen)
        page.keyboard.press("PageUp")
    assert int(last.get_attribute("aria-rowindex")) in range(n - 60, n)
    page.evaluate("() => { document.querySelector('.fz-tree').scrollTop = 4_000_000; }")
    page.wait_for_function(
        """() => [...document.querySelectorAll(".fz-row")].some((row) =>
          Math.abs(Number(row.getAttribute("aria-rowindex")) - 200_000) < 30)"""
    )


def test_scrolling_draws_what_comes_into_sight_and_keeps_the_focused_row(page):
    mount(page, wide(3000))
    page.get_by_role("button", name="Expand all").click()
    row(page, "").focus()
    page.evaluate("() => { document.querySelector('.fz-tree').scrollTop = 20_000; }")
    page.wait_for_function(
        """() => [...document.querySelectorAll(".fz-row")].some((row) =>
          Number(row.getAttribute("aria-rowindex")) > 700)"""
    )
    assert focused(page) == ""
    assert page.locator(".fz-row").count() < 60
    order = page.evaluate(
        """() => [...document.querySelectorAll(".fz-row")]
          .map((row) => Number(row.getAttribute("aria-rowindex")))"""
    )
    assert order == sorted(order)


@pytest.mark.parametrize("width", [360, 480, 760, 1100])
def test_it_fits_into_its_cell(page, width):
    mount(page, mlp(), run=RUNNING, width=width)
    page.get_by_role("button", name="Expand all").click()
    assert page.evaluate(
        """() => [...document.querySelectorAll(".freezeviz *")].every((element) => {
          const edge = window.host.getBoundingClientRect().right + 1;
          return element.getBoundingClientRect().right <= edge;
        })"""
    )


def test_text_has_contrast_in_both_themes(page):
    state = default_state(mlp())
    state[0], state[1:4] = 2, [1, 1, 1]
    for dark in (False, True):
        page.evaluate(
            """(dark) => {
              document.body.setAttribute("data-jp-theme-light", String(!dark));
              document.body.style.background = dark ? "#111" : "#fff";
            }""",
            dark,
        )
        run = RUNNING | {"error": "boom", "not_finite": "nan"}
        mount(page, mlp(), run=run, state=state)
        page.get_by_role("button", name="Expand all").click()
        assert page.evaluate(_LOW_CONTRAST) == []


# WCAG contrast of every text against the grounds under it, blended; disabled controls are exempt.
_LOW_CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const over = (top, below) => {
    const a = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
  };
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll(".freezeviz *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.matches(":disabled, :disabled *")) continue;
    const back = ground(element);
    const front = over(parse(getComputedStyle(element).color), back);
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${element.className}: ${element.textContent} ${ratio.toFixed(2)}`);
  }
  return low;
}"""
