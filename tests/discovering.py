"""What tests of discovery share: surroundings of a method, and who listens to what it says."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maculaos.discovery.method import Surroundings
from maculaos.discovery.settings import DiscoverySettings
from maculaos.host.clock import Clock, FakeClock, SystemClock
from maculaos.host.logbook import Logbook
from maculaos.identity import Identity, NodeId
from maculaos.settings import CredentialSettings, ListenSettings, NodeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from maculaos.discovery.candidates import Hint
    from maculaos.discovery.method import DiscoveryMethod, Records

NOWHERE = Path("/nonexistent")
DEADLINE_S = 20.0


def identity(name: str, realm: str = "home") -> Identity:
    """The identity of a node of that name."""
    return Identity(realm, NodeId(hashlib.sha256(f"{realm}/{name}".encode()).digest()), name)


def surroundings(
    name: str = "n1",
    *,
    realm: str = "home",
    port: int = 4701,
    listening: str = "127.0.0.1",
    folder: Path = NOWHERE,
    clock: Clock | None = None,
    records: Records | None = None,
    **discovery: Any,
) -> Surroundings:
    """What a method of the node ``name`` has around it; ``discovery`` are its settings."""
    settings = NodeSettings(
        version=1,
        name=name,
        realm=realm,
        listen=ListenSettings(address=listening, port=port),
        credentials=CredentialSettings(
            certificate=NOWHERE / "node.crt", key=NOWHERE / "node.key", realm_ca=NOWHERE / "ca.crt"
        ),
        control_socket=folder / f"{name}.sock",
        discovery=DiscoverySettings(**discovery),
    )
    return Surroundings(
        identity=identity(name, realm),
        settings=settings,
        clock=clock or SystemClock(),
        rng=random.Random(7),
        records=records,
    )


class Heard:
    """A sink, and a finder, that keeps what it is told; it can be waited upon."""

    def __init__(self, source: str = "", root: Heard | None = None) -> None:
        self.source = source
        self.named: dict[str, tuple[str, ...]] = {}
        self.lifetimes: dict[str, float] = {}
        self.failures: list[str] = []
        self._root = root or self
        self._changed = asyncio.Event()

    def name(self, hints: Iterable[Hint]) -> None:
        """See ``Sink.name``."""
        found = tuple(hints)
        self._root.lifetimes |= {hint.address: hint.lifetime_s for hint in found}
        self._root.discovered(self.source, tuple(hint.address for hint in found))

    def failed(self, why: str) -> None:
        """See ``Sink.failed``."""
        self._root.failures.append(why)
        self._root.wake()

    def part(self, part: str) -> Heard:
        """See ``Sink.part``."""
        return Heard(part, self._root)

    def discovered(self, source: str, addresses: tuple[str, ...]) -> None:
        """See ``Finder.discovered``."""
        self.named[source] = addresses
        self.wake()

    def wake(self) -> None:
        """There is news."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until ``what`` holds after something was heard."""
        async with asyncio.timeout(DEADLINE_S):
            while not what():
                await self._changed.wait()


class FakeRecords:
    """A DHT that holds the records of one realm in memory; nodes share one of them."""

    def __init__(self) -> None:
        self.held: dict[bytes, dict[str, bytes]] = {}

    def of(self, publisher: str) -> PublishedBy:
        """What the node ``publisher`` sees of it."""
        return PublishedBy(self, publisher)


class PublishedBy:
    """See ``Records``."""

    def __init__(self, records: FakeRecords, publisher: str) -> None:
        self._records = records
        self._publisher = publisher

    async def lookup(self, key: bytes) -> list[bytes]:
        """See ``Records.lookup``."""
        return list(self._records.held.get(key, {}).values())

    async def publish(self, key: bytes, value: bytes) -> None:
        """See ``Records.publish``."""
        self._records.held.setdefault(key, {})[self._publisher] = value


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """``work`` in the background; cancelled at the end, when it must end soon."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def seeking(method: DiscoveryMethod) -> AsyncIterator[Heard]:
    """A method that runs, and what it says."""
    heard = Heard()
    async with running(method.run(heard)):
        yield heard


def logbook() -> tuple[Logbook, io.StringIO]:
    """A logbook, and what is written in it."""
    lines = io.StringIO()
    return Logbook(lines, FakeClock()), lines


def bounded(test: Coroutine[Any, Any, None]) -> None:
    """Run ``test`` with a deadline; it leaves no task, and no callback of the loop fails."""
    failures: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        async with asyncio.timeout(DEADLINE_S + 10):
            await test
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert failures == []

    asyncio.run(main())
