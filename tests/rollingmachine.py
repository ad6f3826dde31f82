"""A machine that runs what a rollout assigns: versions are good or bad, programs crash and heal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reconciler.rollouts.decide import decide
from reconciler.rollouts.decision import Decision, InstanceFacts, Order, Wish
from reconciler.rollouts.deployment import Deployment, decode_deployment, encode_deployment
from reconciler.rollouts.instances import Colour, Instance


@dataclass
class Program:
    """What runs in one instance; healthy so many seconds after its start."""

    digest: str
    started_at: float
    run: int
    is_down: bool = False
    takes_traffic: bool = True


@dataclass
class RollingMachine:
    """Looks, decides, remembers as JSON, acts; and counts its own, true time."""

    wish: Wish
    # Seconds until a version is healthy; a version that is not listed never is.
    good: dict[str, float] = field(default_factory=dict)
    deployment: Deployment = field(default_factory=Deployment)
    programs: dict[Instance, Program] = field(default_factory=dict)
    now: float = 1000.0
    # What the clock of the reconciler is ahead of the true time.
    clock_error: float = 0.0
    runs: int = 0
    events: list[str] = field(default_factory=list)
    # Whether instances of an app without probes are looked at: healthy while they run.
    is_probed: bool = True
    last: Decision | None = None
    # By version, how long its drain hook may take on top of a drain; and where one was content.
    drain_hooks: dict[str, float] = field(default_factory=dict)
    drained: set[Instance] = field(default_factory=set)
    # By instance, which start of its program was seen well, and in true time since when.
    well: dict[Instance, tuple[int, float]] = field(default_factory=dict)

    def is_healthy(self, instance: Instance) -> bool:
        """Whether the program there answers well."""
        program = self.programs.get(instance)
        if program is None or program.is_down or program.digest not in self.good:
            return False
        return self.now - program.started_at >= self.good[program.digest]

    def serving(self) -> list[Instance]:
        """Instances with traffic that answer well."""
        return [
            each
            for each, program in self.programs.items()
            if program.takes_traffic and self.is_healthy(each)
        ]

    def facts(self) -> dict[Instance, InstanceFacts]:
        """What a look at the machine says."""
        return {
            each: InstanceFacts(
                digest=program.digest,
                is_running=not program.is_down,
                is_healthy=self.is_healthy(each) if self.is_probed else None,
                run=str(program.run),
                is_drained=each in self.drained,
                drain_grace_s=self.drain_hooks.get(program.digest, 0.0),
            )
            for each, program in self.programs.items()
        }

    def look(self, *orders: Order, dies: bool = False) -> Decision:
        """One look; with ``dies`` the reconciler is killed before it could act."""
        self._see()
        # A reconciler that is started again knows nothing but this.
        deployment = decode_deployment(encode_deployment(self.deployment))
        decision = decide(deployment, self.wish, self.facts(), self.now + self.clock_error, orders)
        self.deployment, self.last = decision.deployment, decision
        self.events += decision.events
        if not dies:
            self.act(decision)
        return decision

    def _see(self) -> None:
        healthy = {each: p.run for each, p in self.programs.items() if self.is_healthy(each)}
        before = self.well
        self.well = {
            each: before[each] if each in before and before[each][0] == run else (run, self.now)
            for each, run in healthy.items()
        }

    def act(self, decision: Decision) -> None:
        """Make the machine what was decided."""
        wanted = {each.instance: each for each in decision.assignments}
        for gone in self.programs.keys() - wanted.keys():
            del self.programs[gone]
        for instance, assignment in wanted.items():
            program = self.programs.get(instance)
            if program is None or program.digest != assignment.digest:
                self.start(instance, assignment.digest)
            self.programs[instance].takes_traffic = assignment.takes_traffic

    def start(self, instance: Instance, digest: str) -> None:
        """A new program, which is not healthy at once."""
        self.runs += 1
        self.programs[instance] = Program(digest, self.now, self.runs)

    def want(self, goal: str = "", instances: int = 0) -> None:
        """Git says something else."""
        wish = self.wish
        self.wish = replace(wish, goal=goal or wish.goal, instances=instances or wish.instances)

    def run_until_quiet(self, most_s: float = 20_000.0) -> float:
        """Look as often as is asked for, until nothing is; the seconds that it took."""
        begun = self.now
        while self.now - begun < most_s:
            decision = self.look()
            if decision.next_at is None:
                return self.now - begun
            self.now = decision.next_at - self.clock_error
        raise AssertionError(f"not quiet after {most_s:g} s: {self.deployment}")

    def digests(self) -> dict[str, str]:
        """What runs where."""
        return {str(each): self.programs[each].digest for each in sorted(self.programs)}

    def colours_with_traffic(self) -> set[Colour]:
        """Blue, green or both, wherever traffic goes."""
        return {
            each.colour
            for each, program in self.programs.items()
            if program.takes_traffic and each.colour is not Colour.CANARY
        }
