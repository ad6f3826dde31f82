"""The mesh as a program sees it: a line to one node, and what can be asked through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from maculaos.client.calls import Calls
from maculaos.client.failures import NodeUnreachable
from maculaos.client.line import Line
from maculaos.client.provider import MAX_RUNNING, Handler, Provider, Registration
from maculaos.client.publisher import Options, Publisher
from maculaos.client.requests import Requests
from maculaos.client.subscription import MAX_QUEUE, POLICIES, Event, Subscription, check_callback
from maculaos.client.watching import Terms, Watching
from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.pubsub.patterns import check_group, check_pattern
from maculaos.pubsub.topics import InvalidTopic, check_topic
from maculaos.rpc.methods import InvalidMethod, check_method
from maculaos.wire import messages as wire
from maculaos.wire.events import Delivery
from maculaos.wire.values import Value, encode_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from maculaos.client.transport import Opener

DEFAULT_TIMEOUT_S: Final = 5.0
DEFAULT_QUEUE_SIZE: Final = 10_000
MAX_TIMEOUT_S: Final = 3600.0
# How long what was published may take to leave when the program ends.
_LAST_WORDS_S: Final = 1.0
# Topics that were found to be some, so that the same one is not looked at again and again.
_KNOWN_TOPICS: Final = 10_000
_H = TypeVar("_H", bound="Handler")


class Mesh:
    """A program's node, and through it the mesh; made by ``connect``. It belongs to one loop.

    When the node goes, the mesh looks for it, unless ``connect`` was told not to. Subscriptions
    and registrations come back with it; publications that are to be acknowledged are sent again;
    calls that were under way fail with ``NodeUnreachable``.
    """

    def __init__(self, opener: Opener, where: str, *, reconnect: bool) -> None:
        self.realm = ""
        self.node_id = ""
        self.node_name = ""
        self._line = Line(opener, self, where, reconnect=reconnect)
        self._requests = Requests()
        self._publisher = Publisher(self._line, self._requests)
        self._watching = Watching(self._line, self._requests)
        self._calls = Calls(self._line, self._requests)
        self._provider = Provider(self._line, self._requests)
        self._topics: dict[str, None] = {}
        provider, requests = self._provider, self._requests
        self._hear: dict[type[wire.Message], Callable[[Any], object]] = {
            Delivery: self._watching.take,
            wire.RpcResult: requests.take_result,
            wire.RpcError: self._take_error,
            wire.RpcCall: provider.take,
            wire.RpcCancel: lambda cancel: provider.cancel(cancel.call),
            wire.RpcCredit: lambda grant: provider.grant(grant.call, grant.credit),
        }

    async def begin(self, patience_s: float) -> None:
        """Reach the node for the first time; ``connect`` does. Raises ``NodeUnreachable``."""
        await self._line.begin(patience_s)

    @property
    def state(self) -> str:
        """``connected``, ``reconnecting``, ``lost`` (for good) or ``closed``."""
        return self._line.state.value

    def on_state(self, watcher: Callable[[str], None]) -> None:
        """Call ``watcher`` with every new ``state``, from the event loop."""
        self._line.tell(lambda state: watcher(state.value))

    # Events.

    async def publish(  # noqa: PLR0913  # each is a word of its own to whoever publishes
        self,
        topic: str,
        value: Value,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        acknowledge: bool = False,
        retain_s: float = 0.0,
        priority: str = "normal",
        ttl_s: float | None = None,
    ) -> int:
        """Give ``value`` to everyone who subscribes to ``topic`` anywhere in the realm.

        Returns when the node has taken it; who receives it is then not known (at most once).
        With ``acknowledge`` it returns when every subscriber's program has taken it (at least
        once), and says how many nodes confirmed that; whoever confirms nothing in time makes it
        fail with ``NOT_DELIVERED``. ``retain_s`` keeps the value so long for who subscribes later,
        until the next one that is retained takes its place; ``None`` as a value ends that.
        ``priority`` is ``urgent``, ``high``, ``normal`` or ``low``; after ``ttl_s`` seconds the
        value is worthless, and is not delivered.

        Raises ``UsageError`` for what cannot be sent, ``CallFailed``, ``NodeUnreachable``.

        >>> await mesh.publish("room.temperature", {"celsius": 21.5}, acknowledge=True)
        0
        """
        if topic not in self._topics:
            self._check_topic(topic)
        _checked_time(timeout_s)
        payload, publisher = encode_value(value), self._publisher
        if publisher.is_crowded:
            await publisher.wait_for_room(timeout_s, len(payload))
        options = (topic, priority, ttl_s, retain_s, acknowledge, timeout_s, False)
        return _confirmed(await publisher.ask(options, payload))

    async def publish_many(  # as ``publish``
        self,
        topic: str,
        values: list[Value],
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        acknowledge: bool = False,
        priority: str = "normal",
        ttl_s: float | None = None,
    ) -> int:
        """Publish ``values`` one after the other, as ``publish`` does, and wait once for all.

        Returns the smallest number of nodes that confirmed any part of them. Raises as
        ``publish``: then any of them may have been delivered.

        >>> await mesh.publish_many("log.lines", ["one", "two", "three"])
        0
        """
        self._check_topic(topic)
        options = (topic, priority, ttl_s, 0.0, acknowledge, _checked_time(timeout_s), False)
        publisher, waiters = self._publisher, []
        last: object = None
        for payload in [encode_value(value) for value in values]:
            if publisher.is_crowded:
                await publisher.wait_for_room(timeout_s, len(payload))
            run = publisher.put(options, payload)
            if run is not last:
                waiters.append(run.waiter())
            last = run
        return min(map(_confirmed, await asyncio.gather(*waiters)), default=0)

    def publish_now(
        self,
        topic: str,
        value: Value,
        *,
        priority: str = "normal",
        ttl_s: float | None = None,
        retain_s: float = 0.0,
    ) -> None:
        """Publish at most once, and wait for nothing: the quickest way.

        Values of one turn of the loop that go to one topic travel together. ``await drain()`` now
        and then; if far more waits than the node takes, this raises ``CallFailed``
        (``OVERLOADED``), and the value is not sent.

        >>> for number in range(1000):
        ...     mesh.publish_now("sensor.7", number, ttl_s=2.0)
        >>> await mesh.drain()
        """
        if topic not in self._topics:
            self._check_topic(topic)
        self._publisher.put(
            (topic, priority, ttl_s, retain_s, False, 0.0, False), encode_value(value)
        )

    async def drain(self) -> None:
        """Wait until the node has taken what was published; raises ``NodeUnreachable``."""
        await self._publisher.drain()

    def subscribe(  # each is a word of its own to whoever subscribes
        self,
        *topics: str,
        group: str = "",
        queue_size: int = DEFAULT_QUEUE_SIZE,
        policy: str = "drop-oldest",
        callback: Callable[[Event], object] | None = None,
    ) -> Subscription:
        """Events of these topics from now on; ``await`` its ``ready()`` to know that it holds.

        In a pattern ``*`` stands for one segment, and a last ``**`` for the rest. Of subscribers
        with the same ``group``, each event goes to one. Iterate over the result, or give a
        ``callback``, a plain function that is called with each event.

        At most ``queue_size`` events wait for the program, and as many in the node; with
        ``block``, so many in both together. What gives way then is the ``policy``:
        ``drop-oldest``, ``drop-newest`` (both counted in ``dropped``), ``block`` (publishers of
        acknowledged events wait) or ``disconnect`` (the subscription ends with an error).

        >>> async with mesh.subscribe("door.*") as events:
        ...     await mesh.publish("door.front", "open")
        ...     event = await anext(events)
        0
        >>> event.topic, event.payload
        ('door.front', 'open')
        """
        if not topics:
            raise UsageError("a subscription needs a topic", "name at least one")
        if policy not in POLICIES:
            raise UsageError(f"{policy!r} is no policy", f"choose one of {', '.join(POLICIES)}")
        if not 1 <= queue_size <= MAX_QUEUE:
            raise UsageError(f"queue_size is {queue_size}", f"choose 1 to {MAX_QUEUE}")
        check_callback(callback)
        wanted = tuple(dict.fromkeys(_checked(check_pattern, topic) for topic in topics))
        terms = Terms(queue_size, POLICIES[policy], _checked(check_group, group))
        made = Subscription(self._watching, wanted, queue_size, terms.policy, callback)
        if self._line.is_over:
            raise self._line.gone()
        self._watching.add(made, terms)
        return made

    async def trace(self, topic: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[dict[str, Any]]:
        """The way that an event of ``topic`` takes to every node with subscribers of it now.

        For each: ``node``, and the ``hops`` to it, each with ``node`` and ``at_us``, microseconds
        since the epoch by the clock of that node. Nothing is delivered.

        >>> await mesh.trace("room.temperature")
        []
        """
        self._check_topic(topic)
        options = Options(topic, timeout_s=_checked_time(timeout_s), is_trace=True)
        return _listed("a trace", await self._publisher.ask(options, encode_value(None)))

    # Calls.

    async def call(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> Value:
        """The result of ``method`` from a program that registered it, anywhere in the realm.

        Of several that did, ``choice`` takes one: ``nearest``, ``round-robin``, ``random`` or
        ``least-pending``. Cancel the task to cancel the call. Raises ``CallFailed``
        (``NO_PROVIDER``, ``DEADLINE_EXCEEDED``, ``HANDLER_FAILED``, ``OVERLOADED``, ...),
        ``UsageError`` for a value that cannot be sent, ``NodeUnreachable``.

        >>> await mesh.call("kettle.boil")
        Traceback (most recent call last):
        maculaos.client.failures.CallFailed: NO_PROVIDER: nobody answers kettle.boil
        """
        return await self._calls.call(method, value, timeout_s, choice)

    def stream(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> AsyncIterator[Value]:
        """The results of ``method``, one after the other, as its handler yields them.

        ``timeout_s`` is for all of them together. A handler goes on no faster than its results are
        taken; leave the loop to cancel it. Raises as ``call``.

        >>> @mesh.rpc("count")
        ... async def count(limit):
        ...     for number in range(limit):
        ...         yield number
        >>> [part async for part in mesh.stream("count", 3)]
        [0, 1, 2]
        """
        return self._calls.stream(method, value, timeout_s, choice)

    async def cast(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> None:
        """Call ``method`` and want to know nothing of it, not even whether anybody answers it."""
        await self._calls.cast(method, value, timeout_s, choice)

    def register(
        self, method: str, handler: Handler, concurrency: int = MAX_RUNNING
    ) -> Registration:
        """Answer calls of ``method``: ``await`` this, or use it in ``async with``.

        ``handler`` takes the value and returns the result; it may be a coroutine function, and
        must be one if it waits for anything. As an asynchronous generator it answers with a
        stream. At most ``concurrency`` calls run at once; more are refused as ``OVERLOADED``. What
        it raises, the caller gets as ``HANDLER_FAILED``. ``caller()`` tells it who calls, and
        ``remaining()`` how long the result is waited for.

        Raises ``CallFailed`` if the node refuses the method (``INVALID_REQUEST``: it has as many
        as it may) or does not answer, ``NodeUnreachable``; then the method is not answered. One
        that a node refuses later, when it came back, is told to the exception handler of the event
        loop, and asked for again whenever the node comes back.

        >>> async with mesh.register("double", lambda number: number * 2):
        ...     print(await mesh.call("double", 21))
        42
        """
        self._check_method(method, concurrency)

        async def begin() -> None:
            # Messages keep their order, so an answered ping means: the node knows the method, or
            # has refused it.
            await self._provider.register(method, handler, concurrency, self.ping)

        return Registration(method, begin, lambda: self._provider.remove(method))

    def rpc(self, method: str, concurrency: int = MAX_RUNNING) -> Callable[[_H], _H]:
        """A decorator: answer calls of ``method`` by the function below, as ``register`` does.

        It waits for nothing: that the node refuses the method, the exception handler of the event
        loop is told.
        """
        self._check_method(method, concurrency)

        def decorate(handler: _H) -> _H:
            self._provider.add(method, handler, concurrency)
            return handler

        return decorate

    # The node.

    async def ping(self) -> Value:
        """An answer from the node itself."""
        return await self.call("macula.ping")

    async def version(self) -> dict[str, Any]:
        """The software of the node, and the version of its wire format."""
        return await self._facts("macula.version")

    async def members(self) -> list[dict[str, Any]]:
        """Every member of the realm that the node knows, with its health."""
        return _listed("macula.members", await self.call("macula.members"))

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
        return await self._line.wait_lost()

    async def close(self) -> None:
        """End the connection; subscriptions end, calls under way are given up.

        A node that is there is given what ``publish_now`` left, for as long as a second. One that
        is cancelled ends the connection all the same.
        """
        try:
            if self._line.is_connected:
                with suppress(TimeoutError, NodeUnreachable):
                    async with asyncio.timeout(_LAST_WORDS_S):
                        await self._publisher.drain()
            self._watching.close()
            await self._provider.close()
        finally:
            await self._line.close()

    # What the line tells, see ``maculaos.client.line.User``.

    def take(self, message: wire.Message) -> None:
        """See ``User.take``; what this client does not know is ignored."""
        hear = self._hear.get(type(message))
        if hear is not None:
            hear(message)

    def room(self) -> None:
        """See ``User.room``."""
        self._publisher.flush()

    def up(self, ack: wire.HandshakeAck) -> None:
        """See ``User.up``: subscribe and register first, so that nothing is missed."""
        self.realm, self.node_id, self.node_name = ack.realm, ack.node_id.hex(), ack.name
        self._watching.up()
        self._provider.up()
        self._publisher.up()

    def down(self, why: NodeUnreachable) -> None:
        """See ``User.down``."""
        del why  # each who waits gets an error of its own
        is_over = self._line.is_over
        keeps = (lambda _waiting: False) if is_over else Publisher.keeps
        self._requests.fail(self._line.gone, keeps)
        self._provider.cancel_all()
        if is_over:
            self._publisher.over()
            self._watching.over(self._line.gone)
            self._requests.close()

    def _take_error(self, error: wire.RpcError) -> None:
        if not self._requests.take_error(error) and not self._provider.take_error(error):
            self._watching.take_error(error)

    async def _facts(
        self, method: str, value: Value = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        answer = await self.call(method, value, timeout_s)
        if not isinstance(answer, dict):
            raise RemoteProtocolError(f"{method}: the node answered something else than a mapping")
        return answer

    def _check_topic(self, topic: str) -> None:
        if topic not in self._topics:
            _checked(check_topic, topic)
            if len(self._topics) >= _KNOWN_TOPICS:
                self._topics.clear()
            self._topics[topic] = None

    @staticmethod
    def _check_method(method: str, concurrency: int) -> None:
        _checked(check_method, method)
        if concurrency < 1:
            raise UsageError(f"concurrency is {concurrency}", "allow at least one call")


def _checked(check: Callable[[str], str], text: str) -> str:
    """Raise for a wrong name here, where the traceback shows who wrote it."""
    try:
        return check(text)
    except (InvalidTopic, InvalidMethod) as error:
        raise UsageError(str(error)) from error


def _checked_time(timeout_s: float) -> float:
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(f"timeout_s is {timeout_s:g}", f"choose up to {MAX_TIMEOUT_S:g}")
    return timeout_s


def _confirmed(said: Any) -> int:
    """How many nodes confirmed a publication, from what the node says of it."""
    if isinstance(said, list) and len(said) > 1 and isinstance(said[1], int):
        return said[1]
    return 0


def _listed(what: str, answer: Value) -> list[dict[str, Any]]:
    if isinstance(answer, list) and all(isinstance(item, dict) for item in answer):
        return [item for item in answer if isinstance(item, dict)]
    raise RemoteProtocolError(f"{what}: the node answered something else than a list")
