"""The passage of all apps between their versions, at one look at the machine. Pure.

Facts come in, ``reconciler.rollouts`` decides app by app, and the fleet comes out: which version
each instance is to run now. Which version a jail runs is told by comparing what it was started
from with what each known version would be started from here; nothing is written into a jail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, cast

from jails.spec import JailFacts, JailState
from reconciler.fleet import Fleet, Member
from reconciler.render import MachinePaths, render_member
from reconciler.rollouts.decide import decide
from reconciler.rollouts.decision import Decision, InstanceFacts, Order, Wish
from reconciler.rollouts.deployment import Deployment, Mode, Phase, Placed, Standing, standing
from reconciler.rollouts.instances import Colour, Instance, instance_jail, instance_of
from reconciler.specs.items import Item

if TYPE_CHECKING:
    from reconciler.specs.spec import AppSpec

UNKNOWN: Final = "unknown"
# Whoever ends a drain hook that hangs has so much longer to say so.
PATIENCE_S: Final = 2.0
# What a program that was done said: it has nothing to prove any more.
_DONE: Final = "exited with status 0"
_GONE_WRONG: Final = frozenset({Phase.REVERTING, Phase.REVERTED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the probes say of one run of a program."""

    run: str
    is_healthy: bool
    reason: str = ""


