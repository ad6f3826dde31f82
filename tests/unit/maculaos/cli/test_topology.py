"""``macula topology`` in this process, asking a node of ours that gives fixed answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest
import typer

from maculaos.cli import topology
from maculaos.cli.topology import Format
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def described(count: int, realm: str = "home") -> dict[str, Any]:
    ids = [hashlib.sha256(str(each).encode()).hexdigest() for each in range(count)]
    told = [{"name": f"n{each}", "node_id": ids[each], "health": "alive"} for each in range(count)]
    return {
        "self": told[0], "neighbours": told[1:4], "unlinked": told[4:], "realm": realm, "degree": 6,
    }  # fmt: skip


class Known:
    """A node that knows a mesh."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def topology(self) -> dict[str, Any]:
        return self.answer


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the verb prints for a mesh of ``count`` nodes."""

    def show(count: int, realm: str = "home", **options: Any) -> str:
        def ask(_: object, what: Callable[[Known], Awaitable[Any]]) -> Any:
            async def run() -> Any:
                return await what(Known(described(count, realm)))

            return asyncio.run(run())

        monkeypatch.setattr(topology, "ask", ask)
        topology.topology(**options)
        return capsys.readouterr().out

    return show


def test_text_ends_with_the_measures(shown: Any) -> None:
    lines = shown(25).splitlines()
    assert len(lines) == 26
    assert lines[0].startswith("n0 (")
    assert lines[-1].startswith("25 nodes, 75 links, degree 6, diameter 3, connected")


def test_text_of_a_node_that_names_no_realm_has_no_measures(shown: Any) -> None:
    assert len(shown(25, "").splitlines()) == 25


def test_other_degree_is_what_would_be(shown: Any) -> None:
    assert "25 nodes, 50 links, degree 4," in shown(25, degree=4)


def test_every_format_is_what_it_says(shown: Any) -> None:
    assert shown(25, form=Format.DOT).startswith("graph mesh {")
    assert shown(25, form=Format.MERMAID).startswith("flowchart LR")
    assert ET.fromstring(shown(25, form=Format.SVG)).tag.endswith("svg")  # noqa: S314  # ours


@pytest.mark.parametrize("options", [{"as_json": True}, {"form": Format.JSON}])
def test_json_keeps_the_answer_and_adds_what_is_wanted(shown: Any, options: dict[str, Any]) -> None:
    told = json.loads(shown(25, **options))
    assert told["neighbours"] == described(25)["neighbours"]
    assert {len(near) for near in told["wanted"].values()} == {6}
    assert told["measured"]["links"] == 75


@pytest.mark.parametrize("degree", [0, 5, 66])
def test_degree_that_cannot_be_is_a_usage_error(degree: int) -> None:
    with pytest.raises(UsageError, match="even number from 2 to 64"):
        topology.topology(degree=degree)


def test_verb_is_added_once() -> None:
    app = typer.Typer()
    topology.add_to(app)
    assert [each.callback for each in app.registered_commands] == [topology.topology]
