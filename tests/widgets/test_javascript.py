"""The pure functions of the widget's ES module, under Node; and rules that its text must keep."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "freezeviz" / "widgets" / "static"


def test_pure_functions(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: the module's functions run in the browser tests only")
    # Node takes a .js file for the older kind of module.
    module = shutil.copy(STATIC / "explorer.js", tmp_path / "explorer.mjs")
    done = subprocess.run(
        [node, "--test", str(HERE / "explorer.test.mjs")],
        env=os.environ | {"EXPLORER_JS": Path(module).as_uri()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"pass (1[6-9]|[2-9]\d)", done.stdout)


def test_names_never_reach_the_page_as_html():
    source = (STATIC / "explorer.js").read_text()
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in source


def test_nothing_is_fetched_from_elsewhere():
    source = (STATIC / "explorer.js").read_text()
    assert not re.search(r"^\s*import\b|\bimport\(", source, re.MULTILINE)
    assert "fetch(" not in source
    for text in (source, (STATIC / "explorer.css").read_text()):
        addresses = set(re.findall(r"https?://[^\s'\"%)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_module_is_checked_javascript_without_a_named_render():
    source = (STATIC / "explorer.js").read_text()
    assert source.startswith("// @ts-check\n")
    assert not re.search(r"export\s+(async\s+)?(function|const|let|class)\s+render\b", source)


def test_row_heights_agree_between_script_and_style():
    height = re.search(r"ROW_HEIGHT = (\d+)", (STATIC / "explorer.js").read_text())
    style = re.search(r"--fz-row: (\d+)px", (STATIC / "explorer.css").read_text())
    assert height is not None
    assert style is not None
    assert height[1] == style[1]
