"""The tree as the treegrid of the WAI-ARIA Authoring Practices: attributes, keys, focus, words."""

import pytest

from tests.browser.states import show_rich
from tests.browser.stub_page import (
    RUNNING,
    answer,
    columns,
    default_state,
    kernel_set,
    linear,
    make_info,
    mlp,
    mount,
    sent,
    wide,
)
from tests.browser.test_acting import selected
from tests.browser.test_tree import clicks, dialog_gone, focused, row

pytestmark = pytest.mark.browser

FROZEN = [2, 1, 1, 1, *default_state(mlp())[4:]]  # layers.0


def attributes(page, *names):
    """Attributes of all rows in the document, top to bottom."""
    return page.evaluate(
        """(names) => [...document.querySelectorAll(".fz-row")].map((row) =>
          names.map((name) => row.getAttribute(`aria-${name}`)))""",
        list(names),
    )


def in_tab_order(page):
    return page.evaluate(
        """() => [...document.querySelectorAll(".fz-tree [tabindex='0']")]
          .map((element) => element.dataset.path)"""
    )


# ---- what it says of itself


def test_rows_tell_their_place_among_all_and_among_their_own(page):
    mount(page, mlp())
    page.get_by_role("button", name="Expand all").click()
    grid = page.get_by_role("treegrid")
    assert grid.get_attribute("aria-rowcount") == "13"
    assert grid.get_attribute("aria-multiselectable") == "true"
    assert attributes(page, "rowindex", "level", "posinset", "setsize")[:6] == [
        ["2", "1", "1", "1"],
        ["3", "2", "1", "5"],
        ["4", "3", "1", "2"],
        ["5", "3", "2", "2"],
        ["6", "2", "2", "5"],
        ["7", "2", "3", "5"],
    ]


def test_the_header_is_the_first_row_and_every_cell_has_one(page):
    mount(page, mlp())
    head = page.locator(".fz-head")
    assert head.get_attribute("role") == "row"
    assert head.get_attribute("aria-rowindex") == "1"
    titles = head.get_by_role("columnheader").count()
    assert page.get_by_role("treegrid").get_attribute("aria-colcount") == str(titles)
    assert row(page, "layers.0").get_by_role("gridcell").count() == titles
    groups = page.get_by_role("treegrid").get_by_role("rowgroup")
    assert groups.count() == 2


def test_columns_that_have_no_room_are_still_read_out(page):
    mount(page, mlp(), width=380)
    titles = page.get_by_role("columnheader").all_text_contents()
    assert titles == ["Name", "Type", "Params", "State", "Backward"]
    assert row(page, "layers.0").get_by_role("gridcell").nth(1).text_content() == "Linear64 → 128"


def test_only_rows_with_something_below_are_expanded_or_collapsed(page):
    mount(page, mlp())
    row(page, "layers.0").locator(".fz-twisty").click()
    states = attributes(page, "expanded")
    assert [state for (state,) in states[:5]] == ["true", "true", None, None, None]
    assert row(page, "layers.2").get_attribute("aria-expanded") == "false"


def test_every_row_tells_whether_it_is_selected_checked_and_busy(page):
    show_rich(page)
    page.get_by_role("button", name="Expand all").click()
    row(page, "stem").click(modifiers=["Control"])
    told = {
        path: (
            row(page, path).get_attribute("aria-selected"),
            row(page, path).get_by_role("checkbox").get_attribute("aria-checked"),
            row(page, path).get_attribute("aria-busy"),
        )
        for path in ("", "stem", "act", "body", "head")
    }
    assert told == {
        "": ("false", "mixed", None),
        "stem": ("true", "true", None),
        "act": ("false", "false", None),
        "body": ("false", "false", None),
        "head": ("false", "false", "true"),
    }
    assert row(page, "act").get_by_role("checkbox").get_attribute("aria-disabled") == "true"


# ---- keys


