"""Messages to members without a link: put in an envelope, and handed on by the nodes between.

An envelope names its sender, and only the last of the links that it came over is authenticated: a
member of the realm could write another's name on one. So nothing may travel in a plain one but
questions to the distributed table, whose records are signed, and probes that somebody else asked
for: who asks others for a probe believes them anyway. Calls and receipts travel in sealed ones,
which their sender signed (``maculaos.node.letters``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, Send
from maculaos.errors import RemoteProtocolError
from maculaos.identity import NodeId
from maculaos.kademlia.rates import Allowance
from maculaos.node.entries import node_id_from_wire
from maculaos.node.links import Link
from maculaos.node.routing import MAX_HOPS, Routing
from maculaos.wire.events import Receipt
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import (
    Message,
    Ping,
    Pong,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcResult,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import StreamClass
from maculaos.wire.table import FindNode, FindValue, Nodes, Routed, Store, Stored, Values

if TYPE_CHECKING:
    from maculaos.node.counters import Counters
    from maculaos.swim.members import Members

# Envelopes a second that are taken from one neighbour.
_PER_SECOND: Final = 5_000
_ROUTABLE: Final = (
    FindNode,
    Nodes,
    FindValue,
    Values,
    Store,
    Stored,
    Ping,
    Pong,
)
# Only under the seal of their sender.
_LETTERS: Final = (RpcCall, RpcResult, RpcError, RpcCancel, RpcCredit, Receipt)
_MESSAGES: Final = StreamClass.MESSAGES


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came in an envelope for this node, who is said to have sent it, and the last link.

    An envelope with a seal may hold no message.
    """

    source: NodeId
    message: Message | None
    link: Link
    routed: Routed


class Relay:
    """The envelopes of node ``me``; times are monotonic seconds."""

    def __init__(self, me: NodeId, members: Members, routing: Routing, counters: Counters) -> None:
        self._me = me
        self._members = members
        self._routing = routing
        self._counters = counters
        self._allowance = Allowance(_PER_SECOND)

    def send(
        self,
        to: NodeId,
        message: Message,
        *,
        back_over: Link | None = None,
        is_again: bool = False,
    ) -> list[Effect]:
        """Bring ``message`` to a member, over its link or over others; empty if there is no way.

        An answer goes ``back_over`` the link that its question came in on: that way was open. A
        question that ``is_again`` asked goes another way than before.
        """
        link = self._way(to, back_over, is_again=is_again)
        if link is None:
            return []
        if link.peer.node_id == to:
            return [Send(link.number, message, _MESSAGES)]
        routed = Routed(to, self._me, MAX_HOPS, encode_message(message))
        return [Send(link.number, routed, _MESSAGES)]

    def post(
        self,
        routed: Routed,
        to: NodeId,
        *,
        is_again: bool = False,
        back_over: Link | None = None,
    ) -> list[Effect]:
        """Bring an envelope on its way to ``to``, over its link or others; empty if there is none.

        Where it goes over others is as ``send`` has it.
        """
        link = self._way(to, back_over, is_again=is_again)
        return [] if link is None else [Send(link.number, routed, _MESSAGES)]

    def receive(self, link: Link, routed: Routed, now: float) -> list[Effect] | Arrived:
        """An envelope comes in: what it held if it is for this node, else it goes on.

        Raises ``RemoteProtocolError`` for one that no honest neighbour sends.
        """
        target, source = node_id_from_wire(routed.target), node_id_from_wire(routed.source)
        if not 0 < routed.hops <= MAX_HOPS:
            raise RemoteProtocolError(f"an envelope travels over at most {MAX_HOPS} links")
        if not self._allowance.take(link.peer.node_id, now):
            return self._drop()
        if target != self._me:
            return self._pass_on(link, routed, target)
        if not self._members.is_present(source):
            return self._drop()
        message = _opened(routed)
        if message is None and (routed.frame or routed.seal is None):
            return self._drop()
        return Arrived(source, message, link, routed)

    def _way(self, to: NodeId, back_over: Link | None, *, is_again: bool) -> Link | None:
        """The link over which something goes to ``to``: its own if it has one."""
        link = self._routing.next_hop(to)
        if link is None or link.peer.node_id == to:
            return link
        link = back_over or link
        return (self._routing.detour(link) or link) if is_again else link

    def _pass_on(self, link: Link, routed: Routed, target: NodeId) -> list[Effect]:
        onward = self._routing.next_hop(target)
        if onward is None or onward is link:
            # A node that has just begun knows few members: others know the way.
            onward = self._routing.detour(link)
        if onward is None or routed.hops <= 1:
            return self._drop()
        self._counters.envelopes_passed_on += 1
        hops, frame = routed.hops - 1, routed.frame
        further = Routed(routed.target, routed.source, hops, frame, routed.seal)
        return [Send(onward.number, further, _MESSAGES)]

    def _drop(self) -> list[Effect]:
        self._counters.envelopes_dropped += 1
        return []


def _opened(routed: Routed) -> Message | None:
    """The message within; ``None`` for what may not travel so, or is malformed.

    The neighbour that brings it cannot be blamed: it need not have looked inside.
    """
    try:
        frames = FrameReader().feed(routed.frame)
        message = decode_message(frames[0]) if len(frames) == 1 else None
    except RemoteProtocolError:
        return None
    return message if isinstance(message, _ROUTABLE if routed.seal is None else _LETTERS) else None
