"""Discovery: every method at once, for as long as the node runs, and what they say, merged.

A method that fails is started again after a wait with full jitter; one that has a bug fails like
one without a network. Neither keeps the node from anything. One line is logged when a method
begins to fail, and one when it works again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from maculaos.discovery import registry
from maculaos.discovery.candidates import Candidates, Change, Hint
from maculaos.errors import MaculaError
from maculaos.host.logbook import Level
from maculaos.host.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.discovery.method import Surroundings
    from maculaos.host.logbook import Logbook
    from maculaos.identity import NodeId
    from maculaos.settings import NodeSettings

# A method that ran so long before it failed starts anew with the shortest wait.
STABLE_AFTER_S: Final = 60.0
_LONGEST_WAIT_S: Final = 60.0
_SHOWN: Final = 10


class Finder(Protocol):
    """Whoever dials what is found."""

    def discovered(self, source: str, addresses: tuple[str, ...]) -> None:
        """``source`` names these addresses now, and no others."""
        ...


@dataclass(slots=True)
class Standing:
    """How one source stands, for people; moments in monotonic seconds."""

    is_running: bool = False
    off: str | None = None
    error: str | None = None
    failures: int = 0
    named_at: float | None = None


class Discovery:
    """Runs the methods; make it, tell it of links, and ``await run()`` until it is cancelled."""

    def __init__(self, around: Surroundings, finder: Finder, logbook: Logbook) -> None:
        self._around = around
        self._settings = around.settings.discovery
        self._finder = finder
        self._log = logbook
        self._candidates = Candidates(self._settings.addresses_per_source)
        self._standings: dict[str, Standing] = {}
        self._ends_moved = asyncio.Event()
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Run every method that is wanted, until cancelled; all is closed then."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._expire())
            while True:
                looking = self._begin(tasks)
                await self._moved.wait()
                self._moved.clear()
                for each in looking:
                    each.cancel()
                # What the old methods announced is taken back before the new ones announce it.
                if looking:
                    await asyncio.wait(looking)

    def move(self, settings: NodeSettings) -> None:
        """The node listens elsewhere: every method begins anew, with these."""
        self._around = replace(self._around, settings=settings)
        self._moved.set()

    def describe(self) -> list[dict[str, Any]]:
        """Every source: what it names now, when it last said so, and what is wrong with it."""
        now = self._around.clock.monotonic()
        return [self._row(name, now) for name in sorted(self._standings)]

    def link_up(self, link: int, node_id: NodeId, addresses: tuple[str, ...]) -> None:
        """A link is up; ``addresses`` are where its other end may be found again."""
        self._around.linked.up(link, node_id, addresses)

    def link_down(self, link: int) -> None:
        """A link is gone."""
        self._around.linked.down(link)

    def named(self, source: str, hints: Iterable[Hint]) -> None:
        """A source says what it knows now."""
        standing, now = self._standing(source), self._around.clock.monotonic()
        if standing.error is not None:
            self._log.note("discovery_works_again", source=source)
        standing.named_at, standing.error = now, None
        self._tell(self._candidates.name(source, hints, now))
        self._ends_moved.set()

    def failed(self, source: str, why: str, level: Level = Level.WARNING) -> None:
        """A source has nothing new to say, and why."""
        standing = self._standing(source)
        if standing.error is None:
            self._log.note("discovery_failed", level, source=source, error=why)
        standing.error = why

    def _begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start every method that is wanted."""
        looking = []
        for name in registry.names():
            off = registry.off_because(name, self._settings, self._around.settings.listen.address)
            self._standings[name] = Standing(is_running=off is None, off=off)
            if off is None:
                looking.append(tasks.create_task(self._keep(name)))
        return looking

    async def _keep(self, name: str) -> None:
        """Run one method for ever, or until it has nothing to look for."""
        clock, standing = self._around.clock, self._standings[name]
        while True:
            began = clock.monotonic()
            try:
                # In a thread: a library of some size takes longer than the node may stand still.
                method = await in_thread(registry.load, name)
                await method(self._around).run(_Sink(self, name))
            except (MaculaError, OSError, ImportError) as error:
                self.failed(name, str(error))
            except Exception as error:  # noqa: BLE001  # the node lives on, whatever a method does
                self.failed(name, f"{type(error).__name__}: {error}", Level.ERROR)
            else:
                standing.is_running, standing.off = False, "there is nothing to look for"
                return
            is_stable = clock.monotonic() - began >= STABLE_AFTER_S
            standing.failures = 1 if is_stable else standing.failures + 1
            await clock.wait(self._pause_s(standing.failures))

    def _pause_s(self, failures: int) -> float:
        floor_s = self._settings.retry_base_s / 10
        return max(floor_s, self._around.rng.uniform(0, self._settings.retry_ceiling_s(failures)))

    async def _expire(self) -> None:
        """Let go of what nobody says again."""
        clock = self._around.clock
        while True:
            self._ends_moved.clear()
            wait_s = max(0.0, self._candidates.next_deadline() - clock.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, _LONGEST_WAIT_S)):
                    await self._ends_moved.wait()
            self._tell(self._candidates.advance(clock.monotonic()))

    def _tell(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            shown = " ".join(change.addresses[:_SHOWN])
            self._log.note(
                "discovered", source=change.source, count=len(change.addresses), addresses=shown
            )
            self._finder.discovered(change.source, change.addresses)

    def _standing(self, source: str) -> Standing:
        return self._standings.setdefault(source, Standing(is_running=True))

    def _row(self, source: str, now: float) -> dict[str, Any]:
        standing = self._standings[source]
        ago_s = None if standing.named_at is None else round(now - standing.named_at, 1)
        return {
            "source": source,
            "state": _state(standing),
            "addresses": list(self._candidates.of(source)),
            "last_result_s": ago_s,
            "error": standing.error or standing.off,
        }


class _Sink:
    """See ``Sink``."""

    def __init__(self, discovery: Discovery, source: str) -> None:
        self._discovery = discovery
        self._source = source

    def name(self, hints: Iterable[Hint]) -> None:
        self._discovery.named(self._source, hints)

    def failed(self, why: str) -> None:
        self._discovery.failed(self._source, why)

    def part(self, part: str) -> _Sink:
        return _Sink(self._discovery, f"{self._source} {part}")


def _state(standing: Standing) -> str:
    if not standing.is_running:
        return "off"
    return "on" if standing.error is None else "failing"
