"""Shared subscriptions: events of a run are dealt out to the members of a group, in turn.

A run is cut into as many slices as there are members, so that each travels as one run, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

M = TypeVar("M")

# Groups whose turn is remembered; beyond, all begin anew.
_GROUPS: Final = 4096


class Turns:
    """Whose turn it is in each group."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def deal(self, group: str, members: Sequence[M], count: int) -> Iterator[tuple[M, slice]]:
        """Members and the slice of a run of ``count`` events for each.

        A member that is listed twice gets twice as much, and in one slice where its turns follow.
        """
        if len(self._next) >= _GROUPS:
            self._next.clear()
        turn = self._next.get(group, 0)
        slices = min(count, len(members))
        self._next[group] = (turn + slices) % len(members)
        dealt = [members[(turn + number) % len(members)] for number in range(slices)]
        start = 0
        for number, member in enumerate(dealt, start=1):
            if number == slices or dealt[number] != member:
                end = number * count // slices
                yield member, slice(start, end)
                start = end
