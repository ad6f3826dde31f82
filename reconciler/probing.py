"""The probes of the apps that run, asked on and on: what they say goes to the rollouts.

A task of the daemon. Which program is asked what, and how often, its spec says; what the answers
amount to is judged in ``reconciler.probes``. A new judgement is told, so that the work looks again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from jails.spec import JailState
from reconciler.machine import placement_of
from reconciler.passage import Opinion, run_of
from reconciler.placement import socket_path
from reconciler.probes.judge import State
from reconciler.probes.run import Place, Prober
from reconciler.probes.watch import HealthWatch, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from jails.runtime import Runtime
    from maculaos.host.clock import Clock
    from reconciler.hooks.attendant import Attendant
    from reconciler.hooks.record import Ended
    from reconciler.observed import World
    from reconciler.passage import Passage
    from reconciler.probes.judge import Judgement
    from reconciler.settings import ReconcilerSettings
    from reconciler.specs.spec import AppSpec

    Claimed: TypeAlias = Callable[[], Passage | None]
    Heard: TypeAlias = Callable[[Mapping[str, Opinion], Mapping[str, Ended]], None]

# How long until a program that was just started is seen, and how many rounds may be open.
TICK_S: Final = 0.2
MOST_ROUNDS: Final = 50
SHORTEST_S: Final = 0.02


class Probing:
    """Asks for one reconciler, until it is cancelled."""

    def __init__(
        self,
        settings: ReconcilerSettings,
        runtime: Runtime,
        clock: Clock,
        attendant: Attendant,
    ) -> None:
        """``attendant`` runs the hooks that come before the first question."""
        self._settings = settings
        self._attendant = attendant
        self._clock = clock
        self._prober = Prober(runtime, clock)
        self._watch = HealthWatch(self._prober, clock)
        self._placement = placement_of(settings, runtime.name)
        self._runs: dict[str, str] = {}

    async def run(self, world: Callable[[], World], claimed: Claimed, heard: Heard) -> None:
        """Ask what is due in ``world()``; ``heard`` is called whenever something is new.

        ``claimed()`` is what was written down of rollouts last: who drains has lost its traffic.
        """
        rounds: set[asyncio.Task[Mapping[str, Judgement]]] = set()
        told: tuple[Mapping[str, Opinion], Mapping[str, Ended]] = ({}, {})
        try:
            while True:
                self._attendant.attend(world(), claimed())
                self._ask(world(), rounds)
                await self._pause(rounds)
                said = (self._opinions(world()), self._attendant.drained)
                if said != told:
                    told = said
                    heard(*said)
        finally:
            self._attendant.close()
            for each in rounds:
                each.cancel()
            self._prober.close()

    def _ask(self, world: World, rounds: set[asyncio.Task[Mapping[str, Judgement]]]) -> None:
        """Begin a round; one that hangs goes on by itself and holds up no other."""
        watched = self._watched(world)
        runs = {each.place.jail: each.run for each in watched}
        due_at = self._watch.next_at()
        is_due = due_at is not None and due_at <= self._clock.monotonic()
        if (is_due or runs != self._runs) and len(rounds) < MOST_ROUNDS:
            self._runs = runs
            rounds.add(asyncio.create_task(self._watch.round(watched)))

    async def _pause(self, rounds: set[asyncio.Task[Mapping[str, Judgement]]]) -> None:
        """Until an answer came, a probe is due, or a program may have been started."""
        due_at = self._watch.next_at()
        until_s = TICK_S if due_at is None else due_at - self._clock.monotonic()
        wait_s = min(TICK_S, max(SHORTEST_S, until_s))
        if not rounds:
            await asyncio.sleep(wait_s)
            return
        done, _ = await asyncio.wait(rounds, timeout=wait_s)
        for each in done:
            rounds.discard(each)
            each.result()

    def _watched(self, world: World) -> list[Watched]:
        fleet = {} if world.passage is None else world.passage.fleet
        return [
            Watched(
                place=self._place(jail, member.app, world),
                health=member.app.health,
                run=run_of(facts),
            )
            for jail, member in fleet.items()
            if member.app.health is not None
            and (facts := world.found.get(jail)) is not None
            and facts.state is JailState.RUNNING
            and not self._attendant.obstacle(jail, member.app, run_of(facts))
        ]

    def _place(self, jail: str, app: AppSpec, world: World) -> Place:
        socket = socket_path(self._settings.run_dir, app.node)
        placement = self._placement if world.rendered is None else world.rendered.placement
        held = placement.ports_of(jail, app.ports)
        ports: dict[str | int, int] = {}
        for port in app.ports:
            if port.protocol == "tcp" and port.name in held:
                ports[port.name] = ports[port.port] = held[port.name]
        own = placement.own_network
        if own is None:
            return Place(jail=jail, socket=socket, ports=ports)
        return Place(jail=jail, address=own.address_of(jail), socket=socket, ports=ports)

    def _opinions(self, world: World) -> dict[str, Opinion]:
        """What the probes say; of an app with a start hook, what that says before them."""
        asked = self._asked()
        fleet = {} if world.passage is None else world.passage.fleet
        for jail, member in fleet.items():
            facts = world.found.get(jail)
            is_running = facts is not None and facts.state is JailState.RUNNING
            if facts is None or not is_running or member.app.hooks.start is None:
                continue
            obstacle = self._attendant.obstacle(jail, member.app, run_of(facts))
            if obstacle or member.app.health is None:
                asked[jail] = Opinion(run_of(facts), not obstacle, obstacle)
        return asked

    def _asked(self) -> dict[str, Opinion]:
        return {
            jail: Opinion(self._runs[jail], judged.state is State.HEALTHY, judged.reason)
            for jail, judged in self._watch.judgements().items()
            if jail in self._runs
        }
