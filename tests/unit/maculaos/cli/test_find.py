"""``macula find``: what the node found, for people and for machines."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.cli import mesh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FOUND = {
    "nodes": [
        {"node_id": "ab" * 32, "name": "n1", "addresses": ["10.0.0.1:1", "10.0.0.2:1"]},
        {"node_id": "cd" * 32, "name": None, "addresses": []},
    ],
    "hops": 2,
    "asked": 7,
    "complete": True,
}


class Knowing:
    """A node that finds the same, whatever it is asked for, and remembers what that was."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def find(self, node: str | None = None, **wish: Any) -> dict[str, Any]:
        self.asked.append((node, wish))
        return self.answer


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> Knowing:
    """The node that the verb asks."""
    node = Knowing(dict(FOUND))

    def ask(_: object, what: Callable[[Knowing], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await what(node)

        return asyncio.run(run())

    monkeypatch.setattr(mesh, "ask", ask)
    return node


def test_people_get_a_line_for_each_node_and_what_it_took(
    knowing: Knowing, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.find("n1", timeout=3.0)
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert rows == [
        ["name", "node", "id", "addresses"],
        ["n1", "abababab", "10.0.0.1:1", "10.0.0.2:1"],
        ["-", "cdcdcdcd"],
    ]
    assert said.err == "2 found: 2 hops, 7 nodes asked\n"
    assert knowing.asked == [("n1", {"topic": None, "method": None, "timeout_s": 3.0})]


def test_nothing_found_prints_nothing_but_what_it_took(
    knowing: Knowing, capsys: pytest.CaptureFixture[str]
) -> None:
    knowing.answer |= {"nodes": [], "complete": False}
    mesh.find(topic="t")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "0 found: 2 hops, 7 nodes asked; there may be more\n")


def test_a_name_from_another_machine_does_not_steer_the_terminal(
    knowing: Knowing, capsys: pytest.CaptureFixture[str]
) -> None:
    knowing.answer["nodes"] = [{"node_id": "\x1b[2J", "name": "[red]x\x07", "addresses": []}]
    mesh.find(method="m")
    out = capsys.readouterr().out
    assert "[red]x?" in out
    assert "\x1b[2J" not in out


def test_machines_get_the_answer_as_it_is(
    knowing: Knowing, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.find(method="m", as_json=True)
    assert json.loads(capsys.readouterr().out) == knowing.answer
