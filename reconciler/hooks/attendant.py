"""The attendant of programs: runs their start and drain hooks, each once for what it is about.

Belongs to one event loop. A hook runs in a thread, bounded by the runtime, a few at once, and one
at a time in each jail. One that hangs or fails is told once, and holds up nothing but what waits
for it. Stop hooks are run with the step that ends a program (``reconciler.apply``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from jails.spec import HookKind, JailState
from maculaos.errors import MaculaError
from maculaos.host.threads import in_thread
from reconciler.hooks.record import Ended
from reconciler.passage import run_of
from reconciler.rollouts.instances import instance_jail
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jails.runtime import Runtime
    from maculaos.host.clock import Clock
    from reconciler.hooks.record import HookRecord
    from reconciler.observed import World
    from reconciler.passage import Passage
    from reconciler.specs.spec import AppSpec

AT_ONCE: Final = 16
LONGEST_REASON: Final = 200
# A start hook that failed is tried again after so long, doubled each time.
RETRY_S: Final = 5.0
LONGEST_RETRY_S: Final = 300.0
_WAITS: Final = "its start hook has not ended yet"


@dataclass(slots=True)
class _Due:
    """A hook that is to be run."""

    jail: str
    kind: HookKind
    run: str
    extra_s: float = 0.0


@dataclass(slots=True)
class _Trouble:
    """A start hook that failed."""

    run: str
    reason: str
    count: int
    again_at: float


class Attendant:
    """Runs hooks for one reconciler; to be closed."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        record: HookRecord,
        tell: Callable[[str, HookKind, str], None],
    ) -> None:
        """``tell``: hears once of each jail and hook that failed, and why."""
        self._runtime = runtime
        self._clock = clock
        self._record = record
        self._tell = tell
        self._ended = record.read()
        self._troubles: dict[str, _Trouble] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    @property
    def drained(self) -> Mapping[str, Ended]:
        """By jail, how its drain hook ended; a jail that does not drain is not there."""
        return {jail: each for (jail, kind), each in self._ended.items() if kind is HookKind.DRAIN}

    def obstacle(self, jail: str, app: AppSpec, run: str) -> str:
        """Why that run of its program cannot be healthy yet; empty if its start hook ended well."""
        if app.hooks.start is None:
            return ""
        ended = self._ended.get((jail, HookKind.START))
        if ended is not None and ended.run == run:
            return ""
        trouble = self._troubles.get(jail)
        return trouble.reason if trouble is not None and trouble.run == run else _WAITS

    def attend(self, world: World, claimed: Passage | None) -> None:
        """Begin what is due; ``claimed`` is what was written down of rollouts last."""
        if claimed is None:
            return  # who drains is not known yet
        drains = _drains(claimed)
        self._forget(world, drains)
        for due in (*_starts(world), *self._drains_due(world, drains)):
            if due.jail in self._under_way or self._has_ended(due) or self._must_wait(due):
                continue
            if not _runs_what_it_should(world, due.jail):
                continue
            if len(self._under_way) >= AT_ONCE:
                return
            task = asyncio.create_task(self._run(due))
            self._under_way[due.jail] = task
            task.add_done_callback(partial(self._is_over, due.jail))

    def close(self) -> None:
        """Begin nothing more, and wait for nothing: what is under way ends by its own bound."""
        for task in self._under_way.values():
            task.cancel()

    def _is_over(self, jail: str, task: asyncio.Task[None]) -> None:
        self._under_way.pop(jail, None)
        if not task.cancelled():
            task.result()

    def _forget(self, world: World, drains: Mapping[str, float]) -> None:
        """What is about a jail that is gone, or drains no more.

        One that takes traffic after all starts anew.
        """
        for jail, kind in [*self._ended]:
            is_over = kind is HookKind.DRAIN and jail not in drains
            if is_over:
                self._ended.pop((jail, HookKind.START), None)
            if is_over or (world.found and jail not in world.found):
                self._ended.pop((jail, kind), None)
        gone = self._troubles.keys() - world.found.keys()
        for jail in gone if world.found else ():
            del self._troubles[jail]

    def _drains_due(self, world: World, drains: Mapping[str, float]) -> Iterator[_Due]:
        for jail, app, run in _running(world):
            if jail in drains and app.hooks.drain is not None:
                yield _Due(jail, HookKind.DRAIN, run, drains[jail])

    def _has_ended(self, due: _Due) -> bool:
        ended = self._ended.get((due.jail, due.kind))
        return ended is not None and ended.run == due.run

    def _must_wait(self, due: _Due) -> bool:
        trouble = self._troubles.get(due.jail)
        if due.kind is not HookKind.START or trouble is None or trouble.run != due.run:
            return False
        return self._clock.monotonic() < trouble.again_at

    async def _run(self, due: _Due) -> None:
        reason = ""
        try:
            await in_thread(self._runtime.hook, due.jail, due.kind, due.extra_s)
        except JailError as error:
            reason = one_line(error.what, LONGEST_REASON)
        except (MaculaError, OSError) as error:
            reason = one_line(str(error) or type(error).__name__, LONGEST_REASON)
        self._end(due, reason)

    def _end(self, due: _Due, reason: str) -> None:
        known = self._troubles.pop(due.jail, None)
        if reason and due.kind is HookKind.START:
            count = known.count + 1 if known is not None and known.run == due.run else 1
            wait_s = min(LONGEST_RETRY_S, RETRY_S * 2 ** min(count - 1, 10))
            again_at = self._clock.monotonic() + wait_s
            self._troubles[due.jail] = _Trouble(due.run, reason, count, again_at)
            if count == 1:
                self._tell(due.jail, due.kind, reason)
            return
        if reason:
            self._tell(due.jail, due.kind, reason)
        self._ended[due.jail, due.kind] = Ended(due.run, not reason, reason)
        # If it cannot be written the next reconciler runs it again, which hooks have to bear.
        with suppress(OSError):
            self._record.keep(self._ended)


def _running(world: World) -> Iterator[tuple[str, AppSpec, str]]:
    """The jails that run something and have hooks, with their app and which start it is."""
    fleet = {} if world.passage is None else world.passage.fleet
    for jail, member in fleet.items():
        if member.app.hooks.start is None and member.app.hooks.drain is None:
            continue
        facts = world.found.get(jail)
        if facts is not None and facts.state is JailState.RUNNING:
            yield jail, member.app, run_of(facts)


def _runs_what_it_should(world: World, jail: str) -> bool:
    """Whether the app that is known of it is what runs there; costs a digest."""
    spec = None if world.rendered is None else world.rendered.jails.get(jail)
    return spec is not None and world.found[jail].program_digest == spec.program_digest()


def _starts(world: World) -> Iterator[_Due]:
    for jail, app, run in _running(world):
        if app.hooks.start is not None:
            yield _Due(jail, HookKind.START, run)


def _drains(passage: Passage) -> dict[str, float]:
    """By jail that drains, how long it may at the most, without its hook."""
    return {
        instance_jail(app, each.instance): passage.drain_s[app]
        for app, decision in passage.decisions.items()
        # At rest nobody drains.
        if decision.deployment.looked_at is not None
        for each in decision.assignments
        if each.is_draining
    }
