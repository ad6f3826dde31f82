"""The decision about a rollout: facts and orders in, what every instance is to run out. Pure.

After Nomad's deployments (its ``update`` block and deployment watcher): a version becomes stable
when every instance was healthy for ``min_healthy_time_s`` within ``healthy_deadline_s``;
``progress_deadline_s`` begins anew with each instance that proves it; what fails goes back to the
latest *stable* version, and is remembered.

Time is counted where somebody looked: of a gap between two looks no more than ``GAP_S`` counts,
and of a step back nothing. So neither a clock that jumps nor a reconciler that was away makes an
instance healthy or a deadline pass. Decide, store the deployment, then act: whatever is lost after
that is decided again, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.rollouts.board import Board
from reconciler.rollouts.decision import Decision, InstanceFacts, Order, Wish, Word
from reconciler.rollouts.deployment import (
    LONGEST_REASON,
    MOST_REJECTED,
    Deployment,
    Mode,
    Rejection,
    Rollout,
    short,
)
from reconciler.rollouts.instances import Colour, Instance
from reconciler.rollouts.layout import Circumstances, layout_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.rollouts.spec import Strategy

# The longest time between two looks that counts in full, and how often is looked at the least.
GAP_S: Final = 15.0
LOOK_S: Final = 5.0
_SOON_S: Final = 0.05

_MODES: Final[Mapping[str, Mode]] = {
    "restart": Mode.IN_PLACE,
    "rolling": Mode.IN_PLACE,
    "blue-green": Mode.BESIDE,
    "canary": Mode.CANARY,
}


def decide(
    deployment: Deployment,
    wish: Wish,
    facts: Mapping[Instance, InstanceFacts],
    now: float,
    orders: Sequence[Order] = (),
) -> Decision:
    """What every instance is to run now, and what to remember.

    ``now`` is any clock in seconds, best a monotonic one; another boot's is no harm.
    """
    look = _Look(deployment, wish, facts, now)
    for order in orders:
        look.obey(order)
    look.steer()
    look.judge()
    return look.decision()


@dataclass(frozen=True, slots=True)
class _Counted:
    """The time that a deployment counted, at one look."""

    age: float
    now: float

    @classmethod
    def of(cls, deployment: Deployment, now: float) -> _Counted:
        if deployment.looked_at is None:
            return cls(deployment.age_s, now)
        return cls(deployment.age_s + min(GAP_S, max(0.0, now - deployment.looked_at)), now)


class _Look:
    """One look at one app."""

    def __init__(
        self,
        deployment: Deployment,
        wish: Wish,
        facts: Mapping[Instance, InstanceFacts],
        now: float,
    ) -> None:
        self._wish = wish
        self._facts = facts
        self._time = _Counted.of(deployment, now)
        self._stable = deployment.stable
        self._rejected = {each.digest: each for each in deployment.rejected}
        self._rollout = deployment.rollout
        self._bound_for = None if deployment.rollout is None else deployment.rollout.target
        self._board = Board(
            deployment.placed, facts, self._strategy, deployment.live, self._time.age
        )
        self._is_paused = deployment.is_paused
        self._proved_before = {
            (each.instance, each.digest) for each in deployment.placed if each.is_proved
        }
        self._events: list[str] = []
        if deployment.stable is None and deployment.rollout is None and not deployment.placed:
            self._board.adopt()
        self._board.note()

    # What operators say.

    def obey(self, order: Order) -> None:
        """Take an order; one that makes no sense now is answered with an event."""
        target = self._wish.goal if self._rollout is None else self._rollout.target
        if order.digest not in ("", target) and order.word is not Word.RETRY:
            self._say(
                f"not {order.word}: it was about {short(order.digest)}, which is not under way"
            )
        elif order.word is Word.PROMOTE:
            self._promote_by_hand()
        elif order.word is Word.ABORT:
            self._abort()
        elif order.word is Word.RETRY:
            self._retry()
        else:
            self._is_paused = order.word is Word.PAUSE
            self._say("paused" if self._is_paused else "resumed")

    def _promote_by_hand(self) -> None:
        rollout = self._rollout
        if rollout is None or rollout.mode is Mode.IN_PLACE or rollout.is_promoted:
            self._say("not promote: nothing waits to be promoted")
        elif not self._is_proved():
            self._say("not promote: not every new instance is healthy yet")
        else:
            self._promote()

    def _promote(self) -> None:
        rollout = self._now()
        self._rollout = replace(
            rollout, is_promoted=True, is_waiting=False, progress_at=self._time.age
        )
        self._board.restart_proofs(rollout.target)
        self._say(f"{short(rollout.target)} is promoted")

    def _abort(self) -> None:
        rollout = self._rollout
        if rollout is None or rollout.failure or rollout.target == self._stable:
            self._say("not abort: no new version is under way")
        else:
            self._fail("aborted by an operator", is_revert_wanted=True)

    def _retry(self) -> None:
        rollout, goal = self._rollout, self._wish.goal
        was_rejected = self._rejected.pop(goal, None) is not None
        has_failed = rollout is not None and bool(rollout.failure)
        if has_failed:
            self._rollout = None
        if not (was_rejected or has_failed):
            self._say("not retry: nothing has failed")
            return
        self._say(f"{short(goal)} is tried again")
        if has_failed and self._aim() == self._stable:
            self._begin(self._aim())

    # Where it is bound.

    def steer(self) -> None:
        """Begin a rollout if what is wanted, or possible, is not what is under way."""
        aim = self._aim()
        if (self._stable if self._rollout is None else self._rollout.target) != aim:
            self._begin(aim)

    def _aim(self) -> str:
        """What is wanted, unless that was given up and there is something better."""
        goal = self._wish.goal
        return self._stable if self._stable and goal in self._rejected else goal

    def _begin(self, target: str) -> None:
        is_untouched = all(
            place is not None and place.digest == target
            for place in map(self._board.at, self._live())
        )
        if target == self._stable and is_untouched:
            self._rollout = None
            is_back = self._bound_for == target
            said = "runs everywhere again" if is_back else "was never replaced, and stays"
            self._say(f"{short(target)} {said}")
            return
        self._board.restart_proofs(target)
        self._rollout = Rollout(target=target, mode=self._mode(target), progress_at=self._time.age)
        self._board.judge_by(self._strategy)
        how = "goes back to" if target == self._stable else "begins towards"
        self._say(f"rollout {how} {short(target)} ({self._rollout.mode})")

    def _mode(self, target: str) -> Mode:
        is_first = self._stable is None and not any(map(self._board.serves, self._live()))
        if target == self._stable or is_first:
            return Mode.IN_PLACE
        return _MODES[self._wish.strategy.kind]

    # How it goes.

    def judge(self) -> None:
        """Count proofs, see failures, go on where everything is proved."""
        rollout = self._rollout
        if rollout is None:
            return
        if rollout.failure:
            self._try_after_all(rollout)
            return
        self._count_progress(rollout)
        if self._is_paused:
            self._hold()
        elif self._is_proved():
            self._go_on()
        else:
            self._rollout = replace(self._now(), is_waiting=False)
            self._look_for_failure()

    def _count_progress(self, rollout: Rollout) -> None:
        """A proof is new if it came about with this look."""
        for instance in self._provers():
            place = self._board.at(instance)
            if place is None or not place.is_proved or place.digest != rollout.target:
                continue
            if (instance, place.digest) not in self._proved_before:
                self._rollout = replace(self._now(), progress_at=self._time.age)
                self._say(f"{instance} is healthy with {short(rollout.target)}")

    def _look_for_failure(self) -> None:
        strategy, age = self._strategy, self._time.age
        for instance in self._provers():
            place, facts = self._board.at(instance), self._facts.get(instance)
            if place is None or place.digest != self._now().target or place.is_proved:
                continue
            said = f": {facts.reason}" if facts is not None and facts.reason else ""
            if facts is not None and facts.has_failed and facts.digest == place.digest:
                self._fail(f"{instance} ended for good{said}")
                return
            if age - place.since >= strategy.healthy_deadline_s:
                self._fail(f"{instance} not healthy in {strategy.healthy_deadline_s:g} s{said}")
                return
        if age - self._now().progress_at >= strategy.progress_deadline_s:
            self._fail(f"no progress in {strategy.progress_deadline_s:g} s")

    def _go_on(self) -> None:
        """Every instance that had to prove the version did."""
        rollout = self._now()
        if rollout.mode is Mode.IN_PLACE or (rollout.mode is Mode.CANARY and rollout.is_promoted):
            self._finish()
        elif not (rollout.is_promoted or self._wish.strategy.auto_promote):
            self._wait()
        elif rollout.mode is Mode.CANARY:
            self._promote()
        else:
            self._say(f"traffic goes to {self._board.live.other}")
            self._board.switch_to(self._board.live.other)
            self._finish()

    def _wait(self) -> None:
        rollout = self._now()
        if not rollout.is_waiting:
            self._say(f"{short(rollout.target)} is healthy and waits to be promoted")
        self._rollout = replace(rollout, is_waiting=True, progress_at=self._time.age)

    def _hold(self) -> None:
        """Nobody's time runs out while an operator has stopped everything."""
        self._rollout = replace(self._now(), progress_at=self._time.age)
        self._board.grant_time()

    def _finish(self) -> None:
        target = self._now().target
        is_back = target == self._stable
        self._rejected.pop(target, None)
        self._stable, self._rollout = target, None
        self._say(f"{short(target)} " + ("runs everywhere again" if is_back else "is stable"))

    def _fail(self, reason: str, *, is_revert_wanted: bool = False) -> None:
        rollout = self._now()
        is_uncommitted = rollout.mode is not Mode.IN_PLACE and not rollout.is_promoted
        may_revert = is_revert_wanted or is_uncommitted or self._wish.strategy.auto_revert
        if self._stable is None:
            self._give_up(f"{reason}; there is no stable version to go back to")
        elif rollout.target == self._stable:
            self._give_up(f"{reason}; not reverting: this is the stable version")
        elif not may_revert:
            self._give_up(f"{reason}; not reverting: auto_revert is off")
        else:
            self._reject(rollout.target, reason)
            self._begin(self._aim())

    def _give_up(self, reason: str) -> None:
        self._rollout = replace(self._now(), failure=_bounded(reason), is_waiting=False)
        self._say(f"rollout of {short(self._now().target)} failed: {reason}")

    def _reject(self, digest: str, reason: str) -> None:
        self._rejected.pop(digest, None)
        self._rejected[digest] = Rejection(digest=digest, reason=_bounded(reason))
        for oldest in [*self._rejected][:-MOST_REJECTED]:
            del self._rejected[oldest]
        self._say(f"{short(digest)} is given up: {reason}")

    def _try_after_all(self, rollout: Rollout) -> None:
        """What failed and is well now may prove itself from the beginning."""
        provers = self._provers()
        is_well = all(map(self._board.is_healthy, provers))
        places = map(self._board.at, provers)
        if is_well and all(place and place.digest == rollout.target for place in places):
            self._say(f"{short(rollout.target)} is healthy after all")
            self._begin(rollout.target)

    # What is looked at.

    @property
    def _strategy(self) -> Strategy:
        """How the version wants to be rolled out that this is bound for."""
        target = self._wish.goal if self._rollout is None else self._rollout.target
        is_back = target == self._stable and target != self._wish.goal
        fallback = self._wish.fallback
        return fallback if is_back and fallback is not None else self._wish.strategy

    def _now(self) -> Rollout:
        if self._rollout is None:
            raise AssertionError("asked for a rollout where none is under way")
        return self._rollout

    def _live(self) -> list[Instance]:
        return _row(self._board.live, self._wish.instances)

    def _provers(self) -> list[Instance]:
        """The instances on which the next stage depends."""
        rollout = self._now()
        if rollout.mode is Mode.BESIDE:
            return _row(self._board.live.other, self._wish.instances)
        if rollout.mode is Mode.CANARY and not rollout.is_promoted:
            return _row(Colour.CANARY, self._wish.strategy.canary)
        return self._live()

    def _is_proved(self) -> bool:
        target = self._now().target
        return all(self._board.proves(each, target) for each in self._provers())

    # What comes of it.

    def decision(self) -> Decision:
        """Move the instances, and say everything."""
        self._board.arrange(layout_of(self._circumstances()))
        deployment = self._deployment()
        return Decision(
            deployment=deployment,
            assignments=self._board.assignments(),
            next_at=self._next_at(deployment),
            events=tuple(self._events),
        )

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            wish=replace(self._wish, strategy=self._strategy),
            rollout=self._rollout,
            stable=self._stable,
            live=self._board.live,
            is_paused=self._is_paused,
            has_serving_canary=self._board.has_serving_canary(),
        )

    def _deployment(self) -> Deployment:
        placed = self._board.placed
        is_draining = any(each.draining_since is not None for each in placed)
        is_under_way = self._rollout is not None and not self._rollout.failure
        is_counting = is_under_way or is_draining
        is_at_rest = self._rollout is None and not is_counting
        return Deployment(
            stable=self._stable,
            live=Colour.GREEN if self._board.live is Colour.GREEN else Colour.BLUE,
            placed=self._board.settled() if is_at_rest else placed,
            rejected=tuple(self._rejected.values()),
            rollout=self._rollout,
            is_paused=self._is_paused,
            age_s=0.0 if is_at_rest else self._time.age,
            looked_at=self._time.now if is_counting else None,
        )

    def _next_at(self, deployment: Deployment) -> float | None:
        if deployment.looked_at is None:
            return None
        waits = [at - self._time.age for at in self._dates(deployment) if at > self._time.age]
        return self._time.now + max(_SOON_S, min([LOOK_S, *waits]))

    def _dates(self, deployment: Deployment) -> Iterator[float]:
        """When, in counted time, something changes by itself."""
        strategy = self._strategy
        for place in deployment.placed:
            if place.draining_since is not None:
                facts = self._facts.get(place.instance)
                grace_s = 0.0 if facts is None else facts.drain_grace_s
                yield place.draining_since + strategy.drain_s + grace_s
                continue
            if not place.is_proved:
                yield place.since + strategy.healthy_deadline_s
            if place.healthy_since is not None:
                yield place.healthy_since + strategy.min_healthy_time_s
        if deployment.rollout is not None:
            yield deployment.rollout.progress_at + strategy.progress_deadline_s

    def _say(self, event: str) -> None:
        self._events.append(event)


def _row(colour: Colour, count: int) -> list[Instance]:
    return [Instance(colour, index) for index in range(1, count + 1)]


def _bounded(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
