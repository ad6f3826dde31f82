"""What a link and the endpoint that carries it know of each other, and whom both tell of links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from maculaos.identity import Identity

if TYPE_CHECKING:
    from maculaos.quic.link import Link
    from maculaos.wire.messages import Message


class LinkObserver(Protocol):
    """Who is told about links; called on the loop, must not raise."""

    def link_up(self, link: Link) -> None:
        """The link is established: both ends know who the other is."""
        ...

    def message_received(self, link: Link, message: Message) -> None:
        """The peer said something."""
        ...

    def link_down(self, link: Link, reason: str) -> None:
        """The link, once up, is gone, whoever ended it."""
        ...


class Carrier(Protocol):
    """What a link needs of the endpoint that carries its datagrams."""

    def wake(self, link: Link) -> None:
        """The link has something to send, or has ended."""
        ...

    def link_established(self, link: Link) -> None:
        """The link is up."""
        ...

    def message_received(self, link: Link, message: Message) -> None:
        """The peer said something."""
        ...

    def connection_id_issued(self, link: Link, connection_id: bytes) -> None:
        """Datagrams to that id are the link's."""
        ...

    def connection_id_retired(self, connection_id: bytes) -> None:
        """Datagrams to that id are nobody's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """What all links of one endpoint share."""

    local: Identity
    addresses: tuple[str, ...]
    software: str
    life: int
    queue_bytes: int
    greeting_bytes: int
    idle_timeout_s: float
