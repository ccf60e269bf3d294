"""The front end's script and style sheet: many small files here, one module for the page.

anywidget hands one ES module to the page, and there nothing can be imported from beside it. So the
modules of ``static/js`` are joined: dependencies first, imports and `export` dropped, all in one
scope. Renaming in an import is not supported, and no name may be defined twice at top level; tests
look after both. What others wrote (``static/vendor``) is left as published and gets a scope of its
own, from which its default export comes.
"""

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
ENTRY = STATIC / "js" / "main.js"
CHECKED = "// @ts-check\n"

_IMPORT = re.compile(r"^import\s+(?:(\w+)|\{[^}]*\})\s+from\s+\"(\.[^\"]*)\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default (.*);\s*\Z", re.MULTILINE | re.DOTALL)
_VENDOR_DEFAULT = re.compile(r"export\s*\{\s*(\w+) as default\s*\};?\s*\Z")


def script() -> str:
    """Return the front end as one ES module, with the entry's default export as its only one."""
    parts: list[str] = [CHECKED]
    seen: set[Path] = set()

    def add(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for name, place in _IMPORT.findall(text):
            used = (path.parent / place).resolve()
            if used in seen:
                continue
            seen.add(used)
            if name:
                parts.append(_in_its_own_scope(name, used))
            else:
                add(used)
        text = _EXPORT.sub("", _IMPORT.sub("", text))
        if path != ENTRY:
            text = _DEFAULT.sub("", text)
        text = text.removeprefix(CHECKED).lstrip()
        parts.append(f"// ---- {path.name}\n\n{text}")

    add(ENTRY)
    return "\n".join(parts)


def style() -> str:
    """Return all style sheets of ``static/css``, by name, and of ``static/vendor``, as one."""
    places = [*sorted(STATIC.glob("vendor/**/*.css")), *sorted(STATIC.glob("css/*.css"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in places)


def _in_its_own_scope(name: str, path: Path) -> str:
    text, found = _VENDOR_DEFAULT.subn(r"return \1;", path.read_text(encoding="utf-8"))
    assert found == 1, f"{path.name} does not end with its default export"
    return f"// ---- {path.name}\n\nconst {name} = (() => {{\n{text}\n}})();\n"
