"""Calls on their way: from a caller to one provider, and the results back.

A provider is chosen by the caller's policy among those that are known (``maculaos.node.choosing``);
where nobody is, one is looked for in the distributed table and called over a path. A call from a
member is answered by a client of this node or not at all: it is never passed on, so it cannot go
round in circles. A provider that says it did not run the call makes room for the next one; a call
that may have run is never put to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from maculaos.effects import Effect, Send, SendToClient
from maculaos.node.doubts import Doubts
from maculaos.node.letters import Reading
from maculaos.node.telling import MOMENT_S, Telling
from maculaos.rpc.methods import OWN_PREFIX, InvalidMethod, check_method
from maculaos.rpc.parties import Party, is_client, is_path, of_client, of_link
from maculaos.rpc.pending import PendingCall, PendingCalls
from maculaos.rpc.streams import MAX_CREDIT, Stream, StreamBroken
from maculaos.wire.messages import (
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcResult,
)
from maculaos.wire.registry import Answering, Choice, RpcErrorCode, StreamClass
from maculaos.wire.values import MAX_VALUE_SIZE

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.kademlia.requests import ValueFound
    from maculaos.node.choosing import Choosing
    from maculaos.node.counters import Counters
    from maculaos.node.links import Link, Links
    from maculaos.node.paths import Paths
    from maculaos.node.relay import Arrived
    from maculaos.node.seeking import Call
    from maculaos.swim.membership import Membership

MAX_DEADLINE_MS: Final = 3_600_000
# To so many providers one call is put in turn.
MAX_TRIES: Final = 16
_TOO_LARGE: Final = f"a value has at most {MAX_VALUE_SIZE} bytes"
_NO_ROOM: Final = "too much is on its way already"
_MESSAGES: Final = StreamClass.MESSAGES
# What a provider says that did not run the call.
_NOT_RUN: Final = frozenset({int(RpcErrorCode.NO_PROVIDER), int(RpcErrorCode.OVERLOADED)})
_NONE: Final = int(Answering.NONE)
_STREAM: Final = int(Answering.STREAM)
_CHOICES: Final = len(Choice)
_ANSWERINGS: Final = len(Answering)

Answer: TypeAlias = RpcResult | RpcError
#: What is said about a call after it was made.
Sequel: TypeAlias = RpcResult | RpcError | RpcCancel | RpcCredit


class Calls:
    """Methods of clients and of peers, the calls that wait, and what follows from them."""

    def __init__(
        self,
        membership: Membership,
        links: Links,
        paths: Paths,
        counters: Counters,
        choosing: Choosing,
        pending: PendingCalls[RpcCall],
    ) -> None:
        self._me = bytes(membership.me.node_id)
        self._members = membership.members
        self._links = links
        self._paths = paths
        self._counters = counters
        self._choosing = choosing
        self._seeking = choosing.seeking
        self.offers = choosing.offers
        self.pending = pending
        self._telling = Telling(paths, counters)
        self._doubts = Doubts(links, paths, pending, self._telling)

    @property
    def waiting(self) -> int:
        """How many calls wait for a result or, without a provider yet, for a search."""
        return len(self.pending) + len(self._seeking)

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch."""
        self._paths.letters.set_wall_clock(wall, now)

    def hear(self, party: Party, message: Sequel, now: float) -> list[Effect]:
        """What a caller or a provider says about a call that is under way."""
        match message:
            case RpcResult():
                return self.answer(party, message, now)
            case RpcError():
                return self.fail(party, message, now)
            case RpcCancel():
                return self.cancel(party, message, now)
            case RpcCredit():
                return self.credit(party, message, now)

    # What callers want.

    def call(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        """A client calls a method of an application."""
        self._counters.calls_out += 1
        return self._begin(of_client(client), message, self._me, now)

    def receive(self, link: Link, message: RpcCall, now: float) -> list[Effect]:
        """A peer calls a method; who calls is what its certificate says."""
        self._counters.calls_in += 1
        return self._begin(of_link(link.number), message, bytes(link.peer.node_id), now)

    def cancel(self, origin: Party, message: RpcCancel, now: float) -> list[Effect]:
        """A caller does not want the result any more."""
        call = self.pending.find(origin, message.call)
        if call is None:
            self._counters.calls_cancelled += self._seeking.cancel(origin, message.call)
            return []
        self.pending.close(call)
        return self._telling.withdraw(call, now)

    def credit(self, origin: Party, message: RpcCredit, now: float) -> list[Effect]:
        """A caller takes so many results more of a stream."""
        call = self.pending.find(origin, message.call)
        if call is None and not message.credit and is_path(origin):
            return self._doubts.asked_after(origin, message.call, now)
        granted = call.stream.grant(message.credit) if call and call.stream else 0
        if call is None or not granted:
            return []
        return self._telling.tell(
            call.provider, RpcCredit(call.number, granted), now, call.deadline
        )

    # What providers say.

    def answer(self, provider: Party, message: RpcResult, now: float) -> list[Effect]:
        """A provider answers; an answer that nobody waits for is counted and dropped."""
        call = self.pending.get(message.call, provider)
        if call is None:
            self._counters.results_late += 1
            return []
        if call.stream is not None:
            return self._continue(call, call.stream, message, now)
        self.pending.close(call)
        if len(message.payload) > MAX_VALUE_SIZE:
            return self._telling.end(call, RpcErrorCode.HANDLER_FAILED, _TOO_LARGE, now)
        if message.more:
            detail = "the provider sent several results for one"
            return [
                *self._telling.end(call, RpcErrorCode.HANDLER_FAILED, detail, now),
                *self._telling.withdraw(call, now),
            ]
        self._counters.calls_answered += 1
        result = RpcResult(call.origin_call, message.payload)
        given = self._telling.give(call.origin, result, now, call.deadline)
        return self._give_up(call, now) if given is None else given

    def fail(self, provider: Party, message: RpcError, now: float) -> list[Effect]:
        """A provider has no result; if it did not run the call, another one may."""
        call = self.pending.get(message.call, provider)
        if call is None:
            self._counters.results_late += 1
            return []
        has_begun = call.stream is not None and bool(call.stream.came or call.stream.held)
        if message.code in _NOT_RUN and not has_begun:
            return self._refused(call, message, now)
        if call.stream is not None:
            return self._continue(call, call.stream, message, now)
        self.pending.close(call)
        return self._telling.end(call, message.code, message.detail, now)

    def read(self, arrived: Arrived, now: float) -> list[Effect]:
        """A letter of a member comes in, in an envelope; who wrote it is what its seal says."""
        reading, message = self._paths.letters.read(arrived, now), arrived.message
        if reading is Reading.DROPPED or message is None:
            return []
        party = of_link(self._paths.number_of(arrived.source))
        match message:
            case RpcCall():
                return self._called_over_path(party, arrived, message, reading, now)
            case RpcResult() | RpcError() | RpcCancel() | RpcCredit():
                return self.hear(party, message, now)
            case _:
                self._counters.messages_ignored += 1
                return []

    # Who comes and goes.

    def client_down(self, client: int, now: float) -> list[Effect]:
        """A client is gone: its callers hear so, and peers call it no more."""
        self._seeking.drop(of_client(client))
        orphaned = self.offers.drop_client(client)
        return [*orphaned, *self._lose(of_client(client), now)]

    def link_down(self, link: int, now: float, member: NodeId | None = None) -> list[Effect]:
        """A link is gone: whoever waits for its peer hears so.

        With ``member``, the peer is still there and only the link was not needed any more: calls
        go on over a path, but for streams, which would lose their order.
        """
        self.offers.peers.drop(link)
        if member is not None:
            self._doubts.move(link, of_link(self._paths.number_of(member)), now)
        return self._lose(of_link(link), now)

    def member_gone(self, member: NodeId, now: float) -> list[Effect]:
        """A member died or left: what went over a path to it is lost."""
        path = self._paths.drop(member)
        if path is None:
            return []
        self._seeking.forget(path)
        return self._lose(of_link(path), now)

    def found(self, result: ValueFound, now: float) -> list[Effect]:
        """A search for providers ended: the calls that waited for it go on."""
        effects: list[Effect] = []
        for call in self._seeking.found(result, self._members, now):
            if call.request is not None:
                effects += self._place(call, call.request, now)
        return effects

    # Time.

    def advance(self, now: float) -> list[Effect]:
        """Tell the callers whose deadline has passed, and their providers."""
        effects, late = self._paths.letters.advance(now), RpcErrorCode.DEADLINE_EXCEEDED
        effects += self._doubts.advance(now)
        for call in self._seeking.advance(now):
            effects += self._telling.end(
                call, late, "no provider was found before the deadline", now
            )
        for call in self.pending.expire(now):
            # A member knows the deadline as well.
            if not is_path(call.origin):
                effects += self._telling.end(call, late, "no result before the deadline", now)
            if not is_path(call.provider):
                effects += self._telling.withdraw(call, now)
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min(
            self.pending.next_deadline(),
            self._seeking.next_deadline(),
            self._paths.letters.next_deadline(),
            self._doubts.next_deadline(),
        )

    # A call on its way to a provider.

    def _begin(
        self, origin: Party, message: RpcCall, caller: bytes, now: float, brought_by: Party = 0
    ) -> list[Effect]:
        size = len(message.payload)
        deadline = now + message.deadline_ms / 1000
        call = PendingCall(origin, message.call, deadline, message, size, caller, brought_by)
        wrong = self._wrong(origin, message, size)
        if wrong is not None:
            # It may be the deadline.
            call.deadline = now
            return self._telling.end(call, RpcErrorCode.INVALID_REQUEST, wrong, now)
        return self._place(call, message, now)

    def _called_over_path(
        self, origin: Party, arrived: Arrived, message: RpcCall, reading: Reading, now: float
    ) -> list[Effect]:
        self._counters.calls_in += 1
        if reading is Reading.OF_FORMER_LIFE:
            if message.answering == _NONE:
                return []
            detail = "the provider started anew, and may have run it before"
            refused = RpcError(message.call, RpcErrorCode.PROVIDER_LOST, detail)
            return self._telling.tell(origin, refused, now, now + MOMENT_S)
        age_ms = arrived.routed.seal.age_ms if arrived.routed.seal else 0
        call = RpcCall(
            message.call,
            message.method,
            message.deadline_ms - age_ms,
            message.caller,
            message.payload,
            message.choice,
            message.answering,
            message.credit,
        )
        brought_by = of_link(arrived.link.number)
        return self._begin(origin, call, bytes(arrived.source), now, brought_by)

    def _wrong(self, origin: Party, message: RpcCall, size: int) -> str | None:
        """What makes no sense of a call, if something does not."""
        if not 0 < message.deadline_ms <= MAX_DEADLINE_MS:
            return f"deadline_ms must lie between 1 and {MAX_DEADLINE_MS}"
        if size > MAX_VALUE_SIZE:
            return _TOO_LARGE
        if message.method.startswith(OWN_PREFIX):
            return f"{message.method} is answered to the node's own clients only"
        if not 0 <= message.choice < _CHOICES or not 0 <= message.answering < _ANSWERINGS:
            return "that choice of a provider, or kind of answer, is unknown here"
        if message.answering != _NONE and self._is_waiting(origin, message.call):
            return f"the number {message.call} is in use by a call that still waits"
        return None

    def _is_waiting(self, origin: Party, number: int) -> bool:
        return self.pending.is_open(origin, number) or self._seeking.is_waiting(origin, number)

    def _place(self, call: Call, message: RpcCall, now: float) -> list[Effect]:
        """Put a call to a provider; look for one if nobody is known."""
        if not is_client(call.origin):
            provider = self._choosing.local(message.method, call.tried)
        else:
            provider = self._choosing.anybody(message.method, message.choice, call.tried)
            if message.choice and self._may_be_found(message.method):
                self._seeking.survey(message.method, now)
        if provider is None:
            return self._seek(call, message, now)
        return self._put(call, message, provider, now)

    def _put(self, call: Call, message: RpcCall, provider: Party, now: float) -> list[Effect]:
        answering, credit = message.answering, 0
        if answering == _STREAM:
            credit = max(0, min(message.credit, MAX_CREDIT))
            call.stream = Stream(credit)
        if answering != _NONE:
            call.desk = self._choosing.desk_of(provider, message.method)
            if not self.pending.open(call, provider):
                detail = "too many calls wait for a result"
                return self._telling.end(call, RpcErrorCode.OVERLOADED, detail, now)
        left_ms = max(1, round((call.deadline - now) * 1000))
        number, method, payload = call.number, message.method, message.payload
        handed = RpcCall(number, method, left_ms, call.caller, payload, 0, answering, credit)
        if provider & 1:
            return [SendToClient(provider >> 1, handed)]
        if provider > 0:
            return [Send(provider >> 1, handed, _MESSAGES)]
        return self._post(call, provider, handed, now)

    def _post(self, call: Call, provider: Party, handed: RpcCall, now: float) -> list[Effect]:
        """Put a call to a member without a link."""
        effects = self._paths.send(provider >> 1, handed, now, call.deadline)
        if effects is not None:
            return effects
        if handed.answering != _NONE:
            self.pending.close(call)
        return self._telling.end(call, RpcErrorCode.OVERLOADED, _NO_ROOM, now)

    def _seek(self, call: Call, message: RpcCall, now: float) -> list[Effect]:
        """Nobody is known: look further than the neighbours, once."""
        if is_client(call.origin) and not call.is_sought and self._may_be_found(message.method):
            call.is_sought = True
            if self._seeking.wait(call, message.method, now):
                return []
            detail = "too many or too large calls wait for a provider"
            return self._telling.end(call, RpcErrorCode.OVERLOADED, detail, now)
        if self._choosing.is_busy(message.method) and not call.tried:
            detail = f"whoever answers {message.method} is busy"
            return self._telling.end(call, RpcErrorCode.OVERLOADED, detail, now)
        said = call.refusal or (RpcErrorCode.NO_PROVIDER, f"nobody answers {message.method}")
        return self._telling.end(call, *said, now)

    def _refused(self, call: Call, message: RpcError, now: float) -> list[Effect]:
        """A provider did not run that call: the next one may."""
        self.pending.close(call)
        request, provider = call.request, call.provider
        if request is None or len(call.tried) + 1 >= MAX_TRIES:
            return self._telling.end(call, message.code, message.detail, now)
        if message.code == RpcErrorCode.NO_PROVIDER:
            self._choosing.denied(provider, request.method)
        if call.refusal is None or message.code == RpcErrorCode.OVERLOADED:
            call.refusal = message.code, message.detail
        call.tried = (*call.tried, provider)
        call.stream = call.desk = None
        return self._place(call, request, now)

    def _may_be_found(self, method: str) -> bool:
        """Whether to look further than the neighbours for somebody who answers that."""
        is_all_heard = not self.offers.peers.is_partial
        if is_all_heard and len(self._links) >= self._members.count_present():
            return False
        return _is_method(method)

    # What comes back of it.

    def _continue(self, call: Call, stream: Stream, message: Answer, now: float) -> list[Effect]:
        """The next part of a stream, or its end; parts that overtook others wait."""
        is_last = isinstance(message, RpcError) or not message.more
        index = message.index if is_path(call.provider) else 0
        size = len(message.payload) if isinstance(message, RpcResult) else len(message.detail)
        try:
            if size > MAX_VALUE_SIZE:
                raise StreamBroken(_TOO_LARGE)
            ready = stream.take(index, message, size, is_last=is_last)
        except StreamBroken as broken:
            self.pending.close(call)
            ended = self._telling.end(call, RpcErrorCode.HANDLER_FAILED, str(broken), now)
            return [*ended, *self._telling.withdraw(call, now)]
        effects: list[Effect] = []
        for part in ready:
            handed = self._hand_back(call, stream, part, now)
            if handed is None:
                self.pending.close(call)
                withdrawn = self._telling.withdraw(call, now)
                return [*effects, *self._give_up(call, now), *withdrawn]
            effects += handed
            if self.pending.get(call.number, call.provider) is not call:
                # It has ended; whatever a provider sent behind that is nobody's.
                break
        return effects

    def _hand_back(
        self, call: Call, stream: Stream, part: object, now: float
    ) -> list[Effect] | None:
        """Pass a part of a stream on to its caller; ``None`` if there is no room for it."""
        if isinstance(part, RpcError):
            self.pending.close(call)
            return self._telling.end(call, part.code, part.detail, now)
        if not isinstance(part, RpcResult):
            return []
        index = stream.next_index() if is_path(call.origin) else 0
        result = RpcResult(call.origin_call, part.payload, part.more, index)
        given = self._telling.give(call.origin, result, now, call.deadline)
        if given is None:
            # An error takes its place.
            stream.handed_on -= 1
        elif not part.more:
            self.pending.close(call)
            self._counters.calls_answered += 1
        return given

    def _give_up(self, call: Call, now: float) -> list[Effect]:
        """There was no room for a result on its way to the caller, who is not to wait for it."""
        return self._telling.end(call, RpcErrorCode.PROVIDER_LOST, _NO_ROOM, now)

    def _lose(self, party: Party, now: float) -> list[Effect]:
        """Somebody is gone: others need not answer it, and hear that it does not answer."""
        asked, owed = self.pending.drop(party)
        effects: list[Effect] = []
        for call in asked:
            effects += self._telling.withdraw(call, now)
        for call in owed:
            detail = "the provider was lost before it answered"
            effects += self._telling.end(call, RpcErrorCode.PROVIDER_LOST, detail, now)
        return effects


def _is_method(name: str) -> bool:
    """Whether anybody may offer that."""
    try:
        check_method(name)
    except InvalidMethod:
        return False
    return True
