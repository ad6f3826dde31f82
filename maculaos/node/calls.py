"""Calls on their way: from a caller to one provider, and the result back.

A provider among the node's own clients comes first, else a peer that announced the method, each
in turn, else a member that is looked for in the distributed table and called over a path. A call
from a member is answered by a client of this node or not at all: it is never passed on, so it
cannot go round in circles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, Send, SendToClient
from maculaos.node.events import batches
from maculaos.node.seeking import Seeking
from maculaos.rpc.methods import OWN_PREFIX, InvalidMethod, check_method
from maculaos.rpc.pending import Party, PendingCall, PendingCalls, Side
from maculaos.rpc.providers import Providers
from maculaos.wire.messages import RpcCall, RpcError, RpcRegister, RpcResult, RpcUnregister
from maculaos.wire.registry import RpcErrorCode, StreamClass
from maculaos.wire.values import MAX_VALUE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.identity import NodeId
    from maculaos.kademlia.requests import ValueFound
    from maculaos.node.counters import Counters
    from maculaos.node.directory import Directory
    from maculaos.node.links import Link, Links
    from maculaos.node.paths import Paths
    from maculaos.settings import LimitSettings
    from maculaos.swim.membership import Membership

MAX_DEADLINE_MS: Final = 3_600_000
# What is passed on of an error in words.
MAX_DETAIL: Final = 1000
_TOO_LARGE: Final = f"a value has at most {MAX_VALUE_SIZE} bytes"
_MESSAGES: Final = StreamClass.MESSAGES
_CONTROL: Final = StreamClass.CONTROL


class Calls:
    """Methods of clients and of peers, the calls that wait, and what follows from them."""

    def __init__(
        self,
        membership: Membership,
        limits: LimitSettings,
        links: Links,
        directory: Directory,
        paths: Paths,
        counters: Counters,
    ) -> None:
        self._me = bytes(membership.me.node_id)
        self._members = membership.members
        self._links = links
        self._directory = directory
        self._paths = paths
        self._counters = counters
        self.clients = Providers(limits.subscriptions)
        # No peer alone can take what the others need.
        self.peers = Providers(2 * limits.subscriptions, share=limits.subscriptions)
        self.pending = PendingCalls(limits.pending_calls)
        self._seeking = Seeking(directory, paths, limits.pending_calls)

    def call(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        """A client calls a method of an application."""
        self._counters.calls_out += 1
        origin = Party(Side.CLIENT, client)
        provider = self._local(message.method) or self._remote(message.method)
        if provider is None and self._may_be_found(message):
            if self._seeking.wait(origin, message, now):
                return []
            detail = "too many calls wait for a provider"
            return [self._refuse(origin, message.call, RpcErrorCode.OVERLOADED, detail)]
        return self._paths.bring(self._hand_on(origin, message, provider, self._me, now))

    def found(self, result: ValueFound, now: float) -> list[Effect]:
        """A search for providers ended: the calls that waited for it go on."""
        effects: list[Effect] = []
        for waiting in self._seeking.found(result, self._members, now):
            message, provider = waiting.left(now), self._remote(waiting.message.method)
            effects += self._hand_on(waiting.origin, message, provider, self._me, now)
        return self._paths.bring(effects)

    def member_gone(self, member: NodeId) -> list[Effect]:
        """A member died or left: what went over a path to it is lost."""
        path = self._paths.drop(member)
        if path is None:
            return []
        self._seeking.forget(path)
        return self.link_down(path)

    def receive(self, link: Link, message: RpcCall, now: float) -> list[Effect]:
        """A peer calls a method; who calls is what its certificate says."""
        self._counters.calls_in += 1
        origin = Party(Side.LINK, link.number)
        if message.method.startswith(OWN_PREFIX):
            detail = f"{message.method} is answered to the node's own clients only"
            return [self._refuse(origin, message.call, RpcErrorCode.INVALID_REQUEST, detail)]
        provider, caller = self._local(message.method), bytes(link.peer.node_id)
        return self._paths.bring(self._hand_on(origin, message, provider, caller, now))

    def answer(self, provider: Party, message: RpcResult | RpcError) -> list[Effect]:
        """A provider answers; an answer that nobody waits for is counted and dropped."""
        call = self.pending.answer(message.call, provider)
        if call is None:
            self._counters.results_late += 1
            return []
        return self._paths.bring([self._answered(call, message)])

    def register(self, client: int, methods: tuple[str, ...]) -> list[Effect]:
        """A client offers methods; peers hear of those that are new here. Raises as providers."""
        return self._announce(RpcRegister(self.clients.add(client, methods)))

    def unregister(self, client: int, methods: tuple[str, ...]) -> list[Effect]:
        """A client offers methods no more."""
        return self._announce(RpcUnregister(self.clients.remove(client, methods)))

    def client_down(self, client: int) -> list[Effect]:
        """A client is gone: its callers hear so, and peers call it no more."""
        party = Party(Side.CLIENT, client)
        self._seeking.drop(party)
        orphaned = self._announce(RpcUnregister(self.clients.drop(client)))
        return [*orphaned, *self._paths.bring(self._lose(party))]

    def link_down(self, link: int) -> list[Effect]:
        """A peer is gone: whoever waits for it hears so."""
        self.peers.drop(link)
        return self._paths.bring(self._lose(Party(Side.LINK, link)))

    def offers(self) -> Iterator[RpcRegister]:
        """What a new peer needs to know."""
        for batch in batches(self.clients.methods):
            yield RpcRegister(batch)

    def advance(self, now: float) -> list[Effect]:
        """Tell the callers whose deadline has passed."""
        late, detail = RpcErrorCode.DEADLINE_EXCEEDED, "no provider was found before the deadline"
        waited = [
            self._refuse(each.origin, each.message.call, late, detail)
            for each in self._seeking.advance(now)
        ]
        failed = [self._fail(each, late) for each in self.pending.expire(now)]
        return [*waited, *self._paths.bring(failed)]

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min(self.pending.next_deadline(), self._seeking.next_deadline())

    def _answered(self, call: PendingCall, message: RpcResult | RpcError) -> Effect:
        origin, number = call.origin, call.origin_call
        if isinstance(message, RpcError):
            if message.code == RpcErrorCode.NO_PROVIDER and call.provider.number < 0:
                # What was found in the table holds no more; a link would have told.
                self._seeking.forget(call.provider.number)
            return self._refuse(origin, number, message.code, message.detail)
        if len(message.payload) > MAX_VALUE_SIZE:
            return self._refuse(origin, number, RpcErrorCode.HANDLER_FAILED, _TOO_LARGE)
        self._counters.calls_answered += 1
        return _to(origin, RpcResult(number, message.payload))

    def _may_be_found(self, message: RpcCall) -> bool:
        """Whether to look further than the neighbours for somebody who answers that call."""
        is_fit = 0 < message.deadline_ms <= MAX_DEADLINE_MS
        is_fit &= len(message.payload) <= MAX_VALUE_SIZE and _is_method(message.method)
        return is_fit and len(self._links) < self._members.count_present()

    def _remote(self, method: str) -> Party | None:
        number = self.peers.choose(method)
        if number is None:
            number = self._seeking.choose(method)
        return None if number is None else Party(Side.LINK, number)

    def _local(self, method: str) -> Party | None:
        client = self.clients.choose(method)
        return None if client is None else Party(Side.CLIENT, client)

    def _hand_on(
        self, origin: Party, message: RpcCall, provider: Party | None, caller: bytes, now: float
    ) -> list[Effect]:
        if not 0 < message.deadline_ms <= MAX_DEADLINE_MS:
            detail = f"deadline_ms must lie between 1 and {MAX_DEADLINE_MS}"
            return [self._refuse(origin, message.call, RpcErrorCode.INVALID_REQUEST, detail)]
        if len(message.payload) > MAX_VALUE_SIZE:
            return [self._refuse(origin, message.call, RpcErrorCode.INVALID_REQUEST, _TOO_LARGE)]
        if provider is None:
            detail = f"nobody answers {message.method}"
            return [self._refuse(origin, message.call, RpcErrorCode.NO_PROVIDER, detail)]
        deadline = now + message.deadline_ms / 1000
        call = self.pending.open(origin, message.call, provider, deadline)
        if call is None:
            detail = "too many calls wait for a result"
            return [self._refuse(origin, message.call, RpcErrorCode.OVERLOADED, detail)]
        method, payload = message.method, message.payload
        return [_to(provider, RpcCall(call.number, method, message.deadline_ms, caller, payload))]

    def _lose(self, party: Party) -> list[Effect]:
        lost = self.pending.drop(party)
        return [self._fail(each, RpcErrorCode.PROVIDER_LOST) for each in lost]

    def _fail(self, call: PendingCall, code: RpcErrorCode) -> Effect:
        details = {
            RpcErrorCode.DEADLINE_EXCEEDED: "no result before the deadline",
            RpcErrorCode.PROVIDER_LOST: "the provider was lost before it answered",
        }
        return self._refuse(call.origin, call.origin_call, code, details[code])

    def _refuse(self, origin: Party, number: int, code: int, detail: str) -> Effect:
        self._counters.calls_failed += 1
        return _to(origin, RpcError(number, code, detail[:MAX_DETAIL]))

    def _announce(self, message: RpcRegister | RpcUnregister) -> list[Effect]:
        if not message.methods:
            return []
        if isinstance(message, RpcRegister):
            self._directory.announce((), message.methods)
        else:
            self._directory.withdraw((), message.methods)
        return [Send(link, message, _CONTROL) for link in self._links.numbers]


def _is_method(name: str) -> bool:
    """Whether anybody may offer that."""
    try:
        check_method(name)
    except InvalidMethod:
        return False
    return True


def _to(party: Party, message: RpcCall | RpcResult | RpcError) -> Effect:
    """Send ``message`` to a caller or provider, wherever it is."""
    if party.side is Side.CLIENT:
        return SendToClient(party.number, message)
    return Send(party.number, message, _MESSAGES)
