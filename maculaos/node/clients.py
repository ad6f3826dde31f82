"""The clients of this node: what they ask, and what the node answers itself.

A client is trusted to be the operator or an application of this machine, not to be free of
mistakes: a request that makes no sense is refused, and the client stays. A message that clients
never send ends its connection.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.discovery.static import TooManyPeers
from maculaos.effects import CloseClient, Effect, SendToClient
from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.kademlia.requests import LookupDone, ValueFound
from maculaos.node import answers
from maculaos.node.entries import node_id_from_wire
from maculaos.node.posts import refusal
from maculaos.node.telling import MAX_DETAIL
from maculaos.rpc.methods import OWN_PREFIX, InvalidMethod
from maculaos.rpc.parties import of_client
from maculaos.rpc.providers import TooManyMethods
from maculaos.wire.events import Post, Taken, Unwatch, Watch
from maculaos.wire.messages import (
    Error,
    Message,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode
from maculaos.wire.values import Value, decode_value, encode_value

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.kademlia.requests import Result
    from maculaos.node.cores import Cores
    from maculaos.swim.rumour import Rumour


class InvalidRequest(RemoteProtocolError):
    """A client asks the node for something that it does not answer."""


class Clients:
    """At most ``limit`` clients; ``started_at`` and ``now`` are monotonic seconds."""

    def __init__(self, cores: Cores, limit: int, software: str, started_at: float) -> None:
        self._cores = cores
        self._limit = limit
        self._started_at = started_at
        self._clients: dict[int, None] = {}
        # Searches that clients wait for: who, and under which number.
        self._searches: dict[int, tuple[int, int]] = {}
        self._answers = {
            "macula.ping": lambda: answers.ping(cores.membership.me),
            "macula.version": lambda: answers.version(software),
            "macula.members": lambda: answers.members(cores.membership, cores.links),
            "macula.topology": lambda: answers.topology(
                cores.membership, cores.links, cores.neighbourhood.rings
            ),
        }

    def __len__(self) -> int:
        return len(self._clients)

    def up(self, client: int) -> list[Effect]:
        """A client connected."""
        if len(self._clients) >= self._limit:
            return [CloseClient(client, ErrorCode.LIMIT_EXCEEDED, f"{self._limit} clients already")]
        self._clients[client] = None
        return []

    def down(self, client: int, now: float) -> list[Effect]:
        """A client is gone, with its subscriptions, methods and calls."""
        if self._clients.pop(client, self) is self:
            return []
        lost = self._cores.calls.client_down(client, now)
        return [*self._cores.messaging.client_down(client, now), *lost]

    def found(self, result: Result) -> list[Effect]:
        """A search in the distributed table ended: whoever asked for it hears what was found."""
        if not isinstance(result, LookupDone | ValueFound):
            return []
        client, call = self._searches.pop(result.number, (0, 0))
        if client not in self._clients:
            return []
        answer = answers.found(result, self._cores.membership)
        return [SendToClient(client, RpcResult(call, encode_value(answer)))]

    def close_all(self) -> list[Effect]:
        """The node goes away."""
        closed = [CloseClient(each, ErrorCode.SHUTTING_DOWN, "leaving") for each in self._clients]
        self._clients.clear()
        return list(closed)

    def receive(self, client: int, message: Message, now: float) -> list[Effect]:
        """A client says something."""
        if client not in self._clients:
            self._cores.counters.messages_ignored += 1
            return []
        match message:
            case Post() | Watch() | Unwatch() | Taken():
                return self._hear_of_events(client, message, now)
            case RpcResult() | RpcError() | RpcCancel() | RpcCredit():
                return self._cores.calls.hear(of_client(client), message, now)
            case RpcCall():
                return self._call(client, message, now)
            case RpcRegister() | RpcUnregister():
                return self._change_offers(client, message)
            case _:
                detail = f"clients do not send {type(message).__name__}"
                closed = CloseClient(client, ErrorCode.MALFORMED, detail)
                return [*self.down(client, now), closed]

    def _hear_of_events(
        self, client: int, message: Post | Watch | Unwatch | Taken, now: float
    ) -> list[Effect]:
        messaging = self._cores.messaging
        match message:
            case Post():
                return messaging.post(client, message, now)
            case Taken():
                return messaging.taken(client, message, now)
            case Watch():
                return messaging.watch(client, message, now)
            case Unwatch():
                return messaging.unwatch(client, message, now)

    def _change_offers(self, client: int, message: RpcRegister | RpcUnregister) -> list[Effect]:
        offers = self._cores.calls.offers
        if isinstance(message, RpcUnregister):
            return offers.unregister(client, message.methods)
        request = message.request
        try:
            effects = offers.register(client, message.methods, message.concurrency)
        except (InvalidMethod, TooManyMethods) as error:
            detail = str(error)[:MAX_DETAIL]
            if not request:
                # Without a number nothing else says that it failed.
                return [SendToClient(client, Error(ErrorCode.MALFORMED, detail))]
            return refusal(client, request, RpcErrorCode.INVALID_REQUEST, detail)
        taken = [SendToClient(client, RpcResult(request, encode_value(None)))] if request else []
        return [*taken, *effects]

    def _call(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        if not message.method.startswith(OWN_PREFIX):
            return self._cores.calls.call(client, message, now)
        if message.method == "macula.find":
            return self._find(client, message, now)
        try:
            answer, effects = self._answer(message, now)
            result = RpcResult(message.call, encode_value(answer))
        except (RemoteProtocolError, TooManyPeers, UsageError) as error:
            detail = str(error)[:MAX_DETAIL]
            invalid = RpcError(message.call, RpcErrorCode.INVALID_REQUEST, detail)
            return [SendToClient(client, invalid)]
        return [SendToClient(client, result), *effects]

    def _find(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        """Search the distributed table; ``found`` answers."""
        try:
            number = self._search(decode_value(message.payload), now)
        except RemoteProtocolError as error:
            detail = str(error)[:MAX_DETAIL]
            invalid = RpcError(message.call, RpcErrorCode.INVALID_REQUEST, detail)
            return [SendToClient(client, invalid)]
        self._searches[number] = (client, message.call)
        return []

    def _search(self, wish: Value, now: float) -> int:
        """Begin the search that a client wishes; raises ``InvalidRequest``."""
        directory = self._cores.directory
        match wish:
            case {"node": str(name)}:
                return directory.find_node(self._node_id_of(name), now)
            case {"topic": str(topic)}:
                return directory.find_topic(topic, now)
            case {"method": str(method)}:
                return directory.find_method(method, now)
        raise InvalidRequest('macula.find takes one of "node", "topic" and "method", and its name')

    def _node_id_of(self, name: str) -> NodeId:
        """The node id of a name, or one written in hex."""
        everyone: list[Rumour] = [self._cores.membership.me, *self._cores.membership.members]
        for member in everyone:
            if name in (member.name, member.node_id.hex()):
                return member.node_id
        try:
            written = bytes.fromhex(name)
        except ValueError as error:
            raise InvalidRequest(f"no member is called {name}, and it is no node id") from error
        return node_id_from_wire(written)

    def _answer(self, message: RpcCall, now: float) -> tuple[Value, list[Effect]]:
        """What the node answers, and what it does; raises ``InvalidRequest``."""
        if message.method == "macula.join":
            return self._join(decode_value(message.payload), now)
        if message.method == "macula.stats":
            return self._stats(now), []
        answer = self._answers.get(message.method)
        if answer is None:
            raise InvalidRequest(f"the node answers no {message.method}")
        return answer(), []

    def _join(self, wish: Value, now: float) -> tuple[Value, list[Effect]]:
        text = wish.get("address") if isinstance(wish, dict) else None
        if not isinstance(text, str):
            raise InvalidRequest('macula.join takes {"address": "host:port"}')
        try:
            address = str(parse_address(text))
        except InvalidAddress as error:
            raise InvalidRequest(str(error)) from error
        self._cores.dialler.join(address, now)
        return {"address": address}, self._cores.dialler.dial_due(now, len(self._cores.links))

    def _stats(self, now: float) -> Value:
        cores = self._cores
        return {
            "uptime_s": round(now - self._started_at, 3),
            "members": answers.members_by_health(cores.membership),
            "links": len(cores.links),
            "clients": len(self._clients),
            "subscriptions": len(cores.messaging.deliveries),
            "events_waiting": cores.messaging.deliveries.waiting,
            "runs_unconfirmed": len(cores.messaging.confirmations),
            "interest": len(cores.messaging.interest.realm),
            "methods": len(cores.calls.offers.clients),
            "pending_calls": cores.calls.waiting,
            "queues": answers.queues(self._clients, cores.messaging.deliveries),
            "table": asdict(cores.directory.kademlia.gauges()),
            "counters": answers.counted(cores.counters),
        }
