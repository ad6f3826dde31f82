"""The code map: tables in ARCHITECTURE.md, made from the first sentence of each module's docstring.

``python -m architecture.codemap`` (inside ``make format``) renews them, and a gate compares. What
a module is for is thus written once, in the module; a map kept by hand goes stale.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from architecture import tree

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT: Final = tree.ROOT / "ARCHITECTURE.md"
_HEAD: Final = "| path | what it is for |\n|---|---|\n"
# A heading that names the folder of a package, and the table that follows it.
_SECTION: Final = re.compile(
    r"(^### `([\w/]+)/`[^\n]*\n\n(?:[^|#\n][^\n]*\n)*\n?)(?:\|[^\n]*\n)*\n*", re.MULTILINE
)


def renewed(text: str) -> str:
    """``text`` with the table of each package as it should be."""
    return _SECTION.sub(lambda found: found[1] + table(found[2]) + "\n", text)


def table(package: str) -> str:
    """One row for every module and package under ``package``, in the order of their paths."""
    rows = {
        _path(file): _purpose(file)
        for file in tree.python_files(package)
        if file.name != "__main__.py" and file != tree.ROOT / package / "__init__.py"
    }
    return _HEAD + "".join(f"| `{path}` | {rows[path]} |\n" for path in sorted(rows))


def _path(file: Path) -> str:
    """A package stands for its ``__init__.py``, and is written with a slash at its end."""
    return f"{tree.name_of(file.parent)}/" if file.name == "__init__.py" else tree.name_of(file)


def _purpose(file: Path) -> str:
    paragraph = (ast.get_docstring(ast.parse(tree.text_of(file))) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(tree.text_of(DOCUMENT)), encoding="utf-8")
