"""Desks: how many calls of a method one client takes at once, as it said when it registered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Desk:
    """Where the calls of one method wait for one client; ``limit`` of them at most."""

    limit: int
    waiting: int = 0

    @property
    def is_full(self) -> bool:
        """Whether one more call would be refused."""
        return self.waiting >= self.limit


class Desks:
    """The desks of all clients; there are no more of them than registrations."""

    def __init__(self) -> None:
        self._desks: dict[tuple[int, str], Desk] = {}

    def __len__(self) -> int:
        return len(self._desks)

    def of(self, client: int, method: str) -> Desk | None:
        """The desk of that client for that method; ``None`` if it takes all that come."""
        return self._desks.get((client, method)) if self._desks else None

    def set_up(self, client: int, methods: tuple[str, ...], limit: int) -> None:
        """That client takes ``limit`` calls at once of each of these; 0: all that come."""
        if limit <= 0:
            self.clear(client, methods)
            return
        for method in methods:
            desk = self._desks.setdefault((client, method), Desk(limit))
            desk.limit = limit

    def clear(self, client: int, methods: tuple[str, ...]) -> None:
        """That client says no more how many calls of these it takes."""
        for method in methods:
            self._desks.pop((client, method), None)

    def drop(self, client: int) -> None:
        """That client is gone."""
        for key in [key for key in self._desks if key[0] == client]:
            del self._desks[key]
