"""The order of the rooms: who may import whom."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def contracts() -> list[dict]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def test_imports_point_down_only(capfd: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == 0, capfd.readouterr().out


def test_contract_says_what_the_architecture_page_says() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    [order] = re.findall(r"^Order: `(.+)`", page, re.MULTILINE)
    written = [[room.strip() for room in layer.split(",")] for layer in order.split(">")]
    [layers] = [contract["layers"] for contract in contracts() if contract["type"] == "layers"]
    assert [re.split(r"\s*[|:]\s*", layer) for layer in layers] == written


def test_every_room_but_the_highest_is_kept_from_the_notebook() -> None:
    [layers] = [contract["layers"] for contract in contracts() if contract["type"] == "layers"]
    rooms = {f"freezeviz.{room}" for layer in layers for room in re.split(r"\s*[|:]\s*", layer)}
    [forbidden] = [contract for contract in contracts() if contract["type"] == "forbidden"]
    above = {"freezeviz.cli", "freezeviz.widgets"}
    assert set(forbidden["source_modules"]) == rooms - above


@pytest.mark.parametrize("path", sorted((ROOT / "freezeviz").rglob("*.py")), ids=lambda p: p.stem)
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module's docstring is its entry in the map of the package."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