class Drained(Protocol):
    """How the drain hook of one run of a program ended."""

    @property
    def run(self) -> str:
        """Which run."""
        ...

    @property
    def is_ok(self) -> bool:
        """Whether it said that nobody uses the instance any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of the machine and of its past; ``now`` in seconds of a monotonic clock."""

    found: Mapping[str, JailFacts]
    deployments: Mapping[str, Deployment]
    # Every app that is kept, by version.
    versions: Mapping[str, Item]
    machine: MachinePaths
    now: float
    # By jail.
    opinions: Mapping[str, Opinion] = field(default_factory=lambda: MappingProxyType({}))
    # How drain hooks ended, by jail.
    drained: Mapping[str, Drained] = field(default_factory=lambda: MappingProxyType({}))
    # By app.
    orders: Mapping[str, Sequence[Order]] = field(default_factory=lambda: MappingProxyType({}))
    # The former name of apps that were renamed.
    moves: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What is to be, and how each app stands; by app, where nothing else is said."""

    decisions: Mapping[str, Decision]
    goals: Mapping[str, str]
    fleet: Fleet
    # Jails that go on with a version that nobody knows any more: left as they are.
    adrift: frozenset[str]
    # Apps of which some instance is still to be brought to what is wanted.
    lagging: frozenset[str]
    # Who gets traffic and answers it.
    serving: Mapping[str, tuple[Instance, ...]]
    # Apps that have, or may have, more than one instance.
    several: frozenset[str]
    # Who would be serving, had its probes been asked since it was started.
    unasked: Mapping[str, tuple[Instance, ...]]
    # What operators said, as far as it was taken.
    orders: Mapping[str, Sequence[Order]]
    # How long an instance may drain.
    drain_s: Mapping[str, float]

    def standings(self) -> Mapping[str, Standing]:
        """How each app stands."""
        return {
            app: standing(decision.deployment, self.goals[app])
            for app, decision in self.decisions.items()
        }

    def named(self) -> frozenset[str]:
        """The versions that are run, aimed at, or may be gone back to."""
        every = (decision.deployment for decision in self.decisions.values())
        return frozenset(version for each in every for version in _named(each))

    @property
    def next_at(self) -> float | None:
        """When to look again at the latest."""
        dates = (decision.next_at for decision in self.decisions.values())
        return min((at for at in dates if at is not None), default=None)


def trouble(standings: Mapping[str, Standing]) -> dict[str, str]:
    """By app, why it does not run what is wanted, although that was tried."""
    return {
        app: f"rolled back: {each.message}" if each.phase is not Phase.FAILED else each.message
        for app, each in sorted(standings.items())
        if each.phase in _GONE_WRONG
    }


def is_bad_news(event: str) -> bool:
    """Whether somebody should hear of what a rollout says of itself."""
    return " is given up: " in event or " failed: " in event


def run_of(facts: JailFacts) -> str:
    """Which start of its program that is."""
    return f"{facts.pid} {facts.started_at} {facts.restarts}"


def pass_over(items: Mapping[str, Item], goals: Mapping[str, str], look: Look) -> Passage:
    """Decide for every app in ``items``, by name; ``goals`` are their versions."""
    found = _by_app(look.found)
    decisions: dict[str, Decision] = {}
    fleet: dict[str, Member] = {}
    adrift: set[str] = set()
    lagging: set[str] = set()
    serving: dict[str, tuple[Instance, ...]] = {}
    unasked: dict[str, tuple[Instance, ...]] = {}
    for app, item in items.items():
        former = look.moves.get(app, "")
        there = {**found.get(former, {}), **found.get(app, {})}
        one = _One(item, goals[app], look, there)
        decision = one.decide(look.deployments.get(app) or look.deployments.get(former))
        decisions[app] = decision
        for assignment in decision.assignments:
            jail, spec = instance_jail(app, assignment.instance), one.spec_of(assignment.digest)
            if spec is None:
                adrift.add(jail)
            else:
                fleet[jail] = Member(assignment.instance, spec)
        if one.is_lagging(decision.deployment):
            lagging.add(app)
        serving[app], unasked[app] = one.serving(decision), one.unasked(decision)
    return Passage(
        decisions=decisions,
        goals=goals,
        fleet=fleet,
        adrift=frozenset(adrift),
        lagging=frozenset(lagging),
        serving=serving,
        unasked=unasked,
        several=frozenset(app for app, item in items.items() if _has_several(item)),
        orders={app: said for app, said in look.orders.items() if app in items},
        drain_s={name: cast("AppSpec", item.spec).strategy.drain_s for name, item in items.items()},
    )


def _has_several(item: Item) -> bool:
    app = cast("AppSpec", item.spec)
    return app.instances > 1 or app.strategy.kind in {"blue-green", "canary"}


def _by_app(found: Mapping[str, JailFacts]) -> Mapping[str, Mapping[Instance, JailFacts]]:
    by_app: defaultdict[str, dict[Instance, JailFacts]] = defaultdict(dict)
    for jail, facts in found.items():
        named = instance_of(jail)
        if named is not None:
            by_app[named[0]][named[1]] = facts
    return by_app


def _named(deployment: Deployment) -> set[str]:
    named = {each.digest for each in deployment.placed}
    if deployment.stable is not None:
        named.add(deployment.stable)
    if deployment.rollout is not None:
        named.add(deployment.rollout.target)
    return named


def _without_gap(deployment: Deployment, now: float) -> Deployment:
    return deployment if deployment.looked_at is None else replace(deployment, looked_at=now)


class _One:
    """One app at one look."""

    def __init__(
        self, item: Item, goal: str, look: Look, there: Mapping[Instance, JailFacts]
    ) -> None:
        self._item = item
        self._app = cast("AppSpec", item.spec)
        self._goal = goal
        self._look = look
        self._there = there
        self._facts: dict[Instance, InstanceFacts] = {}

    def decide(self, before: Deployment | None) -> Decision:
        deployment = self._known(before or Deployment())
        candidates = dict.fromkeys((self._goal, *sorted(_named(deployment)), *self._owned()))
        placed = {each.instance: each.digest for each in deployment.placed}
        for instance, facts in self._there.items():
            first = placed.get(instance, self._goal)
            version = self._version_in(facts, instance, (first, *candidates))
            self._facts[instance] = self._instance_facts(facts, instance, version)
        fallback = None if deployment.stable is None else self.spec_of(deployment.stable)
        wish = Wish(
            goal=self._goal,
            instances=self._app.instances,
            strategy=self._app.strategy,
            fallback=None if fallback is None else fallback.strategy,
        )
        orders = self._look.orders.get(self._item.name, ())
        if any(self._is_untouched(place, deployment.live) for place in deployment.placed):
            # Its step could not be taken, for want of its release perhaps: that says nothing about
            # the version, and nothing is lost, so no deadline passes meanwhile.
            deployment = _without_gap(deployment, self._look.now)
        return decide(deployment, wish, self._facts, self._look.now, orders)

    def _is_untouched(self, place: Placed, live: Colour) -> bool:
        """Whether what it is to run was never started there, and what ran before goes on."""
        facts = self._facts.get(place.instance)
        if facts is None:
            return place.colour is not live
        return facts.is_running and facts.digest != place.digest

    def spec_of(self, version: str) -> AppSpec | None:
        """The app at that version, under its name of today; None if nobody knows it any more."""
        if version == self._goal:
            return self._app
        kept = self._look.versions.get(version)
        if kept is None:
            return None
        return replace(cast("AppSpec", kept.spec), name=self._app.name)

    def is_lagging(self, deployment: Deployment) -> bool:
        """Whether some instance is still to be brought to what is wanted."""
        rollout = deployment.rollout
        if rollout is None or rollout.failure:
            return False
        live = [each for each in deployment.placed if each.colour is deployment.live]
        if rollout.mode is Mode.BESIDE or len(live) < self._app.instances:
            return True
        return any(each.digest != self._goal for each in live)

    def serving(self, decision: Decision) -> tuple[Instance, ...]:
        """Who gets traffic and answers it: what is replaced in this pass does not."""
        return tuple(
            each.instance
            for each in decision.assignments
            if each.takes_traffic
            and (facts := self._facts.get(each.instance)) is not None
            and facts.digest == each.digest
            and facts.is_well
        )

    def unasked(self, decision: Decision) -> tuple[Instance, ...]:
        """Who would get traffic and answer it, as far as is known before its probes are asked."""
        return tuple(
            each.instance
            for each in decision.assignments
            if each.takes_traffic
            and (facts := self._facts.get(each.instance)) is not None
            and facts.digest == each.digest
            and facts.is_running
            and self._at(facts.digest).is_judged
            and self._is_unasked(facts, each.instance)
        )

    def _is_unasked(self, facts: InstanceFacts, instance: Instance) -> bool:
        said = self._look.opinions.get(instance_jail(self._app.name, instance))
        return said is None or said.run != facts.run

    def _known(self, deployment: Deployment) -> Deployment:
        """Without a stable version that was lost: nothing can go back to it."""
        stable = deployment.stable
        if stable is None or self.spec_of(stable) is not None:
            return deployment
        return replace(deployment, stable=None)

    def _owned(self) -> tuple[str, ...]:
        """Versions of this app that are kept: what runs before anything is remembered of it."""
        if self._look.deployments.get(self._item.name) is not None:
            return ()
        kept = self._look.versions.items()
        return tuple(version for version, item in kept if item.name == self._item.name)

    def _version_in(self, facts: JailFacts, instance: Instance, candidates: Sequence[str]) -> str:
        for version in dict.fromkeys(candidates):
            spec = self.spec_of(version)
            if spec is None:
                continue
            made = render_member(Member(instance, spec), self._item.realm, self._look.machine)
            if made.program_digest() == facts.program_digest:
                return version
        return facts.program_digest or UNKNOWN

    def _instance_facts(self, facts: JailFacts, instance: Instance, version: str) -> InstanceFacts:
        is_done = facts.state is JailState.FAILED and facts.last_exit == _DONE
        is_running = facts.state is JailState.RUNNING or is_done
        opinion = None if is_done else self._opinion(facts, instance, version)
        said = "" if is_running else facts.last_exit
        drained = self._drained(facts, instance)
        hooks = self._at(version).hooks
        is_awaited = hooks.drain is not None and drained is None
        return InstanceFacts(
            digest=version,
            is_running=is_running,
            has_failed=facts.state is JailState.FAILED and not is_done,
            is_healthy=None if opinion is None else opinion.is_healthy,
            is_drained=drained is not None and drained.is_ok,
            drain_grace_s=hooks.timeout_s + PATIENCE_S if is_awaited else 0.0,
            run=run_of(facts),
            reason=said or ("" if opinion is None else opinion.reason),
        )

    def _at(self, version: str) -> AppSpec:
        """The app at that version, or as it is wanted if nobody knows it any more."""
        return self.spec_of(version) or self._app

    def _drained(self, facts: JailFacts, instance: Instance) -> Drained | None:
        said = self._look.drained.get(instance_jail(self._app.name, instance))
        return said if said is not None and said.run == run_of(facts) else None

    def _opinion(self, facts: JailFacts, instance: Instance, version: str) -> Opinion | None:
        """What its probes and its start hook say; None for a version without any."""
        if not self._at(version).is_judged:
            return None
        run = run_of(facts)
        said = self._look.opinions.get(instance_jail(self._app.name, instance))
        if said is None or said.run != run:
            return Opinion(run, is_healthy=False)
        return said
