"""``macula top`` in this process: a window outlives the node that it shows, nothing else does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from rich.console import Console
from rich.live import Live

from maculaos.cli import top
from maculaos.cli.overview import Sample, between
from maculaos.client import CallFailed, NodeUnreachable
from maculaos.host.clock import FakeClock

if TYPE_CHECKING:
    from maculaos.errors import MaculaError

GONE = NodeUnreachable("no node on n1.sock")
HANGS = CallFailed("DEADLINE_EXCEEDED", "no answer within 5 s")


def looked(screen: top.Screen, why: MaculaError, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Look at a node that answers so; whether that was all."""

    def ask(*_: Any) -> NoReturn:
        raise why

    monkeypatch.setattr(top, "ask", ask)
    return top._watch(Path("n1.sock"), screen, FakeClock(), 1.0, once=False)


def window(paper: io.StringIO) -> Live:
    """A terminal that draws on ``paper``."""
    console = Console(file=paper, force_terminal=True, width=100)
    return Live(console=console, auto_refresh=False)


@pytest.mark.parametrize("why", [GONE, HANGS], ids=["gone", "hangs"])
def test_a_window_looks_for_the_node_again(
    why: MaculaError, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, paper = Sample(0.0, {"uptime_s": 1, "counters": {}, "shell": {}}), io.StringIO()
    with window(paper) as live:
        screen = top._Window(live)
        screen.show("n1", between(sample, sample))
        assert not looked(screen, why, monkeypatch)
    assert f"{why}; looking for it again" in paper.getvalue()


@pytest.mark.parametrize("why", [GONE, HANGS], ids=["gone", "hangs"])
def test_before_the_first_look_and_without_a_window_that_is_the_end(
    why: MaculaError, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = top._Window(window(io.StringIO()))
    for screen in (new, top._Lines(), top._Pages(Console(file=io.StringIO()))):
        with pytest.raises(type(why)):
            looked(screen, why, monkeypatch)
