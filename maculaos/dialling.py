"""The dials under way of one node: each ends in a link, or the node is told what came of it.

The endpoint reports links by itself. Whom to dial, and when again, the node decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.quic.endpoint import DialFailed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from maculaos.effects import Dial, Effect
    from maculaos.node import Node
    from maculaos.quic.endpoint import Endpoint


class Dialling:
    """At most ``limit`` dials at once; ``feed`` lets the node take a step at the time of now."""

    def __init__(
        self,
        endpoint: Endpoint,
        node: Node,
        feed: Callable[[Callable[[float], list[Effect]]], None],
        limit: int,
    ) -> None:
        self._endpoint = endpoint
        self._node = node
        self._feed = feed
        self._limit = limit
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, wanted: Dial, tasks: asyncio.TaskGroup | None) -> None:
        """Dial, in a task of ``tasks``; without them the node does not run yet, and hears so."""
        if tasks is None:
            self._failed(wanted.address, "the node is not ready yet", raises_doubt=False)
            return
        if len(self._under_way) >= self._limit:
            self._failed(wanted.address, "too many dials at once", raises_doubt=False)
            return
        dial = tasks.create_task(self._dial(wanted))
        self._under_way.add(dial)
        dial.add_done_callback(self._under_way.discard)

    def cancel(self) -> None:
        """Give up what is under way; the node is told nothing."""
        for dial in self._under_way:
            dial.cancel()

    async def _dial(self, wanted: Dial) -> None:
        address = wanted.address
        try:
            await self._endpoint.dial(address, wanted.first_words)
        except DialFailed as error:
            if error.is_self:
                self._feed(lambda now: self._node.dialled_self(address, now))
            else:
                self._failed(address, str(error), raises_doubt=error.raises_doubt)

    def _failed(self, address: str, reason: str, *, raises_doubt: bool) -> None:
        self._feed(
            lambda now: self._node.dial_failed(address, reason, now, raises_doubt=raises_doubt)
        )
