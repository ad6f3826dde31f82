"""The mesh as a program sees it: one connection to one node, and what can be asked through it."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from maculaos import __version__
from maculaos.client.connection import Connection, NodeUnreachable
from maculaos.client.provider import Handler, Provider, Registration
from maculaos.client.subscription import Event, Subscription
from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.pubsub.topics import InvalidTopic, check_topic
from maculaos.rpc.methods import InvalidMethod, check_method
from maculaos.wire import messages as wire
from maculaos.wire.values import Value, decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from types import TracebackType

SOCKET_VARIABLE: Final = "MACULA_SOCKET"
DEFAULT_TIMEOUT_S: Final = 5.0
DEFAULT_QUEUE_SIZE: Final = 10_000
# The node answers a call that is too late itself; only a node that hangs is waited for this long.
_GRACE_S: Final = 1.0
# Between two tries to reach a node that is not up yet.
_RETRY_S: Final = 0.05


class Mesh:
    """A node's connection to this program; made by ``connect``."""

    def __init__(self, connection: Connection, ack: wire.HandshakeAck) -> None:
        self.realm = ack.realm
        self.node_id = ack.node_id.hex()
        self.node_name = ack.name
        # Events whose payload was neither bytes nor JSON-like.
        self.events_refused = 0
        self._connection = connection
        self._provider = Provider(connection)
        self._subscriptions: dict[str, list[Subscription]] = {}
        connection.on_message = self._take
        connection.on_lost = self._lose
        connection.listen()

    async def publish(self, topic: str, value: Value, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Give ``value`` to everyone who subscribes to ``topic`` anywhere in the realm.

        Returns when the node has taken it; who receives it is not known (at most once).
        Raises ``UsageError`` for a value that cannot be sent, ``CallFailed``,
        ``NodeUnreachable``.
        """
        _checked(check_topic, topic)
        payload = encode_value(value)
        await self._connection.request(lambda n: wire.Publish(n, topic, payload), timeout_s)

    def subscribe(self, *topics: str, queue_size: int = DEFAULT_QUEUE_SIZE) -> Subscription:
        """Events of exactly these topics from now on.

        At most ``queue_size`` events wait; beyond, the oldest goes and ``dropped`` counts it.
        """
        if not topics:
            raise UsageError("a subscription needs a topic", "name at least one")
        wanted = tuple(dict.fromkeys(_checked(check_topic, topic) for topic in topics))
        subscription = Subscription(wanted, queue_size, self._unsubscribe)
        new = tuple(topic for topic in wanted if topic not in self._subscriptions)
        for topic in wanted:
            self._subscriptions.setdefault(topic, []).append(subscription)
        if new:
            self._connection.send_now(wire.Subscribe(new))
        return subscription

    async def call(
        self, method: str, value: Value = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Value:
        """The result of ``method`` from a program that registered it, anywhere in the realm.

        Raises ``CallFailed`` (``NO_PROVIDER``, ``DEADLINE_EXCEEDED``, ``HANDLER_FAILED``, ...),
        ``UsageError`` for a value that cannot be sent, ``NodeUnreachable``.
        """
        payload = encode_value(value)
        deadline_ms = max(1, round(timeout_s * 1000))
        answer = await self._connection.request(
            lambda n: wire.RpcCall(n, method, deadline_ms, b"", payload), timeout_s + _GRACE_S
        )
        return decode_value(answer)

    def register(self, method: str, handler: Handler) -> Registration:
        """Answer calls of ``method``: ``await`` this, or use it in ``async with``.

        ``handler`` takes the value and returns the result; it may be a coroutine function, and
        must be one if it waits for anything. What it raises, the caller gets as
        ``HANDLER_FAILED``. ``caller()`` tells it who calls.
        """

        _checked(check_method, method)

        async def begin() -> None:
            self._provider.add(method, handler)
            # Messages keep their order, so an answered ping means: the node knows the method.
            await self.ping()

        return Registration(method, begin, lambda: self._provider.remove(method))

    async def ping(self) -> Value:
        """An answer from the node itself."""
        return await self.call("macula.ping")

    async def version(self) -> dict[str, Any]:
        """Name, realm, id and software of the node."""
        return await self._facts("macula.version")

    async def members(self) -> list[dict[str, Any]]:
        """Every member of the realm that the node knows, with its health."""
        answer = await self.call("macula.members")
        return _listed("macula.members", answer)

    async def topology(self) -> dict[str, Any]:
        """Who is linked with the node, and how."""
        return await self._facts("macula.topology")

    async def find(
        self,
        node: str | None = None,
        *,
        topic: str | None = None,
        method: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Look up one thing in the distributed table: ``nodes`` that were found, and what it took.

        ``node`` is a name or a node id in hex, and finds the members closest to it, itself first;
        ``topic`` finds who subscribes to it, ``method`` who answers it. Raises ``UsageError``
        unless exactly one is given, ``CallFailed`` for a node that nobody knows.
        """
        asked = {"node": node, "topic": topic, "method": method}
        wish: dict[str, Value] = {key: each for key, each in asked.items() if each is not None}
        if len(wish) != 1:
            raise UsageError("find takes a node, a topic or a method", "give exactly one of them")
        return await self._facts("macula.find", wish, timeout_s)

    async def stats(self) -> dict[str, Any]:
        """The counters of the node."""
        return await self._facts("macula.stats")

    async def join(self, address: str) -> Value:
        """Let the node dial ``address`` (``host:port``) and join the mesh there."""
        return await self.call("macula.join", {"address": address})

    async def reload(self) -> dict[str, Any]:
        """Let the node read its configuration again; raises ``CallFailed`` if it refuses."""
        return await self._facts("macula.reload")

    async def stop(self) -> None:
        """Let the node leave the mesh and stop."""
        await self.call("macula.stop")

    async def wait_lost(self) -> NodeUnreachable:
        """Wait until the node is gone; return why, as what waits elsewhere raises it."""
        return await self._connection.wait_lost()

    async def close(self) -> None:
        """End the connection; subscriptions end, calls under way are given up."""
        every = [one for many in self._subscriptions.values() for one in many]
        for subscription in every:
            subscription.close()
        await self._provider.close()
        await self._connection.close()

    async def _facts(
        self, method: str, value: Value = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        answer = await self.call(method, value, timeout_s)
        if not isinstance(answer, dict):
            raise RemoteProtocolError(f"{method}: the node answered something else than a mapping")
        return answer

    def _take(self, message: wire.Message) -> None:
        if isinstance(message, wire.Event):
            self._hear(message)
        elif isinstance(message, wire.RpcCall):
            self._provider.take(message)

    def _hear(self, message: wire.Event) -> None:
        try:
            payload = decode_value(message.payload)
        except RemoteProtocolError:
            # A publisher somewhere sent what is no value. Its fault is not the node's.
            self.events_refused += 1
            return
        heard = Event(message.topic, message.publisher.hex(), payload)
        for subscription in self._subscriptions.get(message.topic, ()):
            subscription.put(heard)

    def _lose(self, why: NodeUnreachable) -> None:
        for many in self._subscriptions.values():
            for subscription in many:
                subscription.fail(why)

    def _unsubscribe(self, subscription: Subscription) -> None:
        unwanted: list[str] = []
        for topic in subscription.topics:
            self._subscriptions[topic].remove(subscription)
            if not self._subscriptions[topic]:
                del self._subscriptions[topic]
                unwanted.append(topic)
        if unwanted:
            with suppress(NodeUnreachable):
                self._connection.send_now(wire.Unsubscribe(tuple(unwanted)))


class _Connecting:
    """What ``connect`` returns: can be awaited, or used in ``async with``."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._mesh: Mesh | None = None

    def __await__(self) -> Generator[Any, None, Mesh]:
        mesh: Mesh = yield from self._begin().__await__()
        return mesh

    async def __aenter__(self) -> Mesh:
        self._mesh = await self
        return self._mesh

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._mesh is not None:
            await self._mesh.close()


def connect(
    socket_path: Path | str | None = None, *, name: str = "", patience_s: float = 0.0
) -> _Connecting:
    """Connect to the node whose control socket is ``socket_path`` (else: ``MACULA_SOCKET``).

    ``name`` tells the node's log who this is; for ``patience_s`` seconds, a node that does not
    answer yet is tried again. Await the result, or use it in ``async with``;
    that raises ``NodeUnreachable`` if no node answers, ``UsageError`` if no socket is named.
    """
    path = socket_path or os.environ.get(SOCKET_VARIABLE)
    if not path:
        raise UsageError("no node is named", f"give its socket, or set {SOCKET_VARIABLE}")

    async def begin() -> Mesh:
        software = f"maculaos/{__version__}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while True:
            try:
                connection, ack = await Connection.open(path, name or "program", software)
            except NodeUnreachable:
                if loop.time() + _RETRY_S > deadline:
                    raise
                await asyncio.sleep(_RETRY_S)
            else:
                return Mesh(connection, ack)

    return _Connecting(begin)


def _checked(check: Callable[[str], str], text: str) -> str:
    """Raise for a wrong name here, where the traceback shows who wrote it."""
    try:
        return check(text)
    except (InvalidTopic, InvalidMethod) as error:
        raise UsageError(str(error)) from error


def _listed(method: str, answer: Value) -> list[dict[str, Any]]:
    if isinstance(answer, list) and all(isinstance(item, dict) for item in answer):
        return [item for item in answer if isinstance(item, dict)]
    raise RemoteProtocolError(f"{method}: the node answered something else than a list")
