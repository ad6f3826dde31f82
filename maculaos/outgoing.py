"""What the node wants said and ended, carried out on links; and what a full link costs.

A call that found its link full is answered at once, in the place of the peer: nobody waits for its
deadline. A result that did is not left out in silence: its caller gets an error instead, ahead of
what else waits. A link that another one replaced is heard for a moment longer before it ends. What
is said to whom is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import structs

from maculaos.wire.frames import FrameError
from maculaos.wire.messages import RpcCall, RpcCancel, RpcCredit, RpcError, RpcResult
from maculaos.wire.registry import Answering, ErrorCode, RpcErrorCode, StreamClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maculaos.control.pace import Pace
    from maculaos.effects import CloseLink, Send
    from maculaos.quic.link import Link
    from maculaos.wire.messages import Message

_TOO_MUCH: Final = "too much waits for this peer"


class Outgoing:
    """The way out over ``links``; ``hear`` brings the node an answer as if it came over one."""

    def __init__(
        self, links: Mapping[int, Link], pace: Pace, hear: Callable[[Link, Message], None]
    ) -> None:
        self._links = links
        self._pace = pace
        self._hear = hear
        #: Messages that found the queue of their link full, or fit no frame.
        self.dropped = 0

    def send(self, effect: Send) -> None:
        """Put a message on the queue of its link, if that is there and takes it."""
        link = self._links.get(effect.link)
        if link is None:
            return
        if _queued(link, effect):
            if link.holds_more_than(self._pace.full_bytes):
                self._pace.crowd(link)
            return
        self.dropped += 1
        if effect.stream is StreamClass.CONTROL:
            # A peer that missed a word about topics or methods would be wrong for ever.
            link.close(ErrorCode.LIMIT_EXCEEDED, _TOO_MUCH)
        else:
            self._spare_waiting(link, effect)

    def _spare_waiting(self, link: Link, effect: Send) -> None:
        """What found no room is told to whoever waits for it, here or there."""
        message = effect.message
        match message:
            case RpcCall():
                if message.answering != Answering.NONE:
                    refusal = RpcError(message.call, RpcErrorCode.OVERLOADED, _TOO_MUCH)
                    self._hear_soon(link, refusal)
            case RpcResult():
                lost = RpcError(message.call, RpcErrorCode.PROVIDER_LOST, _TOO_MUCH)
                self._say_ahead(link, effect, lost)
                # A stream goes no further: what came behind would look like all of it.
                self._hear_soon(link, RpcCancel(message.call))
            case RpcError() | RpcCancel() | RpcCredit():
                self._say_ahead(link, effect, message)

    def _say_ahead(self, link: Link, effect: Send, message: Message) -> None:
        """A short word that somebody waits for: it has room where urgent ones have."""
        if not _queued(link, structs.replace(effect, message=message, stream=StreamClass.URGENT)):
            link.close(ErrorCode.LIMIT_EXCEEDED, _TOO_MUCH)

    def _hear_soon(self, link: Link, message: Message) -> None:
        """As if the peer had said it; the node's other effects of this step come first."""
        asyncio.get_running_loop().call_soon(self._hear, link, message)

    def end(self, effect: CloseLink) -> None:
        """End a link, after its grace if it has one."""
        link = self._links.get(effect.link)
        if link is None:
            return
        if effect.grace_s:
            loop = asyncio.get_running_loop()
            loop.call_later(effect.grace_s, link.close, effect.code, effect.reason)
        else:
            link.close(effect.code, effect.reason)


def _queued(link: Link, effect: Send) -> bool:
    """Whether the link took the message; one that fits no frame is lost, and the node is not."""
    try:
        return link.send(effect.message, effect.stream, effect.carriage)
    except FrameError:
        return False
