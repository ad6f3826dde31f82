"""Where a node listens: moved while it runs, when its configuration names another address.

The endpoint moves first, and its links with it. Then the realm hears where the node is to be
dialled from now on, and discovery announces it. An address that cannot be had changes nothing. What
the configuration says is read elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from maculaos.host.logbook import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.discovery.discovery import Discovery
    from maculaos.effects import Effect
    from maculaos.host.logbook import Logbook
    from maculaos.node import Node
    from maculaos.quic.endpoint import Endpoint
    from maculaos.settings import NodeSettings


class Whereabouts:
    """Moves ``endpoint`` and ``discovery``, and lets ``node`` tell others, fed by ``feed``."""

    def __init__(
        self,
        settings: NodeSettings,
        endpoint: Endpoint,
        discovery: Discovery,
        node: Node,
        feed: Callable[[Callable[[float], list[Effect]]], None],
        logbook: Logbook,
    ) -> None:
        self._listen = settings.listen
        self._endpoint = endpoint
        self._discovery = discovery
        self._node = node
        self._feed = feed
        self._log = logbook
        # One move at a time, in the order in which they were asked for.
        self._moving = asyncio.Lock()

    async def follow(self, settings: NodeSettings) -> None:
        """Listen where ``settings`` say; a move that fails is logged, and nothing has changed."""
        async with self._moving:
            listen = settings.listen
            if listen == self._listen:
                return
            try:
                if listen.bound != self._listen.bound:
                    await self._endpoint.rebind(listen.address, listen.port)
            except UsageError as error:
                self._log.note("move_refused", Level.WARNING, error=error)
                return
            self._listen = listen
            self._endpoint.advertise(listen.advertise)
            self._feed(lambda now: self._node.set_addresses(listen.advertised, now))
            self._discovery.move(settings)
            self._log.note("moved", address=self._endpoint.address)
