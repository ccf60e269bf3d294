"""States of the explorer on the stub page, for the tests that look at every one of them."""

import struct
from collections.abc import Callable
from typing import Any

from tests.browser.plots_page import gradients_of, history_of, show_history
from tests.browser.stub_page import (
    IDLE,
    RUNNING,
    columns,
    default_state,
    kernel_answer,
    kernel_set,
    make_info,
    mlp,
    mount,
)

PARAMETER, BUFFERS = 1, 2
FROZEN, MIXED, NOTHING, HELD, PENDING, LOCKED = 1, 2, 3, 4, 8, 16
TRAINS, FLOWS, STOPS, IDLE_ROLE, EXPECTED = 1, 2, 3, 4, 8


def rich() -> tuple[dict[str, Any], list[int], bytes, bytes]:
    """Return a model that has everything: tree, state, measures, roles.

    Rows: a frozen and held layer with buffers, a locked one, one that waits, a tied parameter, a
    layer without parameters.
    """
    nodes = [
        (0, "Net", "Net", "", 17_300, 0),
        (1, "stem", "BatchNorm1d", "64", 128, BUFFERS),
        (2, "weight", "parameter", "64", 64, PARAMETER),
        (2, "bias", "parameter", "64", 64, PARAMETER),
        (1, "act", "ReLU", "", 0, 0),
        (1, "body", "Linear", "64 → 128", 8_320, 0),
        (2, "weight", "parameter", "128 × 64", 8_192, PARAMETER),
        (2, "bias", "parameter", "128", 128, PARAMETER),
        (1, "head", "Linear", "128 → 64", 8_256, 0),
        (2, "bias", "parameter", "64", 64, PARAMETER),
    ]
    tree = columns(nodes)
    tree["aliases"] = {"6": ["head.weight"]}
    state = default_state(nodes)
    state[0] = MIXED
    state[1:4] = [FROZEN | HELD] * 3
    state[4] = NOTHING
    state[5:8] = [LOCKED] * 3
    state[8] = PENDING
    measures = b"".join(
        struct.pack("<4f", 0.5 * i, 0.001 * i, 1 / (i + 1), 1000.0 * i) for i in range(len(nodes))
    )
    roles = bytes([TRAINS, IDLE_ROLE, IDLE_ROLE, IDLE_ROLE, IDLE_ROLE, STOPS, 0, 0, FLOWS, TRAINS])
    return tree, state, measures, roles


def show_rich(page: Any, **traits: Any) -> None:
    """Show the model that has everything."""
    tree, state, measures, roles = rich()
    mount(page, tree, state=state, measures=measures, roles=roles, **traits)


def run_of_everything() -> Any:
    """Return the history of a run with freezes, validation, times, memory and a NaN."""
    return history_of(
        30,
        changes=((10, "freeze", "layers.0"), (20, "unfreeze", "layers.0")),
        metrics=("f1",),
        seconds=lambda i: 0.004 if 10 <= i < 20 else 0.006,
        per_epoch=10,
        bad=(15,),
    )


def _press(page: Any, *keys: str, path: str = "body") -> None:
    page.locator(f'.fz-row[data-path="{path}"]').focus()
    for key in keys:
        page.keyboard.press(key)


def tree(page: Any) -> None:
    """The tree, all of it open."""
    show_rich(page)
    _press(page, "*")


def chosen_columns(page: Any) -> None:
    """All columns, and the menu that chooses them."""
    show_rich(page)
    page.get_by_role("button", name="Columns").click()
    for item in page.get_by_role("menuitemcheckbox").all():
        if item.get_attribute("aria-checked") == "false":
            item.click()


def found_and_selected(page: Any) -> None:
    """Rows found by a search, rows selected, and a note."""
    show_rich(page, info=make_info("2 locked left as they are", "warning"))
    page.get_by_role("searchbox").fill("bias")
    page.wait_for_timeout(50)
    _press(page, "Shift+ArrowDown", "Shift+ArrowDown", path="stem")


def filter_and_selector(page: Any) -> None:
    """The filter and the selector open, rows filtered and marked by a preview."""
    show_rich(page)
    _press(page, "*", "Shift+G")
    page.get_by_role("combobox", name="State").select_option("trainable")
    _press(page, "Shift+S")
    page.get_by_role("textbox").fill("body.*")
    page.wait_for_function("() => window.sent.some((m) => m.about === 'preview')")
    answer = {"matches": 2, "changes": 1, "locked": 1, "n_parameters": 8320, "n_bytes": 33280}
    rows = [struct.pack("<2i", 6, 7), struct.pack("<i", 7)]
    kernel_answer(page, "preview", answer | {"version": 1, "error": None}, rows)


def wrong_selector(page: Any) -> None:
    """A selector that is none."""
    show_rich(page)
    _press(page, "Shift+S")
    page.get_by_role("textbox").fill("type:")
    page.wait_for_function("() => window.sent.some((m) => m.about === 'preview')")
    kernel_answer(page, "preview", {"error": "type: what type? (at 5)"})


def nothing_found(page: Any) -> None:
    """A search without a result."""
    show_rich(page)
    page.get_by_role("searchbox").fill("zzz")
    page.get_by_text("no match").wait_for()


