"""How things stand, as the reconciler gathers it while it works; turned into a snapshot to show.

Written by the worker and the watch, read by whoever shows it. It decides nothing and does no
I/O: when to write it down is the daemon's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from jails.spec import JailSpec, JailState
from reconciler.activity import Activity, Moment, Snapshot
from reconciler.conditions import Condition, advance
from reconciler.front.standing import FrontStatus
from reconciler.generations import bounded
from reconciler.names import spoken
from reconciler.observed import World, items
from reconciler.passage import trouble
from reconciler.sources.unreachable import one_line
from reconciler.status import FetchStatus, RevisionStatus, Status, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.choice import Choice
    from reconciler.convergence import Convergence
    from reconciler.settings import ReconcilerSettings
    from reconciler.status import ItemStatus
    from reconciler.steps import Step


MOST_WAITING_SHOWN: Final = 5
# More than a machine has jails: what is left of gone ones is forgotten with the rest.
_MOST_GENERATIONS: Final = 1 << 14


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

    @classmethod
    def of(
        cls,
        settings: ReconcilerSettings,
        choice: Choice,
        url: str,
        *,
        pid: int,
        started_at: float,
    ) -> About:
        """What its settings say, with the runtime that was chosen and the URL as it is shown."""
        return cls(
            pid=pid,
            started_at=started_at,
            runtime=choice.name,
            runtime_why=choice.why,
            url=url,
            branch=settings.repository.branch,
            deadline_s=settings.health.deadline_s,
        )


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
    # Asks the webhook listener, if there is one, what became of the requests so far.
    deliveries: Callable[[], dict[str, int]] = dict
    # Asks which jails fail again however often their step is tried.
    hopeless: Callable[[], frozenset[str]] = frozenset
    # Asks the herald, if there is one, why targets were not told what came of commits.
    untold: Callable[[], tuple[str, ...]] = tuple

    # How the front stands that connections to apps come by; None where there is none.
    front: FrontStatus | None = None
    # Keys of items that are gone from the repository, and stay until an operator consents.
    waiting: tuple[str, ...] = ()
    # By jail: the step that would be taken, had an operator not suspended the work.
    held: dict[str, str] = field(default_factory=dict)
    # What of an applied revision is missing, a line each; of the one that this was known of last.
    missing: tuple[str | None, tuple[str, ...]] = (None, ())
    # By jail, empty for the whole: the conditions of the last snapshot.
    conditions: dict[str, tuple[Condition, ...]] = field(default_factory=dict)
    # By jail: a specification, and the version that it is.
    generations: dict[str, tuple[JailSpec, str]] = field(default_factory=dict)

    @property
    def rolled_back(self) -> tuple[str, ...]:
        """The apps that do not run what is wanted, although it was tried: a line each."""
        passage = self.world.passage
        wrong = {} if passage is None else trouble(passage.standings())
        return tuple(f"app {app}: {why}" for app, why in wrong.items())

    @property
    def is_lagging(self) -> bool:
        """Whether some rollout has steps left towards what is wanted."""
        return self.world.passage is not None and bool(self.world.passage.lagging)

    def rollouts(self) -> tuple[str, ...]:
        """The apps that are not yet where they are to be: a line each."""
        passage = self.world.passage
        if passage is None:
            return ()
        standings = passage.standings()
        return tuple(
            f"app {app}: {standings[app].phase} {standings[app].message}".rstrip()
            for app in sorted(passage.lagging)
        )

    def recall(self, status: Status | None) -> None:
        """Take over the past of the conditions from what the last reconciler showed."""
        if status is not None:
            self.missing = (status.revisions.applied, status.revisions.missing)
            self.conditions = {item.jail: item.conditions for item in status.items}
            self.conditions[""] = status.conditions

    def hold(self, steps: Iterable[Step]) -> None:
        """These steps would be taken, were the work not suspended."""
        self.held = {step.name: f"{step.verb}: {step.reason}" for step in steps}

    def begin(self, text: str, now: float) -> None:
        """Something that may take a while began."""
        self.under_way[text] = Moment(at=now, text=text)

    def end(self, text: str) -> None:
        """It ended."""
        self.under_way.pop(text, None)

    def with_failures(self, convergence: Convergence) -> World:
        """The world, with the steps that failed lately."""
        failures = {jail: f.reason for jail, f in convergence.step_failures.items()}
        return replace(self.world, failures=failures, hopeless=self.hopeless() & failures.keys())

    def snapshot(self, convergence: Convergence, events: Iterable[Moment], now: float) -> Snapshot:
        """How things stand at ``now``, in seconds since the epoch."""
        world, deadline_s = self.with_failures(convergence), self.about.deadline_s
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
                refused_for=progress.refused_for,
                missing=self._missing(convergence),
            ),
            fetch=self.fetch,
            reconciled_at=self.reconciled_at,
            reconcile_s=self.reconcile_s,
            converged=self._is_converged(convergence),
            problems=self._problems(convergence, world),
            look_error=convergence.look_failure.reason if convergence.look_failure else "",
            suspended=progress.suspended,
            pinned=progress.pinned,
            bad=progress.bad,
            untold=self.untold(),
            front=self.front,
            items=tuple(
                self._versioned(item, convergence) for item in items(world, now, deadline_s)
            ),
        )
        status = self._conditioned(status)
        activity = Activity(
            subject=self.subject,
            author=self.author,
            notice=self.notice,
            under_way=tuple(self.under_way.values()),
            events=tuple(events),
            deliveries=self.deliveries(),
        )
        return Snapshot(status=status, activity=activity)

    def _versioned(self, item: ItemStatus, convergence: Convergence) -> ItemStatus:
        """The item with the versions that are wanted and there, and what became of its step."""
        jail = item.jail
        rendered, facts = self.world.rendered, self.world.found.get(jail)
        spec = rendered.jails.get(jail) if rendered is not None else None
        failure = convergence.step_failures.get(jail)
        is_suspended = convergence.progress.suspended is not None
        return replace(
            item,
            failures=failure.count if failure is not None else 0,
            held=self.held.get(jail, "") if is_suspended else "",
            generation=self._generation(spec) if spec else "",
            applied=_version(facts.program_digest, facts.files_digest) if facts else "",
        )

    def _generation(self, spec: JailSpec) -> str:
        """The version that is wanted, worked out once for each spec and not for each status."""
        known = self.generations.get(spec.name)
        if known is None or known[0] is not spec:
            if len(self.generations) > _MOST_GENERATIONS:
                self.generations.clear()
            version = _version(spec.program_digest(), spec.files_digest())
            known = self.generations[spec.name] = (spec, version)
        return known[1]

    def _conditioned(self, status: Status) -> Status:
        """``status`` with the time of each condition; remembers them for the next one.

        Right after a start nothing is known yet: what was said last stands until more is.
        """
        past, now = self.conditions, status.at
        is_new = self.world.rendered is None
        listed = tuple(
            replace(item, conditions=known)
            if (known := past.get(item.jail, ())) and (is_new or self._is_unasked(item))
            else replace(item, conditions=advance(known, item.claims(), now))
            for item in status.items
        )
        whole = past.get("", ())
        if not (whole and is_new) or status.problems or status.fetch.error:
            whole = advance(whole, status.claims(), now)
        self.conditions = dict(past) if is_new else {}
        self.conditions |= {item.jail: item.conditions for item in listed}
        self.conditions[""] = whole
        return replace(status, items=listed, conditions=whole)

    def _is_unasked(self, item: ItemStatus) -> bool:
        is_running = item.state == JailState.RUNNING
        return item.kind == "node" and is_running and item.name not in self.world.health

    def _missing(self, convergence: Convergence) -> tuple[str, ...]:
        """What of the applied revision is not as it says; remembered while another is wanted."""
        applied, desired = convergence.progress.last_applied, self.world.desired
        if desired is not None and applied == convergence.goal:
            lines = [f"{key.replace('/', ' ')} is broken" for key in desired.broken]
            lines += [f"{one_line(one.path)} is not read" for one in desired.problems]
            lines += [f"{key.replace('/', ' ')} is to be removed" for key in self.waiting]
            self.missing = (applied, bounded(tuple(dict.fromkeys(lines))))
        return self.missing[1] if self.missing[0] == applied else ()

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
            and not self.waiting
            and not self.rolled_back
            and not self.is_lagging
        )

    def _problems(self, convergence: Convergence, world: World) -> tuple[str, ...]:
        # The branch may have gone back to what runs: then nothing is refused any more.
        lines = list(self.refusal) if convergence.progress.refused else []
        if convergence.evaluate_failure is not None:
            lines.append(convergence.evaluate_failure.reason)
        if convergence.look_failure is not None:
            lines.append(convergence.look_failure.reason)
        if world.desired is not None:
            lines += bounded(tuple(map(str, world.desired.told())))
        hindered = (*world.blocked.items(), *world.failures.items())
        lines += [f"{spoken(jail)}: {reason}" for jail, reason in hindered]
        lines += self.rolled_back
        if self.front is not None:
            lines += bounded(self.front.told)
        if self.waiting:
            lines.append(_waiting_line(self.waiting, convergence.goal or ""))
        unwritten = sorted(self.unwritten.items())
        lines += [f"cannot write {file}: {reason}" for file, reason in unwritten if reason]
        return tuple(lines)


def _waiting_line(waiting: tuple[str, ...], goal: str) -> str:
    shown = ", ".join(key.replace("/", " ") for key in waiting[:MOST_WAITING_SHOWN])
    more = len(waiting) - MOST_WAITING_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"{counted(len(waiting), 'item')} would be removed, too many at once: {shown}{rest};"
        f" if that is meant: reconciler consent {goal}"
    )


def _version(program_digest: str, files_digest: str) -> str:
    return hashlib.sha256(f"{program_digest} {files_digest}".encode()).hexdigest()[:16]
