"""Choosing one of several providers: in turn, by lot, or the one that the fewest wait for.

Which providers there are, and in which order they are near, the caller says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from maculaos.rpc.parties import Party

# Methods whose turn is remembered; then all begin anew.
_REMEMBERED: Final = 4096


class Chooser:
    """The turns of methods, and the lots; ``waiting_for`` counts the calls of a provider."""

    def __init__(self, rng: random.Random, waiting_for: Callable[[Party], int]) -> None:
        self._rng = rng
        self._waiting_for = waiting_for
        self._turns: dict[str, int] = {}

    def in_turn(self, method: str, known: Sequence[Party]) -> Party | None:
        """The one whose turn it is; ``None`` of none."""
        if not known:
            return None
        return known[self._turn(method) % len(known)]

    def by_lot(self, known: Sequence[Party]) -> Party | None:
        """Any of them, each as likely as another."""
        return self._rng.choice(known) if known else None

    def least_pending(self, method: str, known: Sequence[Party]) -> Party | None:
        """The one that the fewest calls wait for; of equals, the one whose turn it is."""
        if not known:
            return None
        fewest = min(map(self._waiting_for, known))
        return self.in_turn(method, [each for each in known if self._waiting_for(each) == fewest])

    def _turn(self, method: str) -> int:
        if len(self._turns) >= _REMEMBERED and method not in self._turns:
            self._turns.clear()
        turn = self._turns.get(method, -1) + 1
        self._turns[method] = turn
        return turn
