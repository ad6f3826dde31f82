"""Calls on their way: from a caller to one provider, and the result back.

A provider among the node's own clients comes first, else a peer that announced the method, each
in turn. A call from a peer is answered by a client of this node or not at all: it is never passed
on, so it cannot go round in circles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, Send, SendToClient
from maculaos.node.events import batches
from maculaos.rpc.methods import OWN_PREFIX
from maculaos.rpc.pending import Party, PendingCall, PendingCalls, Side
from maculaos.rpc.providers import Providers
from maculaos.wire.messages import RpcCall, RpcError, RpcRegister, RpcResult, RpcUnregister
from maculaos.wire.registry import RpcErrorCode, StreamClass
from maculaos.wire.values import MAX_VALUE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.links import Link, Links
    from maculaos.settings import LimitSettings

MAX_DEADLINE_MS: Final = 3_600_000
# What is passed on of an error in words.
MAX_DETAIL: Final = 1000
_TOO_LARGE: Final = f"a value has at most {MAX_VALUE_SIZE} bytes"
_MESSAGES: Final = StreamClass.MESSAGES
_CONTROL: Final = StreamClass.CONTROL


class Calls:
    """Methods of clients and of peers, the calls that wait, and what follows from them."""

    def __init__(self, me: NodeId, limits: LimitSettings, links: Links, counters: Counters) -> None:
        self._me = bytes(me)
        self._links = links
        self._counters = counters
        self.clients = Providers(limits.subscriptions)
        # No peer alone can take what the others need.
        self.peers = Providers(2 * limits.subscriptions, share=limits.subscriptions)
        self.pending = PendingCalls(limits.pending_calls)

    def call(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        """A client calls a method of an application."""
        self._counters.calls_out += 1
        origin = Party(Side.CLIENT, client)
        provider = self._local(message.method)
        if provider is None:
            link = self.peers.choose(message.method)
            provider = None if link is None else Party(Side.LINK, link)
        return self._hand_on(origin, message, provider, self._me, now)

    def receive(self, link: Link, message: RpcCall, now: float) -> list[Effect]:
        """A peer calls a method; who calls is what its certificate says."""
        self._counters.calls_in += 1
        origin = Party(Side.LINK, link.number)
        if message.method.startswith(OWN_PREFIX):
            detail = f"{message.method} is answered to the node's own clients only"
            return [self._refuse(origin, message.call, RpcErrorCode.INVALID_REQUEST, detail)]
        provider = self._local(message.method)
        return self._hand_on(origin, message, provider, bytes(link.peer.node_id), now)

    def answer(self, provider: Party, message: RpcResult | RpcError) -> list[Effect]:
        """A provider answers; an answer that nobody waits for is counted and dropped."""
        call = self.pending.answer(message.call, provider)
        if call is None:
            self._counters.results_late += 1
            return []
        if isinstance(message, RpcResult) and len(message.payload) > MAX_VALUE_SIZE:
            return [
                self._refuse(call.origin, call.origin_call, RpcErrorCode.HANDLER_FAILED, _TOO_LARGE)
            ]
        if isinstance(message, RpcResult):
            self._counters.calls_answered += 1
            return [_to(call.origin, RpcResult(call.origin_call, message.payload))]
        return [self._refuse(call.origin, call.origin_call, message.code, message.detail)]

    def register(self, client: int, methods: tuple[str, ...]) -> list[Effect]:
        """A client offers methods; peers hear of those that are new here. Raises as providers."""
        return self._announce(RpcRegister(self.clients.add(client, methods)))

    def unregister(self, client: int, methods: tuple[str, ...]) -> list[Effect]:
        """A client offers methods no more."""
        return self._announce(RpcUnregister(self.clients.remove(client, methods)))

    def client_down(self, client: int) -> list[Effect]:
        """A client is gone: its callers hear so, and peers call it no more."""
        orphaned = self._announce(RpcUnregister(self.clients.drop(client)))
        return [*orphaned, *self._lose(Party(Side.CLIENT, client))]

    def link_down(self, link: int) -> list[Effect]:
        """A peer is gone: whoever waits for it hears so."""
        self.peers.drop(link)
        return self._lose(Party(Side.LINK, link))

    def offers(self) -> Iterator[RpcRegister]:
        """What a new peer needs to know."""
        for batch in batches(self.clients.methods):
            yield RpcRegister(batch)

    def advance(self, now: float) -> list[Effect]:
        """Tell the callers whose deadline has passed."""
        expired = self.pending.expire(now)
        return [self._fail(each, RpcErrorCode.DEADLINE_EXCEEDED) for each in expired]

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
        return [Send(link, message, _CONTROL) for link in self._links.numbers]


def _to(party: Party, message: RpcCall | RpcResult | RpcError) -> Effect:
    """Send ``message`` to a caller or provider, wherever it is."""
    if party.side is Side.CLIENT:
        return SendToClient(party.number, message)
    return Send(party.number, message, _MESSAGES)
