"""Carrying out a plan: each step through the runtime, one after the other, each recorded.

Before a program is to end, its stop hook is run, and what it says ends nothing.
Nothing is decided here but one thing: a running program whose files changed is told to reload;
if it cannot be told, or refuses, it is stopped and started, so that it never goes on with old
settings. A failed step does not keep the others from being taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from jails.runtime import JailError
from jails.spec import HookKind, JailState
from maculaos.errors import MaculaError
from maculaos.host.threads import in_thread
from reconciler.names import spoken
from reconciler.sources.unreachable import one_line
from reconciler.steps import MoveJail, RemoveJail, StartJail, Step, UpdateFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.runtime import Runtime
    from jails.spec import JailSpec
    from maculaos.host.clock import Clock

# On top of the time that a program may take to stop.
STEP_DEADLINE_S: Final = 30.0
LONGEST_STOP_S: Final = 60.0
LONGEST_FAILURE: Final = 1000
# Every runtime ends a hook long before: its spec may give it 60 seconds.
LONGEST_HOOK_S: Final = 75.0

# Tells the program in that jail to read its files again; returns why it could not, or nothing.
Reload: TypeAlias = Callable[[str], Awaitable[str]]
# Brings what a step needs, right before it; raises ``UsageError`` for what cannot be had.
HandOver: TypeAlias = Callable[[Step], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step that was taken, or tried; ``started_at`` in seconds since the epoch."""

    step: Step
    started_at: float
    duration_s: float
    failure: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the step did what it says."""
        return not self.failure

    def describe(self) -> str:
        """One line for people."""
        step, took = self.step, f"({self.duration_s:.2f} s)"
        if self.failure:
            return f"cannot {step.verb} {spoken(step.name)}: {self.failure} {took}"
        return f"{step.describe()} {took}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who hears of steps as they begin and end."""

    began: Callable[[Step], None]
    ended: Callable[[StepRecord], None]


async def _nothing(_: Step) -> None:
    """What a step needs is there."""


def _ignore(_jail: str, _kind: HookKind, _why: str) -> None:
    """Nobody wants to hear of hooks."""


class Applier:
    """Takes steps through one runtime; remembers which of them are still going on."""

    def __init__(
        self,
        runtime: Runtime,
        reload: Reload,
        clock: Clock,
        *,
        step_deadline_s: float = STEP_DEADLINE_S,
        hand_over: HandOver = _nothing,
        tell: Callable[[str, HookKind, str], None] = _ignore,
    ) -> None:
        """``step_deadline_s`` bounds a step, on top of its program's own time to stop.

        ``tell`` hears of each stop hook that failed, and why.
        """
        self._runtime = runtime
        self._reload = reload
        self._clock = clock
        self._step_deadline_s = step_deadline_s
        self._hand_over = hand_over
        self._tell = tell
        # A step past its deadline cannot be ended: its thread goes on, and until it comes back
        # no other step may touch that jail.
        self._overdue: dict[str, asyncio.Task[None]] = {}

    async def apply(
        self, steps: Iterable[Step], stopping: asyncio.Event, observer: Observer
    ) -> tuple[StepRecord, ...]:
        """Take ``steps`` in their order; begin none once ``stopping`` is set."""
        records = []
        for step in steps:
            if stopping.is_set():
                break
            observer.began(step)
            record = await self._take(step)
            observer.ended(record)
            records.append(record)
        return tuple(records)

    async def _take(self, step: Step) -> StepRecord:
        started_at, began = self._clock.now(), self._clock.monotonic()
        try:
            await self._hand_over(step)
            await self._run_stop_hook(step)
            failure = await self._within_deadline(step)
        except JailError as error:
            failure = f"{error.what}; {error.hint}" if error.hint else error.what
        except (MaculaError, OSError) as error:
            failure = str(error) or type(error).__name__
        return StepRecord(
            step=step,
            started_at=started_at,
            duration_s=self._clock.monotonic() - began,
            # It may quote what a program wrote, control sequences and all.
            failure=one_line(failure, LONGEST_FAILURE),
        )

    async def _run_stop_hook(self, step: Step) -> None:
        """Before a program is told to end; what comes of the hook keeps nothing from going on."""
        jail = step.former if isinstance(step, MoveJail) else step.name
        if isinstance(step, UpdateFiles) or jail in self._overdue:
            return
        if isinstance(step, StartJail) and not await self._is_orphaned(step):
            return
        try:
            async with asyncio.timeout(LONGEST_HOOK_S):
                await in_thread(self._runtime.hook, jail, HookKind.STOP)
        except TimeoutError:
            self._tell(jail, HookKind.STOP, "its stop hook: hangs, and cannot be ended")
        except JailError as error:
            self._tell(jail, HookKind.STOP, one_line(error.what, LONGEST_FAILURE))

    async def _is_orphaned(self, step: StartJail) -> bool:
        """Whether its program runs, without anybody who keeps it: then it ends for a new one."""
        if not step.spec.hooks.stop:
            return False
        facts = (await in_thread(self._runtime.look)).get(step.name)
        return facts is not None and facts.state is JailState.ORPHANED

    async def _within_deadline(self, step: Step) -> str:
        if step.name in self._overdue:
            return "an earlier step for this jail has not come back yet"
        deadline_s = self._step_deadline_s + _stop_s(step)
        task = asyncio.create_task(self._carry_out(step))
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
        if done:
            task.result()
            return ""
        self._overdue[step.name] = task
        task.add_done_callback(lambda late: self._came_back(step.name, late))
        return f"not done within {deadline_s:g} s"

    def _came_back(self, jail: str, task: asyncio.Task[None]) -> None:
        self._overdue.pop(jail, None)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would complain; the next look finds the truth

    async def _carry_out(self, step: Step) -> None:
        match step:
            case RemoveJail():
                await in_thread(self._runtime.remove, step.name)
            case UpdateFiles():
                await self._update_files(step.spec)
            case MoveJail():
                await in_thread(self._runtime.stop, step.former)
                await in_thread(self._runtime.rename, step.former, step.name)
                await in_thread(self._runtime.ensure, step.spec)
            case _:
                await in_thread(self._runtime.ensure, step.spec)

    async def _update_files(self, spec: JailSpec) -> None:
        await in_thread(self._runtime.update_files, spec)
        if await self._reload(spec.name):
            await in_thread(self._runtime.stop, spec.name)
            await in_thread(self._runtime.ensure, spec)


def _stop_s(step: Step) -> float:
    # How long a removed program may take is known to the runtime only.
    return LONGEST_STOP_S if isinstance(step, RemoveJail) else step.spec.stop_deadline_s
