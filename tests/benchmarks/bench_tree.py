"""How big a model the tree can take, beside ipytree and nested ipywidgets, in one JupyterLab.

    python tests/benchmarks/bench_tree.py
    python tests/benchmarks/bench_tree.py --modules 10 1000 --repeats 1

Opens one notebook per system and size, each in a real JupyterLab of its own, in headless Chromium
and takes times in the page: from the command that runs the cell to the first frame with a row in it
(the peers' Python included, as ours is), from a click or an order to the first frame that shows its
effect on the whole tree, and frames a second while the tree scrolls. Prints a Markdown table of
medians; gates nothing. The peers need ``pip install ipytree``; what they do not finish in `LIMIT`
seconds, or what Jupyter's own message limits keep from them, stands there as such. All get the same
rows: a model of N linear layers in groups, each layer with its weight and its bias. The peers'
trees are made as their documentation makes them; freezing there is a mark on each node, set from
Python.
"""

import argparse
import datetime
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.browser.lab import (  # noqa: E402  (the path comes first)
    ARGUMENTS,
    LabNotebook,
    LabServer,
    watched_page,
    write_notebook,
)

LIMIT = 60.0
SIZES = (10, 1_000, 10_000, 100_000)

MODEL = """
import time
import freezeviz as fv
from freezeviz import nn

N = {modules}
per_group = max(2, round(N ** 0.5))
groups = []
left = N
while left:
    n = min(per_group, left)
    groups.append(nn.Sequential(*(nn.Linear(2, 2) for _ in range(n))))
    left -= n
model = nn.Sequential(*groups)
rows = [(row.path, row.name, row.level) for row in fv.explore(model).controller.rows()]
marks = dict(python=0.0)
import gc
gc.collect()  # that explorer is no more: the cell that is measured makes its own
"""

OURS = """
explorer = fv.explore(model)
explorer
"""

IPYTREE = """
from ipytree import Node, Tree
from IPython.display import display
tree, stack, nodes = Tree(multiple_selection=False), [], []
for path, name, level in rows:
    node = Node(name, opened=level == 0, icon="circle")
    del stack[level:]
    (stack[-1] if stack else tree).add_node(node)
    stack.append(node)
    nodes.append(node)

def freeze_all():
    for node in nodes:
        node.icon = "snowflake-o"

def expand_all():
    for node in nodes:
        node.opened = True

display(tree)
"""

NESTED = """
import ipywidgets as w
from IPython.display import display
boxes, stack = [], []
checks = []
for path, name, level in rows:
    check = w.Checkbox(description=name, indent=False)
    below = w.VBox([], layout=w.Layout(margin="0 0 0 20px"))
    checks.append(check)
    del stack[level:]
    stack.append((below, []))
    boxes.append((level, check, below))
# Children are given once, from the inside out: a trait set twice would be sent twice.
made = {}
open_ = []
for level, check, below in reversed(boxes):
    below.children = made.pop(level + 1, [])[::-1]
    made.setdefault(level, []).append(w.VBox([check, below]))
top = made[0][0]

def freeze_all():
    for check in checks:
        check.value = True

def expand_all():
    pass  # all is open from the beginning

display(top)
"""

# When the first frame was painted for which `test` is true; null after the limit. To look from a
# timer would often miss that frame, and tell of the next.
PAINTED = """
(test, limit) => new Promise((done) => {
  const began = performance.now();
  const look = () => {
    if (test()) setTimeout(() => done(performance.now()), 0);
    else if (performance.now() - began > limit) done(null);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})
"""

SCROLL = """
async (selector) => {
  let box = document.querySelector(selector);
  while (box && !(box.scrollHeight > box.clientHeight + 40 &&
         /auto|scroll/.test(getComputedStyle(box).overflowY))) box = box.parentElement;
  if (!box) return null;
  const from = 0, to = Math.min(box.scrollHeight - box.clientHeight, 40_000);
  const times = [];
  const began = performance.now();
  await new Promise((done) => {
    const frame = (now) => {
      times.push(now);
      const part = Math.min(1, (performance.now() - began) / 2000);
      box.scrollTop = from + part * (to - from);
      if (part < 1) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  box.scrollTop = 0;
  return 1000 * (times.length - 1) / (times[times.length - 1] - times[0]);
}
"""


