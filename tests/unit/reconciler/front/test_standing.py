"""How a front stands is told in one word, and what is wrong with it in lines."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.front.standing import FrontState, FrontStatus, front_status


def said(**changes: Any) -> dict[str, Any]:
    port = {"app": "shop", "name": "web", "at": "127.0.0.1:8080/tcp", "problem": ""}
    count = {"app": "shop", "instance": "blue-1", "open": 1, "total": 2, "failed": 0}
    good = {"pid": 7, "ports": [port], "connections": [count], "refused": 0, "problems": []}
    return {**good, "seen": {}, **changes}


def test_front_that_listens_everywhere_is_ready() -> None:
    front = front_status(said())
    assert (front.state, front.told) == (FrontState.READY, ())
    assert front.line() == "Ready: shop 127.0.0.1:8080/tcp"


def test_port_that_cannot_be_had_stalls_it() -> None:
    port = {**said()["ports"][0], "problem": "taken by another program"}
    front = front_status(said(ports=[port], problems=["app store: not JSON"]))
    line = "app shop: port web: 127.0.0.1:8080/tcp: taken by another program"
    assert front.state is FrontState.STALLED
    assert front.told == (line, "app store: not JSON")
    assert front.line() == f"Stalled: {line} (and 1 more)"


def test_front_that_cannot_run_says_why() -> None:
    front = FrontStatus(state=FrontState.STALLED, reason="exited with status 1")
    assert front.told == ("front: exited with status 1",)


@pytest.mark.parametrize("bad", [{}, said(ports=None), said(ports=[{}]), said(pid=None)])
def test_what_no_front_says_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not what a front says"):
        front_status(bad)
