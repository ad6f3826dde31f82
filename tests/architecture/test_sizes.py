"""Sizes: what does not fit on a screen is not read; the limits of the house style."""

from __future__ import annotations

import ast

from architecture import tree

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
SERVICE_LINES_MAX = 40


def _functions(source: str) -> list[tuple[str, int, int]]:
    """Name, first line and length in lines of every function, decorators left out."""
    return [
        (node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_function_is_too_long() -> None:
    long = [
        f"{tree.name_of(file)}:{line}: {name} has {length} lines"
        for file in tree.python_files()
        for name, line, length in _functions(tree.text_of(file))
        if length > FUNCTION_LINES_MAX
    ]
    assert not long, f"split what is over {FUNCTION_LINES_MAX} lines:\n" + "\n".join(long)


def test_no_module_is_too_long() -> None:
    long = [
        f"{tree.name_of(file)}: {length} lines"
        for file in tree.python_files()
        if (length := len(tree.text_of(file).splitlines())) > MODULE_LINES_MAX
    ]
    assert not long, f"split what is over {MODULE_LINES_MAX} lines:\n" + "\n".join(long)


def test_service_scripts_stay_short() -> None:
    scripts = sorted((tree.ROOT / "overlays").rglob("rc.d/*"))
    long = [
        f"{tree.name_of(script)}: {length} lines"
        for script in scripts
        if (length := len(tree.text_of(script).splitlines())) > SERVICE_LINES_MAX
    ]
    assert scripts, "no rc.d script found under overlays/"
    assert not long, "move what it decides into Python:\n" + "\n".join(long)


def test_a_long_function_is_measured() -> None:
    source = "async def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    assert _functions(source) == [("f", 1, FUNCTION_LINES_MAX + 1)]
