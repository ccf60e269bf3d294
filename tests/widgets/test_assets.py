"""The front end as it reaches the page: many modules, one file."""

import re
import shutil
import subprocess
from collections import Counter

import pytest

from freezeviz.widgets import _assets
from freezeviz.widgets._assets import STATIC, script, style

NAMED = re.compile(
    r"^(?:async )?(?:function\*?|class|const|let|var) +(?:(\w+)|[\[{]([^\]}=]*)[\]}])",
    re.MULTILINE,
)


def test_the_script_is_one_module_that_node_can_read(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    place = tmp_path / "explorer.mjs"
    place.write_text(script())
    done = subprocess.run([node, "--check", str(place)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_script_imports_nothing_and_exports_its_default_only(tmp_path):
    source = script()
    assert re.findall(r"^import\b.*", source, re.MULTILINE) == []
    assert source.startswith("// @ts-check\n")
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    (tmp_path / "explorer.mjs").write_text(source)
    asking = (
        "import('./explorer.mjs').then((m) => console.log(Object.keys(m), Object.keys(m.default)))"
    )
    done = subprocess.run([node, "-e", asking], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[ 'default' ] [ 'render' ]\n", "")


def test_every_module_is_in_the_script_once_and_after_what_it_uses():
    source = script()
    order = re.findall(r"^// ---- (.*)$", source, re.MULTILINE)
    modules = {path.name for path in (STATIC / "js").glob("*.js")}
    assert Counter(order).most_common(1)[0][1] == 1
    assert modules <= set(order)
    for path in (STATIC / "js").glob("*.js"):
        for used in re.findall(r"from \"[^\"]*/([^\"/]*)\"", path.read_text()):
            assert order.index(used) < order.index(path.name)


def test_no_name_is_defined_twice_at_top_level():
    names = []
    for path in (STATIC / "js").glob("*.js"):
        text = re.sub(r"^export (default )?", "", path.read_text(), flags=re.MULTILINE)
        names += [name for name, _ in NAMED.findall(text) if name]
    twice = [name for name, n in Counter(names).items() if n > 1]
    assert len(names) > 20
    assert twice == []


def test_imports_rename_nothing_for_the_join_would_lose_it():
    for path in (STATIC / "js").glob("*.js"):
        for line in re.findall(r"^import[^;]*;", path.read_text(), re.MULTILINE):
            assert " as " not in line, (path.name, line)


def test_a_vendored_library_keeps_to_its_own_scope(tmp_path, monkeypatch):
    (tmp_path / "js").mkdir()
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "lib.js").write_text("const make = 1;\nexport { make as default };\n")
    (tmp_path / "js" / "a.js").write_text(
        '// @ts-check\nimport lib from "../vendor/lib.js";\n\nexport const make = lib + 1;\n'
    )
    (tmp_path / "js" / "main.js").write_text(
        '// @ts-check\nimport { make } from "./a.js";\n\nexport default { make };\n'
    )
    monkeypatch.setattr(_assets, "ENTRY", tmp_path / "js" / "main.js")
    source = script()
    assert "const lib = (() => {\nconst make = 1;\nreturn make;\n})();" in source
    assert source.index("const lib") < source.index("\nconst make = lib + 1;")
    node = shutil.which("node")
    if node is not None:
        place = tmp_path / "all.mjs"
        place.write_text(source + "\nconsole.log(make);")
        done = subprocess.run([node, str(place)], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("2\n", "")


def test_the_style_has_every_sheet():
    joined = style()
    for path in STATIC.rglob("*.css"):
        assert path.read_text() in joined