class Ours:
    """The explorer, driven as a person drives it."""

    name = "freezeviz"
    cell = OURS
    row = ".freezeviz-live .fz-row"
    shown = "() => document.querySelector('.freezeviz-live .fz-row')"

    def actions(self, lab: LabNotebook) -> dict[str, tuple[str, str]]:
        """Order and test of each action, both JavaScript."""
        button = "document.querySelector('.freezeviz-live [data-action=\"{}\"]').click()"
        rows = "document.querySelector('.freezeviz-live [role=treegrid]')"
        state = "document.querySelector('.freezeviz-live .fz-row').getAttribute('data-state')"
        search = (
            "(() => {{ const box = document.querySelector('.freezeviz-live input[type=search]');"
            " box.value = {0!r}; box.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        )
        return {
            "expand all": (
                button.format("expand"),
                f"+{rows}.getAttribute('aria-rowcount') >= window.wanted",
            ),
            "search": (
                search.format("1.weight"),
                "/[1-9]/.test("
                "document.querySelector('.freezeviz-live .fz-search-count')?.textContent)",
            ),
            "freeze all": (button.format("freeze_all"), f"{state} === 'frozen'"),
        }

    def further(self) -> dict[str, tuple[str, str]]:
        """What the peers have nothing like; each begins where the one before it ended."""
        button = "document.querySelector('.freezeviz-live [data-action=\"{}\"]').click()"
        preset = (
            "document.querySelector('.freezeviz-live [data-action=presets]').click();"
            "[...document.querySelectorAll('[role=menuitem]')]"
            ".find((item) => item.textContent.includes('{}')).click()"
        )
        first = "document.querySelector('.freezeviz-live .fz-row')"
        state = first + ".getAttribute('data-state') === '{}'"
        return {
            "undo": (button.format("undo"), state.format("trainable")),
            "redo": (button.format("redo"), state.format("frozen")),
            "unfreeze all": (button.format("unfreeze_all"), state.format("trainable")),
            "only the head": (preset.format("head"), state.format("mixed")),
            "undo that": (button.format("undo"), state.format("trainable")),
            "hold all": (
                f"{first}.focus(); {first}.dispatchEvent(new KeyboardEvent('keydown',"
                " {key: 'H', code: 'KeyH', shiftKey: true, bubbles: true, cancelable: true}))",
                f"/held/.test({first}.innerText)",
            ),
        }


class Ipytree:
    """ipytree: a Jupyter widget around jsTree, one widget model a node."""

    name = "ipytree"
    cell = IPYTREE
    row = ".jstree-node"
    shown = "() => document.querySelector('.jstree-node')"

    def actions(self, lab: LabNotebook) -> dict[str, tuple[str, str]]:
        """Order and test of each action, both JavaScript."""
        run = (
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
            ".requestExecute({{code: '{}', store_history: false}})"
        )
        count = "document.querySelectorAll('.jstree-node').length >= window.wanted"
        frozen = "document.querySelectorAll('.fa-snowflake-o').length >= window.wanted"
        return {
            "expand all": (run.format("expand_all()"), count),
            "freeze all": (run.format("freeze_all()"), frozen),
        }


class Nested:
    """ipywidgets: a check box in a box in a box."""

    name = "nested ipywidgets"
    cell = NESTED
    row = ".widget-checkbox"
    shown = "() => document.querySelectorAll('.widget-checkbox').length >= window.wanted"

    def actions(self, lab: LabNotebook) -> dict[str, tuple[str, str]]:
        """Order and test of each action, both JavaScript."""
        run = (
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
            ".requestExecute({code: 'freeze_all()', store_history: false})"
        )
        frozen = (
            "document.querySelectorAll('.widget-checkbox input:checked').length >= window.wanted"
        )
        return {"freeze all": (run, frozen)}


def measure(browser, server: LabServer, system, modules: int) -> dict[str, float | None]:
    """Return milliseconds (frames a second for scrolling) by what was measured; None: not done."""
    name = f"{system.name.replace(' ', '_')}_{modules}.ipynb"
    write_notebook(server.root / name, [MODEL.format(modules=modules), system.cell])
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    result: dict[str, float | None] = {}
    try:
        page = watched_page(context)
        page.set_default_timeout(1000 * LIMIT + 30_000)
        lab = LabNotebook(page, server, name)
        lab.run_cell(0)
        wanted = lab.python("len(rows)")
        page.evaluate("(n) => { window.wanted = n; }", wanted)
        result["rows"] = wanted
        result["first paint"] = page.evaluate(
            f"""async (limit) => {{
              const panel = window.jupyterapp.shell.currentWidget;
              panel.content.activeCellIndex = 1;
              const began = performance.now();
              window.jupyterapp.commands.execute('notebook:run-cell');
              const end = await ({PAINTED})({system.shown}, limit);
              return end === null ? null : end - began;
            }}""",
            1000 * LIMIT,
        )
        if result["first paint"] is None:
            return result
        further = system.further() if isinstance(system, Ours) else {}
        for action, (order, test) in (system.actions(lab) | further).items():
            result[action] = page.evaluate(
                f"""async (limit) => {{
                  const began = performance.now();
                  {order};
                  const end = await ({PAINTED})(() => {test}, limit);
                  return end === null ? null : end - began;
                }}""",
                1000 * LIMIT,
            )
            page.wait_for_timeout(300)
        result["frames a second"] = page.evaluate(SCROLL, system.row)
    except Exception as error:
        print(f"  {system.name}, {modules:,}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        context.close()
        server.end_kernels()
    return result


def measured(browser, system, modules: int, repeats: int) -> list[dict[str, float | None]]:
    """Return what `measure` gives, so many times.

    In a server of their own: the messages that a peer could not be rid of keep one busy for minutes
    after its kernel has ended, and with it the measurements after this one.
    """
    runs: list[dict[str, float | None]] = []
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as root,
        LabServer(Path(home), Path(root)) as server,
    ):
        for _ in range(repeats):
            runs.append(measure(browser, server, system, modules))
            if runs[-1].get("first paint") is None:
                break  # it would take the whole limit again
    return runs


def shown(value: float | None, unit: str) -> str:
    """Return a table's entry."""
    if value is None:
        return "not done"
    return f"{value:,.0f}{unit}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modules", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--systems", nargs="+", default=["freezeviz", "ipytree", "nested"])
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("FREEZEVIZ_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no Chromium found: install Debian's package chromium")
    systems = [
        system
        for system in (Ours(), Ipytree(), Nested())
        if any(system.name.startswith(word) or word in system.name for word in options.systems)
    ]
    columns = ("first paint", "expand all", "search", "freeze all", "frames a second")
    lines: list[str] = []
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("\n| modules | rows | system | " + " | ".join(columns) + " |")
    print("| --- " * (3 + len(columns)) + "|")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for modules in options.modules:
            for system in systems:
                runs = measured(browser, system, modules, options.repeats)
                cells = []
                for column in columns:
                    values = [run[column] for run in runs if run.get(column) is not None]
                    unit = "" if column.startswith("frames") else " ms"
                    missing = not any(column in run for run in runs)
                    cells.append(
                        "–"
                        if missing and runs[-1].get("first paint") is not None
                        else shown(statistics.median(values) if values else None, unit)
                    )
                rows = runs[0].get("rows")
                print(
                    f"| {modules:,} | {rows or 0:,} | {system.name} | " + " | ".join(cells) + " |",
                    flush=True,
                )
                if isinstance(system, Ours):
                    lines.append(f"{modules:,} modules: {further(runs)}")
        browser.close()
    print("\nfreezeviz, further actions", *lines, sep="\n")


def further(runs: list[dict[str, float | None]]) -> str:
    """Return medians of what else was measured, in words."""
    found = {
        name: [value for run in runs if (value := run.get(name)) is not None]
        for name in Ours().further()
    }
    return ", ".join(
        f"{name} {shown(statistics.median(values) if values else None, ' ms')}"
        for name, values in found.items()
    )


if __name__ == "__main__":
    main()
