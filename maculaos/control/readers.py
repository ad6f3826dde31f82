"""Readers: programs for which much waits, and the publishers that are held back for them.

Only who publishes for nobody else waits for a slow reader: other subscribers, here or on other
nodes, are not to suffer from it. A reader that does not read at all is not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maculaos.control.pace import Held, Pace, Queue
from maculaos.wire.events import Post

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.wire.messages import Message


class Reader(Queue, Held, Protocol):
    """A client: what waits for it is a queue, and it can be held back itself."""


class Readers:
    """Clients for which at most ``queue_bytes`` may wait each; ``find`` finds one by its number.

    ``waits`` says of a topic whether its events go to nobody but clients that are full.
    """

    def __init__(
        self,
        queue_bytes: int,
        find: Callable[[int], Reader | None],
        waits: Callable[[str], bool],
    ) -> None:
        self._find = find
        self._waits = waits
        self._pace = Pace(queue_bytes, find)
        self._full: dict[int, Reader] = {}

    def full(self, client: int) -> None:
        """Much waits for that client."""
        found = self._find(client)
        if found is not None:
            self._full[client] = found
            self._pace.crowd(found)

    def room(self, client: int) -> None:
        """There is room for that client again, or it is gone."""
        if (found := self._full.pop(client, None)) is not None:
            self._pace.forget(found)

    def spoke(self, client: int, message: Message) -> None:
        """A client said something: hold it back if it published for those that are full only.

        What is to be acknowledged waits for its readers anyway.
        """
        if not self._full or not isinstance(message, Post) or message.acknowledge:
            return
        if self._waits(message.topic):
            self._pace.spoke(client)

    def close(self) -> None:
        """Hold nobody back any more."""
        self._pace.close()
