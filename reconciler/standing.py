"""How things stand, as the reconciler gathers it while it works; turned into a snapshot to show.

Written by the worker and the watch, read by whoever shows it. It decides nothing and does no
I/O: when to write it down is the daemon's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.activity import Activity, Moment, Snapshot
from reconciler.names import spoken
from reconciler.observed import World, items
from reconciler.status import FetchStatus, RevisionStatus, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.convergence import Convergence


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What does not change while one reconciler runs."""

    pid: int
    started_at: float
    runtime: str
    runtime_why: str = ""
    url: str
    branch: str
    # How long a program may take to become ready.
    deadline_s: float


@dataclass(slots=True, kw_only=True)
class Standing:
    """Everything that the status tells, but for what ``Convergence`` knows."""

    about: About
    world: World = field(default_factory=World)
    fetch: FetchStatus = field(default_factory=FetchStatus)
    # Why the refused commit was refused, a line each.
    refusal: tuple[str, ...] = ()
    subject: str = ""
    author: str = ""
    notice: str = ""
    reconciled_at: float | None = None
    reconcile_s: float | None = None
    # Whether the last plan was carried out in full.
    is_settled: bool = False
    # By file: why it could not be written the last time; empty if it could.
    unwritten: dict[str, str] = field(default_factory=dict)
    under_way: dict[str, Moment] = field(default_factory=dict)

    def begin(self, text: str, now: float) -> None:
        """Something that may take a while began."""
        self.under_way[text] = Moment(at=now, text=text)

    def end(self, text: str) -> None:
        """It ended."""
        self.under_way.pop(text, None)

    def with_failures(self, convergence: Convergence) -> World:
        """The world, with the steps that failed lately."""
        failures = {jail: f.reason for jail, f in convergence.step_failures.items()}
        return replace(self.world, failures=failures)

    def snapshot(self, convergence: Convergence, events: Iterable[Moment], now: float) -> Snapshot:
        """How things stand at ``now``, in seconds since the epoch."""
        world = self.with_failures(convergence)
        progress = convergence.progress
        status = Status(
            at=now,
            pid=self.about.pid,
            started_at=self.about.started_at,
            runtime=self.about.runtime,
            runtime_why=self.about.runtime_why,
            url=self.about.url,
            branch=self.about.branch,
            realm="" if world.desired is None else world.desired.realm.name,
            revisions=RevisionStatus(
                tip=convergence.tip,
                attempted=progress.last_attempted,
                applied=progress.last_applied,
                refused=progress.refused,
            ),
            fetch=self.fetch,
            reconciled_at=self.reconciled_at,
            reconcile_s=self.reconcile_s,
            converged=self._is_converged(convergence),
            problems=self._problems(convergence, world),
            items=items(world, now, self.about.deadline_s),
        )
        activity = Activity(
            subject=self.subject,
            author=self.author,
            notice=self.notice,
            under_way=tuple(self.under_way.values()),
            events=tuple(events),
        )
        return Snapshot(status=status, activity=activity)

    def _is_converged(self, convergence: Convergence) -> bool:
        goal, progress = convergence.goal, convergence.progress
        is_applied = goal is not None and progress.last_applied == goal
        is_pending = convergence.tip not in {None, goal, progress.refused}
        return (
            is_applied
            and self.is_settled
            and not is_pending
            and not convergence.step_failures
            and not self.world.blocked
        )

    def _problems(self, convergence: Convergence, world: World) -> tuple[str, ...]:
        # The branch may have gone back to what runs: then nothing is refused any more.
        lines = list(self.refusal) if convergence.progress.refused else []
        if convergence.evaluate_failure is not None:
            lines.append(convergence.evaluate_failure.reason)
        if convergence.look_failure is not None:
            lines.append(convergence.look_failure.reason)
        hindered = (*world.blocked.items(), *world.failures.items())
        lines += [f"{spoken(jail)}: {reason}" for jail, reason in hindered]
        unwritten = sorted(self.unwritten.items())
        lines += [f"cannot write {file}: {reason}" for file, reason in unwritten if reason]
        return tuple(lines)
