"""What a measurement makes of what its parts say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from bench import contest
from bench.parts import PartFailed

if TYPE_CHECKING:
    from bench.parts import Part

WARM: dict[str, Any] = {"warm": True}
GAVE = {"count": 7, "began_s": 1.0, "cpu_s": 0.1}


class Reader:
    """A part that says what it is given to say."""

    cpu_s = 0.0

    def __init__(self, *lines: dict[str, Any]) -> None:
        self._lines = list(lines)

    async def hear(self) -> dict[str, Any]:
        return self._lines.pop(0)

    def tell(self, *words: object) -> None:
        """Say it all the same."""


def found(*counts: int) -> contest.Result:
    """What comes out where so many messages arrive at each taker."""
    giver = Reader({"running": True}, GAVE)
    each = ({"count": n, "last_s": 3.0, "cpu_s": 0.1, "rss_kib": 1024} for n in counts)
    parts = cast("list[Part]", [giver, *(Reader(WARM, took) for took in each)])
    return asyncio.run(contest._messages(parts[0], parts[1:], []))


@pytest.fixture(autouse=True)
def _at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_LOOK_S", 0.001)


def test_a_rate_is_what_arrived_in_the_time_until_the_last_did() -> None:
    result = found(7, 3)
    assert (result.sent, result.done, result.rate) == (14, 10, 5.0)


def test_of_whose_messages_none_arrives_fails() -> None:
    with pytest.raises(PartFailed, match="of 7 messages, none arrived"):
        found(0, 0)
