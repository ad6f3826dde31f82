"""Examples: what docstrings of the client and docs/applications.md show, runs as it is shown."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import pytest

from lone_node import lone_node
from maculaos.client import Mesh, connect

ROOT: Final = Path(__file__).parents[4]
OPTIONS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
METHODS: Final = sorted(
    name for name, one in vars(Mesh).items() if ">>>" in (getattr(one, "__doc__", None) or "")
)


async def told(example: doctest.Example, names: dict[str, Any]) -> str:
    """What an example prints, or the error that it ends with."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(example.source, "<example>", "single", flags, dont_inherit=True)
    printed, before = io.StringIO(), sys.displayhook
    sys.displayhook = lambda value: None if value is None else print(repr(value))  # noqa: T201  # its output
    try:
        with redirect_stdout(printed):
            running = eval(code, names)  # noqa: S307  # our own examples
            if inspect.iscoroutine(running):
                await running
    except Exception as error:  # noqa: BLE001  # it may be what the example shows
        return "".join(traceback.format_exception_only(error))
    finally:
        sys.displayhook = before
    return printed.getvalue()


def check(text: str) -> None:
    """Run the examples in ``text`` with a node, one after the other."""
    examples = doctest.DocTestParser().get_examples(text)
    assert examples, "no example is left"

    async def main() -> None:
        async with asyncio.timeout(30), lone_node() as node, connect(node.path) as mesh:
            names: dict[str, Any] = {"mesh": mesh, "__name__": "example"}
            for example in examples:
                said = await told(example, names)
                wanted = example.exc_msg or example.want
                assert doctest.OutputChecker().check_output(wanted, said, OPTIONS), (
                    f"{example.source}told {said!r}, shown is {wanted!r}"
                )

    asyncio.run(main())


@pytest.mark.parametrize("method", METHODS)
def test_a_docstring_shows_what_happens(method: str) -> None:
    check(inspect.getdoc(getattr(Mesh, method)) or "")


def test_the_guide_shows_what_happens() -> None:
    check((ROOT / "docs" / "applications.md").read_text().replace("```", ""))


def test_a_wrong_example_is_found() -> None:
    with pytest.raises(AssertionError, match="told"):
        check(">>> 1 + 1\n3\n")


def test_the_examples_are_there() -> None:
    assert len(METHODS) >= 8
