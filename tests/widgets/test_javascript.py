"""The modules of the front end under Node; and rules that their text must keep."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from freezeviz.widgets._assets import STATIC

HERE = Path(__file__).parent
MODULES = sorted((STATIC / "js").glob("*.js"))
TYPESCRIPT = (
    HERE.parents[1] / "build" / "typescript" / "node_modules" / "typescript" / "bin" / "tsc"
)
SOURCES = [*MODULES, *sorted((STATIC / "css").glob("*.css"))]


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed: the modules' functions run in the browser tests only")
    return found


def typescript() -> list[str]:
    """Return the command that runs the TypeScript compiler."""
    found = shutil.which("tsc")
    if found is not None:
        return [found]
    if not TYPESCRIPT.exists():
        pytest.skip("TypeScript is not installed: tests/README.md says how to check the types")
    return [node(), str(TYPESCRIPT)]


def test_types_are_right(tmp_path):
    """The compiler's strict check of all modules; what others wrote is taken as it is."""
    command = typescript()
    shutil.copytree(STATIC, tmp_path / "static")
    for vendored in (tmp_path / "static" / "vendor").rglob("*.js"):
        vendored.write_text("// @ts-nocheck\n" + vendored.read_text())
    modules = sorted(map(str, (tmp_path / "static" / "js").glob("*.js")))
    options = "--noEmit --checkJs --allowJs --strict --target es2022 --module esnext"
    options += " --moduleResolution bundler --lib es2022,dom,dom.iterable"
    done = subprocess.run(
        [*command, *options.split(), *modules], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_pure_functions():
    tests = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))
    done = subprocess.run([node(), "--test", *tests], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) >= 70


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_names_never_reach_the_page_as_html(path):
    source = path.read_text()
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in source
    assert "setHTML" not in source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path):
    source = path.read_text()
    assert "fetch(" not in source
    assert "import(" not in re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    assert "@import" not in source
    assert all(place.startswith(".") for place in re.findall(r"from \"([^\"]*)\"", source))
    addresses = set(re.findall(r"https?://[^\s'\"%)]+", source))
    assert addresses <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_module_is_checked_javascript_without_a_named_render(path):
    source = path.read_text()
    assert source.startswith("// @ts-check\n")
    assert not re.search(r"export\s+(async\s+)?(function|const|let|class)\s+render\b", source)


def test_row_heights_agree_between_script_and_style():
    height = re.search(r"ROW_HEIGHT = (\d+)", (STATIC / "js" / "window.js").read_text())
    style = re.search(r"--fz-row: (\d+)px", (STATIC / "css" / "theme.css").read_text())
    assert height is not None
    assert style is not None
    assert height[1] == style[1]
