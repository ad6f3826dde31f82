"""The seam between a program and its node: messages out, messages in, and whether there is room.

One transport is one life of a connection: when it is lost it stays lost, and another one is
opened. ``maculaos.client.connection`` reaches a node over its control socket;
``maculaos.embedded`` one in the same process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.wire.messages import HandshakeAck, Message


class Receiver(Protocol):
    """Who hears what the node says; called from the event loop, must not raise."""

    def take(self, message: Message) -> None:
        """The node says something."""
        ...

    def room(self) -> None:
        """The transport is no longer full."""
        ...

    def lost(self, reason: str) -> None:
        """The node is gone; nothing more will come."""
        ...


class Transport(Protocol):
    """A way to one node, greeted already."""

    @property
    def ack(self) -> HandshakeAck:
        """What the node said of itself."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether what is sent now would only wait; ``Receiver.room`` tells when it ends."""
        ...

    def send(self, message: Message) -> None:
        """Put ``message`` on its way, in order; nothing happens if the node is gone.

        Raises ``FrameError`` for what no frame can hold.
        """
        ...

    async def close(self) -> None:
        """Say goodbye and end; can be repeated."""
        ...


#: Opens a transport for that receiver; raises ``NodeUnreachable``.
Opener: TypeAlias = "Callable[[Receiver], Awaitable[Transport]]"
