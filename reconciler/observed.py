"""Each node and app as it stands: what is wanted, what was found and what it answered, in one.

Pure: the facts come in, lines of the status go out. It decides nothing about steps; that is
``reconciler.plan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jails.spec import JailFacts, JailState
from reconciler.names import instance_in, kind_and_name
from reconciler.passage import Opinion, Passage, run_of, trouble
from reconciler.render import Rendered
from reconciler.rollouts.deployment import Phase, Standing
from reconciler.specs.desired import Desired
from reconciler.status import ItemStatus, MemberCount


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHealth:
    """What one node answered; ``reason`` says why it did not, if it did not."""

    answers: bool
    reason: str = ""
    members_alive: int = 0
    members_known: int = 0
    links: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that is known about the jails, by jail name (``health`` by node name)."""

    desired: Desired | None = None
    rendered: Rendered | None = None
    found: Mapping[str, JailFacts] = field(default_factory=dict)
    health: Mapping[str, NodeHealth] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    # Where the apps are on their way between versions; None before the first look.
    passage: Passage | None = None
    # What the probes say, by jail.
    opinions: Mapping[str, Opinion] = field(default_factory=dict)
    # Of those, the jails whose step fails again until somebody changes something.
    hopeless: frozenset[str] = frozenset()
    # What nodes that are not running wrote last.
    last_words: Mapping[str, str] = field(default_factory=dict)

    @property
    def blocked(self) -> Mapping[str, str]:
        """Why jails that are wanted cannot run on this machine."""
        return {} if self.rendered is None else self.rendered.blocked

    @property
    def broken(self) -> Mapping[str, str]:
        """What is wrong with the files of jails, which stay as they are until it is mended."""
        return {} if self.rendered is None else self.rendered.broken


def items(world: World, now: float, deadline_s: float) -> tuple[ItemStatus, ...]:
    """A line for every jail, nodes first; one not ready ``deadline_s`` after its start stalls."""
    wanted = set() if world.rendered is None else {*world.rendered.jails}
    jails = {*wanted, *world.blocked, *world.broken, *world.found}
    order = sorted(jails, key=lambda jail: (kind_and_name(jail)[0] != "node", jail))
    rollouts = {} if world.passage is None else world.passage.standings()
    return tuple(_Item(world, jail, now, deadline_s, rollouts).status() for jail in order)


@dataclass(frozen=True, slots=True)
class _Item:
    world: World
    jail: str
    now: float
    deadline_s: float
    rollouts: Mapping[str, Standing]

    @property
    def _rollout(self) -> Standing | None:
        """How its app stands between its versions, if that is worth a word."""
        kind, name = kind_and_name(self.jail)
        standing = self.rollouts.get(name) if kind == "app" else None
        return None if standing is None or standing.phase is Phase.STABLE else standing

    @property
    def _is_reverted(self) -> bool:
        rollout = self._rollout
        return rollout is not None and bool(trouble({"": rollout}))

    @property
    def _has_given_up(self) -> bool:
        rollout = self._rollout
        return rollout is not None and rollout.phase in {Phase.REVERTED, Phase.FAILED}

    @property
    def _opinion(self) -> Opinion | None:
        """What its probes say of this run; None without probes."""
        passage, facts = self.world.passage, self._facts
        member = None if passage is None else passage.fleet.get(self.jail)
        if member is None or facts is None or not member.app.is_judged:
            return None
        said = self.world.opinions.get(self.jail)
        is_known = said is not None and said.run == run_of(facts)
        return said if is_known else Opinion(run_of(facts), is_healthy=False)

    @property
    def _facts(self) -> JailFacts | None:
        return self.world.found.get(self.jail)

    @property
    def _health(self) -> NodeHealth | None:
        kind, name = kind_and_name(self.jail)
        return self.world.health.get(name) if kind == "node" else None

    @property
    def _is_running(self) -> bool:
        return self._facts is not None and self._facts.state is JailState.RUNNING

    @property
    def _is_ready(self) -> bool:
        if not self._is_running or self.jail in self.world.broken:
            return False
        is_node = kind_and_name(self.jail)[0] == "node"
        if is_node:
            return self._health is not None and self._health.answers
        opinion = self._opinion
        return not self._is_reverted and (opinion is None or opinion.is_healthy)

    def status(self) -> ItemStatus:
        kind, name = kind_and_name(self.jail)
        facts, health = self._facts, self._health if self._is_running else None
        counted = health is not None and health.answers
        return ItemStatus(
            name=name,
            kind=kind,
            instance=instance_in(self.jail),
            rollout="" if self._rollout is None else str(self._rollout.phase),
            reverted=self._is_reverted,
            state=self._state(),
            ready=self._is_ready,
            reason=self._reason(),
            stalled=self._is_stalled(),
            broken=self.jail in self.world.broken,
            pid=facts.pid if facts else None,
            restarts=facts.restarts if facts else 0,
            address=self._address(kind, name),
            members=MemberCount(alive=health.members_alive, known=health.members_known)
            if health is not None and counted
            else None,
            since=facts.started_at if facts else None,
        )

    def _state(self) -> str:
        if self._facts is not None:
            return str(self._facts.state)
        if self.jail in self.world.broken:
            return "broken"
        return "blocked" if self.jail in self.world.blocked else "absent"

    def _reason(self) -> str:
        """The most telling thing first: what somebody must do, then what failed, then exits."""
        for reasons in (self.world.broken, self.world.blocked, self.world.failures):
            if self.jail in reasons:
                return reasons[self.jail]
        rollout = self._rollout
        if rollout is not None and rollout.phase not in {Phase.PROGRESSING, Phase.DRAINING}:
            return rollout.message
        if self._facts is None:
            return "not started yet"
        if not self._is_running:
            said = (self._facts.last_exit, self.world.last_words.get(self.jail, ""))
            return ": ".join(filter(None, said))
        if self._health is not None and not self._health.answers:
            return self._health.reason
        opinion = self._opinion
        if opinion is not None and not opinion.is_healthy:
            return opinion.reason or "its probes have not answered yet"
        return ""

    def _is_stalled(self) -> bool:
        if self.jail in self.world.hopeless:
            return True
        if self._is_ready:
            return False
        if self.jail in self.world.broken or self._has_given_up:
            return True
        facts = self._facts
        if facts is None:
            return self.jail in self.world.blocked
        is_late = facts.started_at is not None and self.now > facts.started_at + self.deadline_s
        return facts.state is JailState.FAILED or (self._is_running and is_late)

    def _address(self, kind: str, name: str) -> str:
        rendered = self.world.rendered
        return rendered.reach.get(name, "") if rendered is not None and kind == "node" else ""
