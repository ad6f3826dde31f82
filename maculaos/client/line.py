"""The line to the node: one connection after the other, opened again when one is lost.

It knows neither topics nor methods. Who uses it is told when the line is up, to say again what a
new node must know, and when it is down.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.client.failures import NodeUnreachable
from maculaos.host.entropy import SystemEntropy

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.client.transport import Opener, Transport
    from maculaos.wire.messages import HandshakeAck, Message

# Full jitter between 0 and a ceiling that doubles from the first to the second. It stays low:
# to try a socket of this machine costs nothing, and each moment without a node is one of events
# that are missed.
RECONNECT_BASE_S: Final = 0.05
RECONNECT_MAX_S: Final = 0.5
# Between two tries to reach a node that is not up yet.
_RETRY_S: Final = 0.05


class State(Enum):
    """Where a program stands with its node."""

    CONNECTED = "connected"
    #: The node is gone, and looked for.
    RECONNECTING = "reconnecting"
    #: The node is gone for good: nobody looks for it.
    LOST = "lost"
    #: The program has closed the connection.
    CLOSED = "closed"


class User(Protocol):
    """Who uses the line; called from the event loop, must not raise."""

    def take(self, message: Message) -> None:
        """The node says something."""
        ...

    def room(self) -> None:
        """What waited can be sent."""
        ...

    def up(self, ack: HandshakeAck) -> None:
        """A connection is there; it knows nothing of the ones before."""
        ...

    def down(self, why: NodeUnreachable) -> None:
        """The connection is gone; ``state`` says whether another one may come."""
        ...


class Line:
    """One program's line to one node."""

    def __init__(self, opener: Opener, user: User, where: str, *, reconnect: bool) -> None:
        self.state = State.RECONNECTING
        #: There is no node, and nobody looks for one.
        self.is_over = False
        self._open = opener
        self._user = user
        self._where = where
        self._reconnect = reconnect
        self._rng = random.Random(SystemEntropy().draw(8))  # noqa: S311  # jitter, no secret
        self._transport: Transport | None = None
        # The one that was lost last, which may still be about to end.
        self._lost: Transport | None = None
        self._why = NodeUnreachable(f"no node {where} yet", "")
        self._redialling: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._watchers: list[Callable[[State], None]] = []

    @property
    def is_open(self) -> bool:
        """Whether what is sent now goes out at once."""
        return self._transport is not None and not self._transport.is_full

    @property
    def is_connected(self) -> bool:
        """Whether there is a node now."""
        return self._transport is not None

    async def begin(self, patience_s: float) -> Transport:
        """Open the first connection, trying for ``patience_s``; raises ``NodeUnreachable``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while True:
            try:
                transport = await self._open(self)
            except NodeUnreachable:
                if loop.time() + _RETRY_S > deadline:
                    raise
                await asyncio.sleep(_RETRY_S)
            else:
                self._settle(transport)
                return transport

    def tell(self, watcher: Callable[[State], None]) -> None:
        """Call ``watcher`` with every new state from now on."""
        self._watchers.append(watcher)

    def send(self, message: Message) -> None:
        """Put ``message`` on its way; raises ``NodeUnreachable`` while there is no node."""
        if self._transport is None:
            raise self.gone()
        self._transport.send(message)

    def say(self, message: Message) -> None:
        """Send ``message`` if there is a node, for what only a living one must hear."""
        if self._transport is not None:
            self._transport.send(message)

    def gone(self) -> NodeUnreachable:
        """Why there is no node, as an error to raise."""
        return NodeUnreachable(self._why.what, self._why.hint)

    async def until_up(self, timeout_s: float) -> None:
        """Wait for a connection; raises ``NodeUnreachable`` if none comes in time or ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.state is State.RECONNECTING:
                    await self._changed.wait()
        if self._transport is None:
            raise self.gone()

    async def until_room(self) -> None:
        """Wait while there is a node that takes nothing."""
        while self._transport is not None and self._transport.is_full:
            self._has_room.clear()
            await self._has_room.wait()

    async def wait_lost(self) -> NodeUnreachable:
        """Wait until there is no node; return why."""
        while self.state is State.CONNECTED:
            await self._changed.wait()
        return self.gone()

    async def close(self) -> None:
        """End the connection, and look for no other; can be repeated."""
        self._why = NodeUnreachable("this program closed the connection", "")
        transport, self._transport = self._transport, None
        was_closed, redialling = self.state is State.CLOSED, self._redialling
        self._enter(State.CLOSED)
        if not was_closed:
            self._user.down(self.gone())
        try:
            if redialling is not None:
                redialling.cancel()
                with suppress(asyncio.CancelledError):
                    await redialling
            if self._lost is not None:
                await self._lost.close()
        finally:
            if transport is not None:
                await transport.close()

    # What the transport tells, see ``Receiver``.

    def take(self, message: Message) -> None:
        """See ``Receiver.take``."""
        self._user.take(message)

    def room(self) -> None:
        """See ``Receiver.room``."""
        self._has_room.set()
        self._user.room()

    def lost(self, reason: str) -> None:
        """See ``Receiver.lost``."""
        if self._transport is None:
            return
        self._lost, self._transport = self._transport, None
        what = f"the node {self._where} is gone: {reason}"
        self._why = NodeUnreachable(what, "look at its log")
        self._enter(State.RECONNECTING if self._reconnect else State.LOST)
        self._user.down(self.gone())
        if self._reconnect:
            self._redialling = asyncio.get_running_loop().create_task(self._redial())

    async def _redial(self) -> None:
        ceiling_s = RECONNECT_BASE_S
        while True:
            await asyncio.sleep(self._rng.uniform(0, ceiling_s))
            ceiling_s = min(RECONNECT_MAX_S, 2 * ceiling_s)
            with suppress(NodeUnreachable):
                self._settle(await self._open(self))
                return

    def _settle(self, transport: Transport) -> None:
        self._transport = transport
        self._enter(State.CONNECTED)
        self._user.up(transport.ack)

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        self.is_over = state in {State.LOST, State.CLOSED}
        # Whoever waits looks at the state again, and waits for the next change if need be.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._has_room.set()
        for watcher in self._watchers:
            # Later, and each for itself: one that fails keeps no other from hearing of it.
            asyncio.get_running_loop().call_soon(watcher, state)
