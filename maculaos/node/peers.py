"""The peers of this node: what they say, and what membership wants to say to them.

Peers are authenticated and still not trusted to behave: whatever breaks the protocol raises
``RemoteProtocolError`` (or a core's own refusal), and the node ends the link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from maculaos.effects import Carriage, CloseLink, Effect, Note, Send
from maculaos.errors import MaculaError, RemoteProtocolError
from maculaos.identity import NODE_ID_SIZE, NodeId, short
from maculaos.node.letters import Reading
from maculaos.node.relay import Arrived
from maculaos.node.sayings import from_wire, to_wire
from maculaos.rpc.parties import of_link
from maculaos.swim.digest import DIGEST_SIZE
from maculaos.swim.requests import (
    MemberChanged,
    MemberForgotten,
    Packet,
    Request,
    SendDigest,
    SendNack,
    SendPing,
    SendPingRequest,
    SendPong,
    SendRelayedPing,
    SendState,
)
from maculaos.swim.rumour import Health, Rumour
from maculaos.wire.events import Events, Interest, InterestDigest, InterestWanted, Receipt
from maculaos.wire.messages import (
    Close,
    Digest,
    Error,
    Heartbeat,
    Message,
    Nack,
    Ping,
    PingRequest,
    Pong,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
)
from maculaos.wire.registry import ErrorCode, StreamClass
from maculaos.wire.table import FindNode, FindValue, Nodes, Routed, Store, Stored, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.node.cores import Cores
    from maculaos.node.links import Link

# A rumour with all that it may hold has less than 3 KiB: a frame stays below 12 MiB.
_RUMOURS_PER_FRAME = 4000
# An honest node puts no more on a probe than a datagram takes.
_RUMOURS_PER_PROBE = 32
# So often a peer is quoted in the log; what it says beyond is counted.
_MAX_QUOTES = 10
# What is cut from a peer's words before they reach a log.
_MAX_QUOTE = 200
_CONTROL = StreamClass.CONTROL
_OfEvents: TypeAlias = Receipt | Interest | InterestDigest | InterestWanted
_Membership: TypeAlias = Ping | Pong | Heartbeat | PingRequest | Nack | Digest


class Peers:
    """Joins links, membership, events and calls; at most ``member_limit`` rumours at once."""

    def __init__(self, cores: Cores, member_limit: int, realm: str) -> None:
        self._cores = cores
        self._realm = realm
        # A peer's full state holds all its members and itself.
        self._rumour_limit = member_limit + 1

    def link(self, link: Link, rumour: Rumour, dialled: str | None, now: float) -> list[Effect]:
        """Take up a link: exchange views, and say what is wanted and offered here."""
        cores = self._cores
        cores.links.add(link)
        cores.neighbourhood.linked(link, dialled, now)
        effects: list[Effect] = [
            Note("link_up", (("peer", rumour.name), ("node_id", short(rumour.node_id))))
        ]
        effects += self.carry(cores.membership.peer_up(rumour, now), now)
        effects += [Send(link.number, each, _CONTROL) for each in cores.calls.offers.to_new_peer()]
        effects += cores.messaging.link_up(link, now)
        return effects

    def unlink(self, link: Link, now: float, *, is_lost: bool = True) -> list[Effect]:
        """Give up a link and all that came with it; one that was spared is not lost."""
        cores = self._cores
        effects = self._detach(link, now, is_lost=is_lost)
        cores.neighbourhood.unlinked(link, now, is_lost=is_lost)
        requests = cores.membership.peer_down(link.peer.node_id, now, is_lost=is_lost)
        return [*effects, *self.carry(requests, now)]

    def replace(self, old: Link, new: Link, now: float) -> list[Effect]:
        """Give up a link because another to the same peer takes over."""
        new.addresses.update(old.addresses)
        return self._detach(old, now, is_lost=False)

    def receive(self, link: Link, message: Message, now: float) -> list[Effect]:
        """A peer says something; raises ``MaculaError`` if it must not."""
        if type(message) is Events:
            # Most of what is said.
            return self._cores.messaging.receive(link, message, now)
        match message:
            case Receipt() | Interest() | InterestDigest() | InterestWanted():
                return self._hear_of_events(link, message, now)
            case RpcCall():
                return self._cores.calls.receive(link, message, now)
            case RpcResult() | RpcError() | RpcCancel() | RpcCredit():
                return self._cores.calls.hear(of_link(link.number), message, now)
            case Ping() | Pong() | Heartbeat() | PingRequest() | Nack() | Digest():
                return self.carry(self._hear(link.peer.node_id, message, now), now)
            case RpcRegister() | RpcUnregister():
                return self._change_offers(link.number, message)
            case Error() | Close():
                return self._quote(link, message)
            case _:
                return self._receive_of_table(link, message, now)

    def _hear_of_events(self, link: Link, message: _OfEvents, now: float) -> list[Effect]:
        messaging = self._cores.messaging
        match message:
            case Receipt():
                return messaging.receive_receipt(link.peer.node_id, message, now)
            case _:
                return messaging.receive_interest(link, message, now)

    def _receive_of_table(self, link: Link, message: Message, now: float) -> list[Effect]:
        match message:
            case Routed():
                arrived = self._cores.relay.receive(link, message, now)
                return self._take(arrived, now) if isinstance(arrived, Arrived) else arrived
            case FindNode() | Nodes() | FindValue() | Values() | Store() | Stored():
                self._cores.directory.receive(link.peer.node_id, message, now)
                return []
            case _:
                raise RemoteProtocolError(f"peers do not send {type(message).__name__}")

    def _take(self, arrived: Arrived, now: float) -> list[Effect]:
        """What came in an envelope; its neighbour is not blamed for what is wrong with it."""
        message = arrived.message
        try:
            if arrived.routed.seal is not None:
                return self._read(arrived, now)
            match message:
                case Ping():
                    answer = Pong(message.sequence)
                    return self._cores.relay.send(arrived.source, answer, back_over=arrived.link)
                case Pong():
                    sender, sequence = arrived.source, message.sequence
                    membership = self._cores.membership
                    return self.carry(membership.hear_relayed_pong(sender, sequence, now), now)
                case FindNode() | Nodes() | FindValue() | Values() | Store() | Stored():
                    self._cores.directory.receive(arrived.source, message, now, arrived.link)
        except MaculaError:
            self._cores.counters.messages_ignored += 1
        return []

    def _read(self, arrived: Arrived, now: float) -> list[Effect]:
        """A letter: of calls, or what became of runs."""
        message = arrived.message
        if not isinstance(message, Receipt):
            return self._cores.calls.read(arrived, now)
        if self._cores.paths.letters.read(arrived, now) is Reading.DROPPED:
            return []
        return self._cores.messaging.receive_receipt(arrived.source, message, now)

    def carry(self, requests: list[Request], now: float) -> list[Effect]:
        """Turn what membership asks into effects."""
        effects: list[Effect] = []
        for request in requests:
            if isinstance(request, MemberChanged):
                effects += self._member_changed(request, now)
            elif isinstance(request, MemberForgotten):
                self._cores.neighbourhood.forgotten(request.member)
                self._cores.messaging.forget(request.member.node_id)
                effects.append(_news("member_forgotten", request.member))
            elif isinstance(request, SendRelayedPing):
                effects += self._cores.relay.send(request.to, Ping(request.sequence))
            else:
                effects += self._packet(request)
        return effects

    def _hear(self, sender: NodeId, message: _Membership, now: float) -> list[Request]:
        membership = self._cores.membership
        match message:
            case Ping():
                rumours = from_wire(message.rumours, _RUMOURS_PER_PROBE)
                return membership.hear_ping(
                    sender, message.sequence, rumours, now, is_urgent=message.is_urgent
                )
            case Pong():
                rumours = from_wire(message.rumours, _RUMOURS_PER_PROBE)
                return membership.hear_pong(sender, message.sequence, rumours, now)
            case PingRequest():
                target = _node_id(message.target)
                return membership.hear_ping_request(sender, message.sequence, target, now)
            case Nack():
                return membership.hear_nack(sender, message.sequence)
            case Digest():
                _check_digest(message)
                numbers = message.members, message.total, message.buckets
                return membership.hear_digest(sender, *numbers, now)
            case Heartbeat():
                _check_buckets(message.buckets)
                rumours = from_wire(message.rumours, self._rumour_limit)
                wants = message.wants_reply, message.buckets
                return membership.hear_state(sender, rumours, *wants, now)

    def _change_offers(self, link: int, message: RpcRegister | RpcUnregister) -> list[Effect]:
        methods = self._cores.calls.offers.peers
        if isinstance(message, RpcUnregister):
            methods.remove(link, message.methods)
        elif methods.add_some(link, message.methods):
            # Its limit may be larger than the one here: no fault of the peer.
            self._cores.counters.messages_ignored += 1
        return []

    def _packet(self, request: Packet) -> list[Effect]:
        link = self._cores.links.to(request.to)
        if link is None:
            return []
        carriage = _carriage(request)
        return [Send(link.number, each, _CONTROL, carriage) for each in _messages(request)]

    def _member_changed(self, change: MemberChanged, now: float) -> list[Effect]:
        cores, after = self._cores, change.after
        note = _news("member_changed", after)
        if after.node_id == cores.membership.me.node_id:
            return [note]
        link = cores.links.to(after.node_id)
        cores.neighbourhood.member_changed(change.before, after, now)
        cores.directory.member_changed(change.before, after, now)
        lost = cores.calls.member_gone(after.node_id, now) if after.health.is_gone else []
        lost += cores.messaging.member_changed(after, now)
        if link is None or after.health is not Health.DEAD:
            return [note, *lost]
        if not cores.membership.is_silent(after.node_id):
            # Others gave it up and we did not: it answers us, hears the rumour and refutes it.
            return [note, *lost]
        closed = CloseLink(link.number, ErrorCode.NO_ERROR, "no answer to probes")
        return [note, *lost, closed, *self.unlink(link, now)]

    def _quote(self, link: Link, message: Error | Close) -> list[Effect]:
        link.complaints += 1
        if link.complaints > _MAX_QUOTES:
            self._cores.counters.messages_ignored += 1
            return []
        return [_quote(link, message)]

    def _detach(self, link: Link, now: float, *, is_lost: bool) -> list[Effect]:
        cores = self._cores
        cores.links.remove(link)
        return [
            *cores.calls.link_down(link.number, now, None if is_lost else link.peer.node_id),
            *cores.messaging.link_down(link, now),
        ]


def _carriage(request: Packet) -> Carriage:
    """Probes measure the way of a datagram: late is as bad as lost. States must arrive."""
    if isinstance(request, SendPing | SendPong) and request.is_urgent:
        return Carriage.STREAM
    is_probe = isinstance(request, SendPing | SendPong | SendPingRequest | SendNack)
    return Carriage.DATAGRAM if is_probe else Carriage.STREAM


def _messages(request: Packet) -> Iterable[Message]:
    """What is sent for one request."""
    match request:
        case SendPing():
            return (Ping(request.sequence, to_wire(request.rumours), request.is_urgent),)
        case SendPong():
            return (Pong(request.sequence, to_wire(request.rumours)),)
        case SendPingRequest():
            return (PingRequest(request.sequence, request.target),)
        case SendNack():
            return (Nack(request.sequence),)
        case SendDigest():
            return (Digest(request.members, request.total, request.buckets),)
        case SendState():
            return _heartbeats(request)


def _heartbeats(state: SendState) -> Iterator[Heartbeat]:
    """A state in frames that can be sent; the last one asks for an answer."""
    sayings = to_wire(state.rumours)
    for start in range(0, max(1, len(sayings)), _RUMOURS_PER_FRAME):
        end = start + _RUMOURS_PER_FRAME
        wants_reply = state.wants_reply and end >= len(sayings)
        yield Heartbeat(sayings[start:end], wants_reply, state.buckets)


def _node_id(said: bytes) -> NodeId:
    if len(said) != NODE_ID_SIZE:
        raise RemoteProtocolError(f"a node id of {len(said)} bytes")
    return NodeId(said)


def _check_digest(digest: Digest) -> None:
    """Raise ``RemoteProtocolError`` for what no honest node says of its view."""
    if len(digest.buckets) not in (0, DIGEST_SIZE):
        raise RemoteProtocolError(f"a digest of {len(digest.buckets)} bytes")
    if not 0 <= digest.total < 1 << 64 or digest.members < 0:
        raise RemoteProtocolError(f"the digest {digest.total} of {digest.members} members")


def _check_buckets(buckets: bytes) -> None:
    if len(set(buckets)) != len(buckets):
        raise RemoteProtocolError("a bucket is named twice")


def _news(event: str, member: Rumour) -> Note:
    facts = (
        ("member", member.name),
        ("node_id", short(member.node_id)),
        ("health", member.health.name.lower()),
        ("incarnation", str(member.incarnation)),
        ("addresses", " ".join(member.addresses)),
    )
    return Note(event, facts)


def _quote(link: Link, message: Error | Close) -> Note:
    """What a peer says before it ends the link, or of a frame of ours."""
    said = message.detail if isinstance(message, Error) else message.reason
    facts = (
        ("peer", link.peer.name),
        ("code", str(message.code)),
        ("said", said[:_MAX_QUOTE]),
    )
    return Note(f"peer_{type(message).__name__.lower()}", facts)
