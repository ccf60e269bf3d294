"""axe-core on a page: what of it some people could not see, reach or hear."""

from typing import Any

import pytest

# Nothing that axe has is switched off; the size of what one points at is not looked at by default.
_RUN = """
([root, only]) => axe.run(root, {
  resultTypes: ["violations", "incomplete"],
  ...(only ? {runOnly: only} : {rules: {"target-size": {enabled: true}}}),
})
"""


def load(page: Any) -> None:
    """Put axe-core, which came with the package, into the page."""
    page.evaluate(pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT)


def violations(page: Any, root: str = ".freezeviz", only: list[str] | None = None) -> list[str]:
    """Return what is wrong at or below `root`, a line for each element."""
    found = page.evaluate(_RUN, [root, only])
    lines = [_line(rule, node) for rule in found["violations"] for node in rule["nodes"]]
    # A ground that axe cannot make out (a gradient, something in front) is not known to be wrong.
    # Text of the colour of its ground is.
    unsure = [_line(rule, node) for rule in found["incomplete"] for node in rule["nodes"]]
    return lines + [line for line in unsure if "1:1 contrast" in line]


def _line(rule: dict[str, Any], node: dict[str, Any]) -> str:
    why = "; ".join(check["message"] for check in node["any"] + node["all"] + node["none"])
    return f"{rule['id']}: {node['html'][:120]}: {why}"
