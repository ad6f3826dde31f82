"""The peers of this node: what they say, and what membership wants to say to them.

Peers are authenticated and still not trusted to behave: whatever breaks the protocol raises
``RemoteProtocolError`` (or a core's own refusal), and the node ends the link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.effects import CloseLink, Effect, Note, Send
from maculaos.errors import RemoteProtocolError
from maculaos.identity import short
from maculaos.node.sayings import from_wire, to_wire
from maculaos.rpc.pending import Party, Side
from maculaos.swim.requests import (
    MemberChanged,
    MemberForgotten,
    Request,
    SendPing,
    SendPong,
    SendState,
)
from maculaos.swim.rumour import Health, Rumour
from maculaos.wire.messages import (
    Close,
    Error,
    Event,
    Heartbeat,
    Message,
    Ping,
    Pong,
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
    Subscribe,
    Unsubscribe,
)
from maculaos.wire.registry import ErrorCode, StreamClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.identity import NodeId
    from maculaos.node.cores import Cores
    from maculaos.node.links import Link
    from maculaos.wire.messages import Rumour as Saying

# A rumour with the longest name and addresses has less than 3 KiB: a frame stays below 12 MiB.
_RUMOURS_PER_FRAME = 4000
# So often a peer is quoted in the log; what it says beyond is counted.
_MAX_QUOTES = 10
# What is cut from a peer's words before they reach a log.
_MAX_QUOTE = 200
_CONTROL = StreamClass.CONTROL


class Peers:
    """Joins links, membership, events and calls; at most ``member_limit`` rumours at once."""

    def __init__(self, cores: Cores, member_limit: int) -> None:
        self._cores = cores
        # A peer's full state holds all its members and itself.
        self._rumour_limit = member_limit + 1

    def link(self, link: Link, rumour: Rumour, aliases: Iterable[str], now: float) -> list[Effect]:
        """Take up a link: exchange views, and say what is wanted and offered here."""
        cores = self._cores
        cores.links.add(link)
        effects: list[Effect] = [
            Note("link_up", (("peer", rumour.name), ("node_id", short(rumour.node_id))))
        ]
        effects += self.carry(cores.membership.peer_up(rumour, now), now)
        held = cores.membership.members.get(rumour.node_id)
        addresses = held.addresses if held else rumour.addresses
        cores.dialler.linked(link, (*aliases, *addresses), now)
        effects += [Send(link.number, each, _CONTROL) for each in cores.events.interest()]
        effects += [Send(link.number, each, _CONTROL) for each in cores.calls.offers()]
        return effects

    def unlink(self, link: Link, now: float) -> list[Effect]:
        """Give up a link and all that came with it."""
        cores = self._cores
        effects = self._detach(link)
        cores.dialler.link_lost(link, now)
        requests = cores.membership.peer_down(link.peer.node_id, now)
        return [*effects, *self.carry(requests, now)]

    def replace(self, old: Link, new: Link) -> list[Effect]:
        """Give up a link because another to the same peer takes over."""
        new.addresses.update(old.addresses)
        return self._detach(old)

    def receive(self, link: Link, message: Message, now: float) -> list[Effect]:
        """A peer says something; raises ``MaculaError`` if it must not."""
        match message:
            case Event():
                return self._cores.events.receive(link, message)
            case RpcCall():
                return self._cores.calls.receive(link, message, now)
            case RpcResult() | RpcError():
                return self._cores.calls.answer(Party(Side.LINK, link.number), message)
            case Ping() | Pong() | Heartbeat():
                return self.carry(self._hear(link.peer.node_id, message, now), now)
            case Subscribe() | Unsubscribe() | RpcRegister() | RpcUnregister():
                return self._change_interest(link.number, message)
            case Error() | Close():
                return self._quote(link, message)
            case _:
                raise RemoteProtocolError(f"peers do not send {type(message).__name__}")

    def carry(self, requests: list[Request], now: float) -> list[Effect]:
        """Turn what membership asks into effects."""
        effects: list[Effect] = []
        for request in requests:
            if isinstance(request, MemberChanged):
                effects += self._member_changed(request, now)
            elif isinstance(request, MemberForgotten):
                self._cores.dialler.forgotten(request.member)
                effects.append(_news("member_forgotten", request.member))
            else:
                effects += self._packet(request)
        return effects

    def _hear(self, sender: NodeId, message: Ping | Pong | Heartbeat, now: float) -> list[Request]:
        membership = self._cores.membership
        rumours = from_wire(message.rumours, self._rumour_limit)
        match message:
            case Ping():
                return membership.hear_ping(sender, message.sequence, rumours, now)
            case Pong():
                return membership.hear_pong(sender, message.sequence, rumours, now)
            case Heartbeat():
                return membership.hear_state(sender, rumours, message.wants_reply, now)

    def _change_interest(
        self, link: int, message: Subscribe | Unsubscribe | RpcRegister | RpcUnregister
    ) -> list[Effect]:
        topics, methods = self._cores.events.peers, self._cores.calls.peers
        match message:
            case Subscribe():
                topics.add(link, message.topics)
            case Unsubscribe():
                topics.remove(link, message.topics)
            case RpcRegister():
                methods.add(link, message.methods)
            case RpcUnregister():
                methods.remove(link, message.methods)
        return []

    def _packet(self, request: SendPing | SendPong | SendState) -> list[Effect]:
        link = self._cores.links.to(request.to)
        if link is None:
            return []
        sayings = to_wire(request.rumours)
        message: Message
        match request:
            case SendPing():
                message = Ping(request.sequence, sayings)
            case SendPong():
                message = Pong(request.sequence, sayings)
            case SendState():
                return [
                    Send(link.number, each, _CONTROL)
                    for each in _heartbeats(sayings, request.wants_reply)
                ]
        return [Send(link.number, message, _CONTROL)]

    def _member_changed(self, change: MemberChanged, now: float) -> list[Effect]:
        cores, after = self._cores, change.after
        note = _news("member_changed", after)
        if after.node_id == cores.membership.me.node_id:
            return [note]
        link = cores.links.to(after.node_id)
        cores.dialler.member_changed(change.before, after, link, now)
        if link is None or after.health is not Health.DEAD:
            return [note]
        if not cores.membership.is_silent(after.node_id):
            # Others gave it up and we did not: it answers us, hears the rumour and refutes it.
            return [note]
        closed = CloseLink(link.number, ErrorCode.NO_ERROR, "no answer to probes")
        return [note, closed, *self.unlink(link, now)]

    def _quote(self, link: Link, message: Error | Close) -> list[Effect]:
        link.complaints += 1
        if link.complaints > _MAX_QUOTES:
            self._cores.counters.messages_ignored += 1
            return []
        return [_quote(link, message)]

    def _detach(self, link: Link) -> list[Effect]:
        cores = self._cores
        cores.links.remove(link)
        cores.events.peers.drop(link.number)
        return cores.calls.link_down(link.number)


def _heartbeats(sayings: tuple[Saying, ...], wants_reply: bool) -> Iterator[Heartbeat]:
    """A state in frames that can be sent; the last one asks for an answer."""
    for start in range(0, len(sayings), _RUMOURS_PER_FRAME):
        end = start + _RUMOURS_PER_FRAME
        yield Heartbeat(sayings[start:end], wants_reply and end >= len(sayings))


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