def presets_menu(page: Any) -> None:
    """The menu of presets."""
    show_rich(page)
    _press(page, "Shift+P")


def row_menu(page: Any) -> None:
    """The menu of a row."""
    show_rich(page)
    _press(page, "Shift+M")


def more_menu(page: Any) -> None:
    """The menu of what is used less."""
    show_rich(page)
    page.get_by_role("button", name="More", exact=True).click()


def details_of(path: str) -> dict[str, Any]:
    """Return what a kernel answers about a row."""
    numbers = {
        "shape": [128, 64],
        "dtype": "float32",
        "device": "cpu",
        "frozen": True,
        "aliases": ["head.weight"],
        "minimum": -0.5,
        "mean": 0.001,
        "maximum": 0.5,
        "nonfinite": 3,
        "histogram": {"counts": [1, 5, 2], "edges": [-0.5, -0.1, 0.1, 0.5], "sampled": True},
        "problem": "",
    }
    names = [f"{path}.{name}" for name in ("weight", "bias", "running_mean")]
    return {
        "details": {
            "path": path,
            "kind": "Linear",
            "doc": "A linear layer: y = xA + b.\n" * 12,
            "source": "nn/_layers/_linear.py:20",
            "parameters": [numbers | {"path": name} for name in names[:2] * 6],
            "buffers": [numbers | {"path": names[2], "problem": "on another device"}],
            "left_out": 2,
        }
    }


def details_pane(page: Any) -> None:
    """The details of a row."""
    show_rich(page)
    _press(page, "Shift+D")
    page.wait_for_function("() => window.sent.some((m) => m.about === 'details')")
    kernel_answer(page, "details", details_of("body"))


def keys_dialog(page: Any) -> None:
    """The list of keys."""
    show_rich(page)
    _press(page, "?")


def code_dialog(page: Any) -> None:
    """Code to take along."""
    show_rich(page)
    _press(page, "Shift+Y")
    kernel_answer(page, "code", {"text": 'fv.freeze(model, "body")\n' * 30})
    page.get_by_role("dialog").get_by_role("status").get_by_text("lipboard").wait_for()


def _dashboard(page: Any, tab: str, table: bool) -> None:
    show_rich(page, run=RUNNING)
    history = run_of_everything()
    show_history(page, history)
    kernel_set(page, heat=gradients_of(history))
    page.get_by_role("tab", name=tab).click()
    if table:
        page.get_by_role("button", name="Table").click()
    else:
        page.get_by_role("slider", name="position in the run").focus()
        page.keyboard.press("End")


def _tab(name: str, table: bool = False) -> Callable[[Any], None]:
    return lambda page: _dashboard(page, name, table)


def before_the_run(page: Any) -> None:
    """A run that has not begun, with a wrong number of epochs."""
    show_rich(page, run=IDLE)
    page.get_by_label("epochs").fill("0")
    page.get_by_label("epochs").press("Enter")


def failed(page: Any) -> None:
    """All banners that a run has."""
    show_rich(
        page,
        run=RUNNING
        | {
            "status": "failed",
            "error": "ValueError: shapes (64, 128) and (64, 10) do not match\n" * 3,
            "not_finite": "Step 1204: the loss is NaN.",
        },
        info=make_info("no such node", "error"),
    )


def losing(page: Any) -> None:
    """A run whose loss is not finite any more."""
    show_rich(page, run=RUNNING | {"loss": None, "not_finite": "Step 1204: the loss is NaN."})


def dead(page: Any) -> None:
    """A kernel that is gone."""
    show_rich(page, run=RUNNING, connected=False)
    show_history(page, run_of_everything())


def silent(page: Any) -> None:
    """A kernel that does not answer."""
    page.clock.install()
    show_rich(page)
    page.locator('.fz-row[data-path="stem"]').click()
    page.clock.run_for(15_000)
    page.get_by_text("No answer from the kernel yet").wait_for()


def empty(page: Any) -> None:
    """A model of nothing."""
    mount(page, [(0, "Nothing", "Nothing", "", 0, 0)])


def first_tutorial(page: Any) -> None:
    """The model of the first tutorial, as it first shows."""
    mount(page, mlp(), run=IDLE)


STATES: dict[str, Callable[[Any], None]] = {
    "tree": tree,
    "columns": chosen_columns,
    "found and selected": found_and_selected,
    "filter and selector": filter_and_selector,
    "wrong selector": wrong_selector,
    "nothing found": nothing_found,
    "presets": presets_menu,
    "row menu": row_menu,
    "more": more_menu,
    "details": details_pane,
    "keys": keys_dialog,
    "code": code_dialog,
    "before the run": before_the_run,
    "curves": _tab("Curves"),
    "table of curves": _tab("Curves", table=True),
    "gradients": _tab("Gradients"),
    "table of gradients": _tab("Gradients", table=True),
    "cost": _tab("Cost"),
    "table of cost": _tab("Cost", table=True),
    "failed": failed,
    "not finite": losing,
    "dead": dead,
    "silent": silent,
    "empty": empty,
}
