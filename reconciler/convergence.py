"""When to do what: ask Git, evaluate a commit, repair the machine, or wait.

The shell asks ``next_action`` and reports back what came of it; every method takes ``now``, in
seconds that never go back. Rules:

1. The tip of the branch is evaluated once. If it is accepted it becomes the *goal*; if it is
   refused, the goal stays and goes on being repaired, and the tip is left alone until it moves.
2. The goal is repaired at once when it changes, then every drift interval, and soon after a hint
   that a program ended. Whether Git can be reached plays no part in it.
3. After a failed fetch the next one waits for a random time below a ceiling that doubles up to a
   bound: "full jitter" of M. Brooker, Exponential Backoff And Jitter, 2015. A step that failed
   waits in the same way, each jail by itself; a new goal or a forced sync ends all waiting.
4. A revision is *applied* when a repair of it ended with no step failed, none postponed and none
   left for later by a rollout; nodes that are blocked for want of credentials do not count
   against it. Proof that a version does well comes after that.
5. While an operator has *suspended* the work, Git is asked and the machine looked at as ever, but
   no tip is evaluated, and a repair ends with its plan. After a *rollback* its revision is the
   goal and is repaired, no tip is evaluated until it is resumed, and the revision that was rolled
   back from is never taken again as a tip, unless an operator forgives it.

It reads no clock, and compiles, plans and applies nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.generations import SPECS

if TYPE_CHECKING:
    from random import Random

    from reconciler.generations import Progress, Suspension

# Programs that end one after the other are looked at together.
HINT_DELAY_S: Final = 0.2
_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask Git for the tip; then report ``fetched`` or ``fetch_failed``."""


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Read and compile that commit; report ``compiled``, ``refused`` or ``evaluate_failed``."""

    revision: str


@dataclass(frozen=True, slots=True)
class Repair:
    """Look, plan and take the steps to that commit; report each step, then ``repaired``.

    If there is nothing to start from, report ``refused`` or ``repair_failed``.
    """

    revision: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due before ``until``, unless somebody calls."""

    until: float


