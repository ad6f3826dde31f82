"""The blocking twin of the client, for scripts: the same names without ``async`` and ``await``.

.. code-block:: python

    from maculaos.client.blocking import connect

    with connect("/var/run/macula/n1.sock") as mesh:
        mesh.publish("room.temperature", 21.5)
        for event in mesh.subscribe("room.*"):
            print(event.topic, event.payload)

A thread of its own runs the asynchronous client, and every call here waits for it; any thread may
call. Handlers run in threads, so they may block, and may use the mesh. Each event costs a change
of threads: where thousands come in a second, use the asynchronous client.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from maculaos.client import connecting
from maculaos.client.failures import CallFailed, late
from maculaos.client.mesh import DEFAULT_QUEUE_SIZE, DEFAULT_TIMEOUT_S
from maculaos.client.provider import MAX_RUNNING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from maculaos.client import mesh as asynchronous
    from maculaos.client.failures import NodeUnreachable
    from maculaos.client.provider import Registration
    from maculaos.client.subscription import Event, Subscription
    from maculaos.wire.values import Value

T = TypeVar("T")
_H = TypeVar("_H", bound="Callable[[Any], Any]")
_END: Final = object()


class _Thread:
    """An event loop in a thread, for as long as it is open."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._is_running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="macula", daemon=True)
        self._thread.start()
        self._is_running.wait()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` comes to in the loop; interrupt to cancel it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def is_open(self) -> bool:
        """Whether there is a loop to wait in."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        # As many as handlers may run at once: one that waits keeps none of the others waiting.
        self._loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(MAX_RUNNING))
        self._is_running.set()
        await self._over.wait()


class _Closing(ABC):
    """What is closed at the end of a ``with``."""

    @abstractmethod
    def close(self) -> None:
        """End it; may be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Mesh(_Closing):
    """The mesh, for one thread or more; made by ``connect``. See ``maculaos.client.Mesh``."""

    def __init__(self, thread: _Thread, mesh: asynchronous.Mesh) -> None:
        self._thread = thread
        self._mesh = mesh

    @property
    def realm(self) -> str:
        """The realm of the node."""
        return self._mesh.realm

    @property
    def node_name(self) -> str:
        """The name of the node."""
        return self._mesh.node_name

    @property
    def node_id(self) -> str:
        """The id of the node, in hex."""
        return self._mesh.node_id

    @property
    def state(self) -> str:
        """See ``maculaos.client.Mesh.state``."""
        return self._mesh.state

    def publish(
        self, topic: str, value: Value, timeout_s: float = DEFAULT_TIMEOUT_S, **options: Any
    ) -> int:
        """See ``maculaos.client.Mesh.publish``; ``options`` are the same."""
        return self._thread.wait(self._mesh.publish(topic, value, timeout_s, **options))

    def publish_many(
        self, topic: str, values: list[Value], timeout_s: float = DEFAULT_TIMEOUT_S, **options: Any
    ) -> int:
        """See ``maculaos.client.Mesh.publish_many``; ``options`` are the same."""
        return self._thread.wait(self._mesh.publish_many(topic, values, timeout_s, **options))

    def publish_now(self, topic: str, value: Value, **options: Any) -> None:
        """See ``maculaos.client.Mesh.publish_now``; ``options`` are the same."""

        async def put() -> None:
            self._mesh.publish_now(topic, value, **options)

        self._thread.wait(put())

    def drain(self) -> None:
        """See ``maculaos.client.Mesh.drain``."""
        self._thread.wait(self._mesh.drain())

    def subscribe(
        self,
        *topics: str,
        group: str = "",
        queue_size: int = DEFAULT_QUEUE_SIZE,
        policy: str = "drop-oldest",
    ) -> BlockingSubscription:
        """See ``maculaos.client.Mesh.subscribe``; returns when the node knows of it."""

        async def begin() -> Subscription:
            made = self._mesh.subscribe(*topics, group=group, queue_size=queue_size, policy=policy)
            return await made.ready()

        return BlockingSubscription(self._thread, self._thread.wait(begin()))

    def trace(self, topic: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[dict[str, Any]]:
        """See ``maculaos.client.Mesh.trace``."""
        return self._thread.wait(self._mesh.trace(topic, timeout_s))

    def call(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> Value:
        """See ``maculaos.client.Mesh.call``."""
        return self._thread.wait(self._mesh.call(method, value, timeout_s, choice=choice))

    def cast(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> None:
        """See ``maculaos.client.Mesh.cast``."""
        self._thread.wait(self._mesh.cast(method, value, timeout_s, choice=choice))

    def stream(
        self,
        method: str,
        value: Value = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        choice: str = "nearest",
    ) -> Iterator[Value]:
        """See ``maculaos.client.Mesh.stream``."""
        parts = self._mesh.stream(method, value, timeout_s, choice=choice)

        async def following() -> Value | object:
            return await anext(parts, _END)

        try:
            while (part := self._thread.wait(following())) is not _END:
                yield part  # type: ignore[misc]  # whatever is not the end is a value
        finally:
            self._thread.wait(_closed(parts))

    def register(
        self, method: str, handler: Callable[[Any], Any], concurrency: int = MAX_RUNNING
    ) -> BlockingRegistration:
        """See ``maculaos.client.Mesh.register``; ``handler`` is a function, or a generator."""

        async def begin() -> Registration:
            return await self._mesh.register(method, _in_thread(handler), concurrency)

        return BlockingRegistration(self._thread, self._thread.wait(begin()))

    def rpc(self, method: str, concurrency: int = MAX_RUNNING) -> Callable[[_H], _H]:
        """A decorator: answer calls of ``method`` by the function below, as ``register`` does."""

        def decorate(handler: _H) -> _H:
            self.register(method, handler, concurrency)
            return handler

        return decorate

    def ping(self) -> Value:
        """An answer from the node itself."""
        return self._thread.wait(self._mesh.ping())

    def members(self) -> list[dict[str, Any]]:
        """Every member of the realm that the node knows, with its health."""
        return self._thread.wait(self._mesh.members())

    def stats(self) -> dict[str, Any]:
        """The counters of the node."""
        return self._thread.wait(self._mesh.stats())

    def version(self) -> dict[str, Any]:
        """The software of the node, and the version of its wire format."""
        return self._thread.wait(self._mesh.version())

    def topology(self) -> dict[str, Any]:
        """Who is linked with the node, and how."""
        return self._thread.wait(self._mesh.topology())

    def find(
        self,
        node: str | None = None,
        *,
        topic: str | None = None,
        method: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        """See ``maculaos.client.Mesh.find``."""
        looking = self._mesh.find(node, topic=topic, method=method, timeout_s=timeout_s)
        return self._thread.wait(looking)

    def join(self, address: str) -> Value:
        """See ``maculaos.client.Mesh.join``."""
        return self._thread.wait(self._mesh.join(address))

    def reload(self) -> dict[str, Any]:
        """See ``maculaos.client.Mesh.reload``."""
        return self._thread.wait(self._mesh.reload())

    def stop(self) -> None:
        """See ``maculaos.client.Mesh.stop``."""
        self._thread.wait(self._mesh.stop())

    def wait_lost(self) -> NodeUnreachable:
        """See ``maculaos.client.Mesh.wait_lost``."""
        return self._thread.wait(self._mesh.wait_lost())

    def close(self) -> None:
        """See ``maculaos.client.Mesh.close``; ends the thread, too."""
        if not self._thread.is_open:
            return
        try:
            self._thread.wait(self._mesh.close())
        finally:
            self._thread.close()


class BlockingSubscription(_Closing):
    """Events of some patterns: iterate over it, or ``get`` one; close it, or use ``with``."""

    def __init__(self, thread: _Thread, subscription: Subscription) -> None:
        self._thread = thread
        self._subscription = subscription

    @property
    def dropped(self) -> int:
        """Events that came while the queue was full."""
        return self._subscription.dropped

    def get(self, timeout_s: float) -> Event:
        """The next event; raises ``CallFailed`` (``DEADLINE_EXCEEDED``) if none comes in time."""

        async def following() -> Event:
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._following()
            except TimeoutError:
                raise late(timeout_s) from None

        return self._thread.wait(following())

    def close(self) -> None:
        """Want no more events."""

        async def close() -> None:
            self._subscription.close()

        self._thread.wait(close())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return self._thread.wait(self._following())
        except CallFailed as error:
            if error.code == _CLOSED:
                raise StopIteration from None
            raise

    async def _following(self) -> Event:
        try:
            return await anext(self._subscription)
        except StopAsyncIteration:
            # No coroutine that another thread waits for can end with that.
            raise CallFailed(_CLOSED, "the subscription is closed") from None


_CLOSED: Final = "CLOSED"


class BlockingRegistration(_Closing):
    """One method that this program answers, until ``close``; or use ``with``."""

    def __init__(self, thread: _Thread, registration: Registration) -> None:
        self._thread = thread
        self._registration = registration

    def close(self) -> None:
        """Answer this method no more."""

        async def close() -> None:
            self._registration.close()

        self._thread.wait(close())


def connect(socket_path: Path | str | None = None, **options: Any) -> Mesh:
    """Connect to a node, as ``maculaos.client.connect`` does; ``options`` are the same."""
    connection = connecting.connect(socket_path, **options)

    async def begin() -> asynchronous.Mesh:
        return await connection

    thread = _Thread()
    try:
        return Mesh(thread, thread.wait(begin()))
    except BaseException:
        thread.close()
        raise


def _in_thread(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``handler`` as the asynchronous client takes one: each call of it in a thread."""
    if not inspect.isgeneratorfunction(handler):

        async def answer(value: Value) -> Any:
            return await asyncio.to_thread(handler, value)

        return answer

    async def answers(value: Value) -> AsyncIterator[Any]:
        parts = handler(value)
        while (part := await asyncio.to_thread(next, parts, _END)) is not _END:
            yield part

    return answers


async def _closed(parts: Any) -> None:
    await parts.aclose()