def test_arrows_open_enter_leave_and_close(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    seen = []
    for key in ("Right", "Right", "Down", "Right", "Left", "Left", "Left"):
        page.keyboard.press(f"Arrow{key}")
        seen.append((focused(page), row(page, "layers.0").get_attribute("aria-expanded")))
    assert seen == [
        ("layers.0", "true"),
        ("layers.0.weight", "true"),
        ("layers.0.bias", "true"),
        ("layers.0.bias", "true"),
        ("layers.0", "true"),
        ("layers.0", "false"),
        ("", "false"),
    ]


def test_arrows_stop_at_the_ends(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("ArrowUp")
    assert focused(page) == ""
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "layers.4"


@pytest.mark.parametrize("control", ["", "Control+"])
def test_home_and_end_lead_to_the_first_and_the_last_row(page, control):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.keyboard.press(f"{control}End")
    assert focused(page) == "layers.4"
    page.keyboard.press(f"{control}Home")
    assert focused(page) == ""


def test_pages_are_as_long_as_what_is_seen(page):
    mount(page, wide(300))
    row(page, "").focus()
    page.keyboard.press("PageDown")
    at = int(page.locator(":focus").get_attribute("aria-rowindex"))
    seen = page.locator(".fz-tree").evaluate("(tree) => tree.clientHeight / 28")
    assert seen - 3 < at <= seen
    page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    assert focused(page) == ""


def test_letters_lead_on_and_around(page):
    names = ["stem", "body", "side", "head"]
    mount(page, [(0, "Net", "Net", "", 24, 0), *(r for n in names for r in linear(1, n, 1, 1))])
    row(page, "").focus()
    seen = []
    for key in ("s", "s", "s", "h", "x"):
        page.keyboard.press(key)
        seen.append(focused(page))
    assert seen == ["stem", "side", "stem", "head", "head"]


def test_a_modifier_makes_a_letter_a_command_of_the_browser(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("Alt+l")
    page.keyboard.press("Control+l")
    assert focused(page) == ""


def test_shift_selects_what_is_passed(page):
    mount(page, mlp())
    row(page, "layers.1").focus()
    page.keyboard.press("Shift+ArrowDown")
    assert selected(page) == ["layers.1", "layers.2"]
    page.keyboard.press("Shift+End")
    assert selected(page) == ["layers.1", "layers.2", "layers.3", "layers.4"]
    page.keyboard.press("Shift+Home")
    assert selected(page) == ["", "layers.0", "layers.1"]
    page.keyboard.press("Shift+PageDown")
    assert selected(page)[:2] == ["layers.1", "layers.2"]


def test_control_and_shift_space_select_one_by_one_and_control_a_all(page):
    mount(page, mlp())
    row(page, "layers.0").focus()
    page.keyboard.press("Control+Space")
    page.keyboard.press("ArrowDown")  # moves, and leaves the selection
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    assert selected(page) == ["layers.0", "layers.2"]
    page.keyboard.press("Control+Space")
    assert selected(page) == ["layers.0"]
    page.keyboard.press("Control+a")
    assert len(selected(page)) == 6
    assert clicks(page) == []


def test_tab_leads_in_to_one_row_and_out_again(page):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.get_by_role("button", name="Select", exact=True).focus()
    page.keyboard.press("Tab")
    assert focused(page) == "layers.2"
    page.keyboard.press("Tab")
    assert not page.evaluate("() => document.querySelector('.fz-tree').matches(':focus-within')")
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "layers.2"


# ---- the focus is never lost


def test_the_focus_stays_while_states_and_numbers_change(page):
    mount(page, mlp(), run=RUNNING)
    row(page, "layers.0").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    for k in range(20):
        kernel_set(
            page,
            state=FROZEN if k % 2 else default_state(mlp()),
            measures=bytes(16 * 12),
            roles=bytes([1 + k % 4] * 12),
            run=RUNNING | {"step": 1300 + k},
        )
    assert focused(page) == "layers.0.weight"
    assert in_tab_order(page) == ["layers.0.weight"]


def test_a_frozen_row_that_leaves_a_filter_leaves_the_focus_to_the_next(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("Shift+G")
    page.get_by_role("combobox", name="State").select_option("trainable")
    row(page, "layers.0").focus()
    page.keyboard.press(" ")
    kernel_set(page, state=FROZEN)
    answer(page)
    assert row(page, "layers.0").count() == 0
    assert focused(page) == "layers.2"
    assert in_tab_order(page) == ["layers.2"]
    kernel_set(page, state=[1] * 12)
    assert page.locator(".fz-row").count() == 0
    assert page.evaluate("() => document.activeElement.getAttribute('role')") == "treegrid"
    kernel_set(page, state=FROZEN)
    assert len(in_tab_order(page)) == 1
    assert focused(page) == in_tab_order(page)[0]


def test_a_new_structure_keeps_the_focus_and_so_do_new_columns_and_widths(page):
    mount(page, mlp(), width=900)
    row(page, "layers.2").focus()
    fewer = [*mlp()[:4], *mlp()[5:]]
    kernel_set(page, tree=columns(fewer, version=2), state=default_state(fewer))
    assert focused(page) == "layers.2"
    page.evaluate("() => { window.host.style.width = '360px'; }")
    page.wait_for_function("() => document.querySelector('.fz-row .fz-unseen') !== null")
    assert focused(page) == "layers.2"
    gone = mlp()[:4]
    kernel_set(page, tree=columns(gone, version=3), state=default_state(gone))
    assert focused(page) == ""
    assert in_tab_order(page) == [""]


def test_closing_all_leads_the_focus_to_what_was_closed_over_it(page):
    mount(page, mlp())
    page.get_by_role("button", name="Expand all").click()
    row(page, "layers.2.bias").focus()
    page.keyboard.press("Shift+C")
    assert focused(page) == "layers.2"
    assert in_tab_order(page) == ["layers.2"]


def test_a_menu_gives_the_focus_back_though_its_row_was_made_anew(page):
    mount(page, mlp())
    row(page, "layers.2").focus()
    page.keyboard.press("Shift+M")
    kernel_set(page, tree=columns(mlp(), version=2), state=default_state(mlp()))
    page.keyboard.press("Escape")
    assert focused(page) == "layers.2"
    page.keyboard.press("?")
    kernel_set(page, tree=columns(mlp(), version=3), state=default_state(mlp()))
    page.keyboard.press("Escape")
    dialog_gone(page)
    assert focused(page) == "layers.2"


def name_in_focus(page):
    return page.evaluate(
        "() => document.activeElement.ariaLabel ?? document.activeElement.textContent"
    )


def test_a_button_that_cannot_be_pressed_again_hands_the_focus_on(page):
    mount(page, mlp(), run=RUNNING | {"status": "idle"}, info=make_info(undo="freeze a"))
    page.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    kernel_set(page, info=make_info(redo="freeze a"))
    assert name_in_focus(page) == "Redo"
    page.get_by_role("button", name="Freeze all", exact=True).focus()
    kernel_set(page, state=[3 if s == 3 else 1 for s in default_state(mlp())])
    assert name_in_focus(page) == "Unfreeze all"
    page.get_by_label("epochs").focus()
    page.keyboard.press("Enter")
    kernel_set(page, run=RUNNING)
    assert name_in_focus(page) == "Pause"
    page.get_by_role("button", name="Stop").focus()
    kernel_set(page, run=RUNNING | {"status": "stopped"})
    assert name_in_focus(page) == "Start"
    assert sent(page, "start", "undo")


def test_clearing_a_filter_leaves_the_focus_in_it(page):
    mount(page, mlp())
    row(page, "").focus()
    page.keyboard.press("Shift+G")
    page.get_by_role("combobox", name="State").select_option("frozen")
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.localName") == "select"


# ---- what is read out

# As Chromium hands the tree to assistive technology: rows with their names, states and levels.
READ_OUT = """
- treegrid "Model":
  - rowgroup:
    - row "Name Type Params State Backward":
      - columnheader "Name"
      - columnheader "Type"
      - columnheader "Params"
      - columnheader "State"
      - columnheader "Backward"
  - rowgroup:
    - row "Net Net 17,300 mixed trains" [expanded] [level=1]:
      - gridcell "Net"
      - gridcell "Net"
      - gridcell "17,300"
      - gridcell "mixed":
        - checkbox "mixed" [checked=mixed]
      - gridcell "trains"
    - row "stem has buffers BatchNorm1d 64 128 frozen and held nothing to do" [level=2]:
      - gridcell "stem has buffers":
        - text: stem
        - img "has buffers": buf
      - gridcell "BatchNorm1d 64"
      - gridcell "128"
      - gridcell "frozen and held":
        - checkbox "frozen and held" [checked]: held
      - gridcell "nothing to do"
    - row "act ReLU no parameters nothing to do" [level=2]:
      - gridcell "act"
      - gridcell "ReLU"
      - gridcell
      - gridcell "no parameters":
        - checkbox "no parameters" [disabled]: —
      - gridcell "nothing to do"
    - row "body Linear 64 → 128 8,320 trainable, locked stops here" [expanded] [level=2]:
      - gridcell "body"
      - gridcell "Linear 64 → 128"
      - gridcell "8,320"
      - gridcell "trainable, locked":
        - checkbox "trainable, locked": trainable
      - gridcell "stops here"
    - row "weight shared parameter 128 × 64 8,192 trainable, locked" [level=3]:
      - gridcell "weight shared"
      - gridcell "parameter 128 × 64"
      - gridcell "8,192"
      - gridcell "trainable, locked":
        - checkbox "trainable, locked": trainable
      - gridcell
    - row "bias parameter 128 128 trainable, locked" [level=3]:
      - gridcell "bias"
      - gridcell "parameter 128"
      - gridcell "128"
      - gridcell "trainable, locked":
        - checkbox "trainable, locked": trainable
      - gridcell
    - row "head shares Linear 128 → 64 8,256 trainable, change pending flows through" [level=2]:
      - gridcell "head shares"
      - gridcell "Linear 128 → 64"
      - gridcell "8,256"
      - gridcell "trainable, change pending":
        - checkbox "trainable, change pending": pending
      - gridcell "flows through"
"""


def test_names_and_states_are_read_out(page):
    show_rich(page)
    row(page, "body").locator(".fz-twisty").click()
    page.locator(".fz-word").get_by_text("pending").wait_for()
    assert page.get_by_role("treegrid").aria_snapshot().strip() == READ_OUT.strip()


def test_the_row_in_focus_is_heard_with_all_that_matters(page, context):
    state = list(FROZEN)
    state[1] |= 4 | 16
    mount(page, mlp(), state=state)
    row(page, "layers.0").click(modifiers=["Control"])
    nodes = context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    heard = [
        (node["name"]["value"], {p["name"]: p["value"].get("value") for p in node["properties"]})
        for node in nodes
        if node["role"]["value"] == "row" and node.get("properties")
    ]
    (now,) = [(name, states) for name, states in heard if states.get("focused")]
    assert now[0] == "layers.0 Linear 64 → 128 8,320 frozen and held, locked"
    assert {"selected": True, "expanded": False, "level": 2}.items() <= now[1].items()


def test_what_a_click_did_is_said_once_and_politely(page):
    mount(page, mlp(), run=RUNNING)
    page.evaluate(
        """() => {
          window.said = [];
          for (const box of document.querySelectorAll("[role=status], [aria-live]"))
            new MutationObserver(() => window.said.push(box.textContent))
              .observe(box, {childList: true, characterData: true, subtree: true});
        }"""
    )
    row(page, "layers.0").focus()
    page.keyboard.press(" ")
    done = "Freeze layers.0 after step 1,204."
    kernel_set(page, state=FROZEN, info=make_info(done, undo="freeze layers.0"))
    answer(page)
    kernel_set(page, info=make_info(done, undo="freeze layers.0"), run=RUNNING | {"step": 1300})
    page.keyboard.press("Shift+ArrowDown")
    page.get_by_role("searchbox").fill("bias")
    page.wait_for_timeout(100)
    said = page.evaluate("() => window.said")
    assert said[0] == done
    assert said.count(done) == 1
    assert any("2 rows selected" in text for text in said)
    assert said[-1] == "3 rows found"


def test_numbers_that_move_with_every_step_are_not_read_out(page):
    mount(page, mlp(), run=RUNNING)
    live = page.evaluate(
        """() => [".fz-status", ".fz-line", ".fz-metrics", ".fz-readout", ".fz-counts"]
          .filter((s) => document.querySelector(s).closest("[aria-live], [role=status]"))"""
    )
    assert live == []