Action: TypeAlias = Fetch | Evaluate | Repair | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full jitter under a ceiling that doubles from ``base_s`` to ``max_s``."""

    base_s: float
    max_s: float

    def ceiling_s(self, failures: int) -> float:
        """The longest wait after that many failures in a row."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self.max_s, self.base_s * float(2**doublings))

    def draw_s(self, failures: int, random: Random) -> float:
        """A wait at random below the ceiling."""
        return random.uniform(0.0, self.ceiling_s(failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The intervals; seconds, and ``poll_jitter`` a share of the poll interval."""

    poll_interval_s: float
    poll_jitter: float
    drift_interval_s: float
    fetch: Backoff
    retry: Backoff


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, how often in a row, and when it is tried again."""

    reason: str
    count: int
    retry_at: float


class Convergence:
    """The decider of one reconciler; starts where ``progress`` says the last one ended.

    One action is under way at a time, but for a fetch beside a repair. Calls from elsewhere
    (``sync_requested``, ``exit_hinted``) may come while it is, and are not lost when it is
    reported on.
    """

    def __init__(self, timing: Timing, random: Random, progress: Progress, now: float) -> None:
        self._timing = timing
        self._random = random
        self._progress = progress
        self._goal = progress.goal
        self._tip: str | None = None
        self._fetch_due = self._evaluate_due = self._repair_due = now
        self._fetch_failure: Failure | None = None
        self._evaluate_failure: Failure | None = None
        self._look_failure: Failure | None = None
        self._step_failures: dict[str, Failure] = {}
        self._under_way: Action | None = None
        # A forced sync is a ticket; a fetch serves those that were asked for before it began.
        self._tickets = self._fetching_ticket = self._fetched_ticket = 0

    @property
    def progress(self) -> Progress:
        """What must survive a restart; to be kept whenever it changed."""
        return self._progress

    @property
    def is_forced(self) -> bool:
        """Whether the fetch that is under way was asked for by somebody."""
        return self._fetching_ticket > self._fetched_ticket

    @property
    def goal(self) -> str | None:
        """The revision that the machine is brought to; None before the first accepted commit."""
        return self._goal

    @property
    def tip(self) -> str | None:
        """The tip of the branch as last seen; None if never, or if there is no commit."""
        return self._tip

    @property
    def fetch_failure(self) -> Failure | None:
        """Why Git could not be asked the last time; None if it could."""
        return self._fetch_failure

    @property
    def evaluate_failure(self) -> Failure | None:
        """Why the tip could not be read the last time; None if it could."""
        return self._evaluate_failure

    @property
    def look_failure(self) -> Failure | None:
        """Why the machine could not be looked at the last time; None if it could."""
        return self._look_failure

    @property
    def step_failures(self) -> dict[str, Failure]:
        """By jail: the step that failed the last time it was tried."""
        return dict(self._step_failures)

    def next_action(self, now: float) -> Action:
        """Hand out what to do now; an action that nobody reported on is handed out again."""
        self._take_back(now)
        action = self._due(now)
        if isinstance(action, Fetch):
            self.begin_fetch()
        elif isinstance(action, Repair):
            self._repair_due = math.inf
        self._under_way = None if isinstance(action, Wait) else action
        return action

    def _take_back(self, now: float) -> None:
        if isinstance(self._under_way, Fetch):
            self._fetch_due = now
        elif isinstance(self._under_way, Repair):
            self._repair_due = now

    def _due(self, now: float) -> Action:
        left_alone = {None, self._goal, self._progress.refused, *self._progress.bad}
        pending = not self._progress.is_held and self._tip not in left_alone
        if pending and self._tip is not None and self._evaluate_due <= now:
            return Evaluate(self._tip)
        at, action = self._next_due()
        if at <= now:
            return action
        return Wait(min(at, self._evaluate_due) if pending else at)

    def _next_due(self) -> tuple[float, Action]:
        if self._goal is None or self._fetch_due < self._repair_due:
            return self._fetch_due, Fetch()
        return self._repair_due, Repair(self._goal)

    # What came of a Fetch.

    def fetched(self, tip: str | None, now: float) -> None:
        """Git was asked: ``tip`` is the newest commit, None for a branch without any."""
        if tip != self._tip:
            self._evaluate_failure, self._evaluate_due = None, now
        # Who asks for a fetch may have mended what was wrong: a list of keys on this machine.
        is_retried = self.is_forced and self._progress.is_distrusted
        if tip != self._progress.refused or is_retried:
            self._progress = self._progress.without_refusal()
        self._tip, self._fetch_failure = tip, None
        stretch = 1 + self._random.uniform(0.0, self._timing.poll_jitter)
        self._fetch_ended(now + self._timing.poll_interval_s * stretch)

    def fetch_failed(self, reason: str, now: float) -> None:
        """Git could not be asked; what was last accepted goes on being repaired."""
        failed = self._failed(self._fetch_failure, reason, now, self._timing.fetch)
        self._fetch_failure = failed
        self._fetch_ended(failed.retry_at)

    def _fetch_ended(self, next_at: float) -> None:
        if isinstance(self._under_way, Fetch):
            self._under_way = None
        self._fetch_due = min(self._fetch_due, next_at)
        self._fetched_ticket = self._fetching_ticket

    # What came of an Evaluate.

    def compiled(self, revision: str, now: float) -> None:
        """The commit describes a desired state: it is the goal now, unless the branch is held."""
        self._under_way = None
        if self._progress.is_held:
            return
        self._goal = revision
        self._progress = self._progress.accepting(revision)
        self._evaluate_failure = None
        self._step_failures.clear()
        self._repair_due = now

    def refused(self, revision: str, now: float, why: str = SPECS) -> None:
        """The commit describes no desired state, or may not be followed.

        The goal stays; if this commit is the goal itself, the last applied one takes its place.
        """
        self._under_way = None
        self._progress = self._progress.refusing(revision, why)
        self._evaluate_failure = None
        if revision == self._goal:
            self._goal = self._progress.goal
            self._repair_due = now

    def evaluate_failed(self, reason: str, now: float) -> None:
        """The commit could not be read, for reasons that may pass."""
        self._under_way = None
        failed = self._failed(self._evaluate_failure, reason, now, self._timing.fetch)
        self._evaluate_failure, self._evaluate_due = failed, failed.retry_at

    # What came of a Repair.

    def step_done(self, jail: str) -> None:
        """The step of that jail was taken."""
        self._step_failures.pop(jail, None)

    def step_failed(self, jail: str, reason: str, now: float) -> None:
        """The step of that jail failed: it is postponed, others are not."""
        held = self._step_failures.get(jail)
        self._step_failures[jail] = self._failed(held, reason, now, self._timing.retry)

    def postponed(self, now: float) -> frozenset[str]:
        """The jails whose steps are to be left out for now, because they failed lately."""
        failures = self._step_failures.items()
        return frozenset(jail for jail, failure in failures if failure.retry_at > now)

    def repaired(
        self, revision: str, planned: frozenset[str], now: float, *, is_whole: bool = True
    ) -> None:
        """The repair of ``revision`` ended; ``planned`` are the jails that its plan named.

        Not ``is_whole``: a rollout has steps left, or went back, so nothing is applied yet.
        """
        self._under_way = self._look_failure = None
        for jail in self._step_failures.keys() - planned:
            del self._step_failures[jail]
        retries = [failure.retry_at for failure in self._step_failures.values()]
        next_at = min([now + self._timing.drift_interval_s, *retries])
        self._repair_due = min(self._repair_due, next_at)
        if is_whole and not retries and revision == self._goal:
            self._progress = self._progress.applying(revision)

    def repair_failed(self, reason: str, now: float) -> None:
        """The machine could not even be looked at, or the commit not be read again."""
        self._under_way = None
        failed = self._failed(self._look_failure, reason, now, self._timing.retry)
        self._look_failure = failed
        self._repair_due = min(self._repair_due, failed.retry_at)

    def interrupted(self, now: float) -> None:
        """The repair ended at the border of a step, since its revision is no longer to be had."""
        self._under_way = None
        self._repair_due = now

    def inspected(self, now: float) -> None:
        """The work is suspended: the machine was looked at, and nothing done about it."""
        self._under_way = self._look_failure = None
        self._repair_due = min(self._repair_due, now + self._timing.drift_interval_s)

    # What operators say.

    def may_apply(self, revision: str) -> bool:
        """Whether steps to that revision may be begun: it is the goal, and nothing is suspended."""
        return self._progress.suspended is None and revision == self._goal

    def is_overtaken(self, now: float) -> bool:
        """Whether a newer commit is there to be looked at before any more steps are begun."""
        return isinstance(self._due(now), Evaluate)

    @property
    def fetch_due(self) -> float:
        """When Git is to be asked again; infinite while it is being asked."""
        return self._fetch_due

    def begin_fetch(self) -> Fetch:
        """Hand out a fetch that is due while a repair is under way; both are reported as ever."""
        self._fetch_due, self._fetching_ticket = math.inf, self._tickets
        return Fetch()

    def suspend(self, suspension: Suspension) -> None:
        """Apply nothing from the next border of a step on."""
        self._progress = self._progress.suspending(suspension)

    def resume(self, now: float, *, forgives: bool = False) -> None:
        """Follow the branch again; ``forgives`` what was rolled back from."""
        self._progress = self._progress.resuming(forgives=forgives)
        self._evaluate_due = self._repair_due = now

    def unsuspend(self, now: float) -> None:
        """The time of the suspension is over; what was rolled back stays so."""
        self._progress = self._progress.unsuspending()
        self._evaluate_due = self._repair_due = now

    def rolled_back(self, revision: str, now: float) -> None:
        """That revision is the goal and stays it, wherever the branch goes, until ``resume``."""
        self._progress = self._progress.rolling_back(revision)
        self._goal = revision
        self._step_failures.clear()
        self._repair_due = now

    # What others call for.

    def sync_requested(self, now: float) -> int:
        """Fetch, evaluate and repair now; returns a ticket to ask ``is_served`` about."""
        self._tickets += 1
        # Before any repair: what is asked for is most likely a commit that was just pushed.
        self._fetch_due, self._repair_due = -math.inf, now
        self._evaluate_due = min(self._evaluate_due, now)
        for jail, failure in self._step_failures.items():
            self._step_failures[jail] = replace(failure, retry_at=now)
        return self._tickets

    def consent(self, revision: str, now: float) -> bool:
        """An operator takes the history of ``revision`` as it is; whether that was waited for."""
        if not self._progress.awaits_consent(revision):
            return False
        self._progress = self._progress.consenting(revision)
        self._evaluate_due = now
        return True

    def consent_to_removals(self, revision: str, now: float) -> bool:
        """An operator wants the removals of the goal, however many; whether it is the goal."""
        if revision != self._goal:
            return False
        self._progress = self._progress.consenting_removals(revision)
        self._repair_due = now
        return True

    def is_served(self, ticket: int, now: float) -> bool:
        """Whether all that was due for that ticket has been done, well or not."""
        if ticket > self._fetched_ticket or self._under_way is not None:
            return False
        due = self._due(now)
        if isinstance(due, Fetch):
            # The next poll may be due before the repair of what the last one brought.
            return self._goal is None or self._repair_due > now
        return isinstance(due, Wait)

    def look_by(self, at: float) -> None:
        """The machine is to be looked at again then, or before."""
        self._repair_due = min(self._repair_due, at)

    def exit_hinted(self, now: float) -> None:
        """A program ended, as far as somebody noticed: look soon."""
        self._repair_due = min(self._repair_due, now + HINT_DELAY_S)

    def _failed(self, held: Failure | None, reason: str, now: float, backoff: Backoff) -> Failure:
        count = 1 if held is None else held.count + 1
        return Failure(reason, count, now + backoff.draw_s(count, self._random))
