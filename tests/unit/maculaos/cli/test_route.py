"""Routes: what is common to them is drawn once, and none is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.cli.route import Step, join
from maculaos.errors import RemoteProtocolError

NAMES = "abcde"


def route(names: str) -> dict[str, Any]:
    hops = [{"node": name, "at_us": 100 * place} for place, name in enumerate(names)]
    return {"node": names[-1:], "hops": hops}


def ends(steps: list[Step], before: str = "") -> set[str]:
    found = set()
    for step in steps:
        way = before + step.node
        found |= ends(step.onward, way) | ({way} if step.is_end else set())
    return found


@given(st.lists(st.text(NAMES, min_size=1, max_size=5), max_size=8))
def test_every_route_is_there_and_nothing_else(ways: list[str]) -> None:
    assert ends(join(map(route, ways))) == set(ways)


def test_common_steps_are_there_once() -> None:
    (start,) = join([route("abc"), route("abd"), route("ab")])
    (step,) = start.onward
    assert (step.node, step.is_end) == ("b", True)
    assert [each.node for each in step.onward] == ["c", "d"]


@pytest.mark.parametrize("answer", [{}, {"hops": 3}, {"hops": [{"node": 1, "at_us": 2}]},
                                    {"hops": ["x"]}])  # fmt: skip
def test_what_is_no_route_is_the_nodes_fault(answer: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        join([answer])
