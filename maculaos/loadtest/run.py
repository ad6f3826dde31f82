"""One run of a load test: programs at their nodes, faults at their times, and the end of it all."""

from __future__ import annotations

import asyncio
import heapq
import math
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError
from maculaos.loadtest.faults import Kind
from maculaos.loadtest.load import Load
from maculaos.loadtest.outcome import outcome_of
from maculaos.loadtest.phase import Phase
from maculaos.loadtest.programs import Publisher, Stage, subscribe
from maculaos.loadtest.schedule import spread

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from maculaos.host.clock import Clock
    from maculaos.loadtest.faults import Fault
    from maculaos.loadtest.outcome import Outcome
    from maculaos.loadtest.scenario import Scenario
    from maculaos.loadtest.site import Site

SETTLE_DEADLINE_S: Final = 60.0
# After the last event went out: so long without any delivery means that no more will come.
QUIET_S: Final = 3.0
# What is acknowledged is offered again, after faults for as long as its node may be missed.
QUIET_AFTER_FAULTS_S: Final = 12.0
DRAIN_DEADLINE_S: Final = 100.0
_POLL_S: Final = 0.02


class Run:
    """One run at nodes that are up; look at it while it runs, then take its outcome."""

    def __init__(
        self, scenario: Scenario, site: Site, clock: Clock, rng: random.Random, number: int
    ) -> None:
        """``number`` (1 to 2**32 - 1) is this run's own: runs at the same nodes differ by it."""
        self.phase = Phase.SETTLING
        # The faults that have begun and are not over.
        self.afflictions: list[Fault] = []
        self.load = Load(scenario, number)
        self._scenario = scenario
        self._site = site
        self._clock = clock
        self._stage = Stage(self.load, clock, f"loadtest.r{self.load.run:08x}")
        self._publishers = self._cast(rng)
        self._last_delivery_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds since events count; 0 before."""
        return 0.0 if self.phase is Phase.SETTLING else self._stage.now_s()

    async def perform(self) -> Outcome:
        """Do it all; raises ``MaculaError`` if programs do not even meet before it begins."""
        try:
            published_for_s = await self._play()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        self.phase = Phase.OVER
        # Counted up to the last delivery, so that waiting for more makes no mesh look slow.
        return outcome_of(self.load, published_for_s, max(published_for_s, self._last_delivery_s))

    async def _play(self) -> float:
        """Everything from the first word to the last delivery; for how long was published."""
        async with asyncio.TaskGroup() as tasks:
            listening = [
                tasks.create_task(subscribe(self._stage, number, self._socket(place)))
                for number, place in self._subscriber_places()
            ]
            publishing = [tasks.create_task(each.run()) for each in self._publishers]
            await self._settle()
            self._stage.begin()
            self.phase = Phase.RUNNING
            afflicting = tasks.create_task(self._afflict())
            await asyncio.wait([*publishing, afflicting])
            published_for_s = self._stage.now_s()
            await self._drain()
            for each in listening:
                each.cancel()
        return published_for_s

    def _cast(self, rng: random.Random) -> list[Publisher]:
        scenario = self._scenario
        schedules = (
            spread(scenario.rate, scenario.publishers, scenario.duration_s)
            if scenario.rate
            else (None,) * scenario.publishers
        )
        return [
            Publisher(
                self._stage, number, self._socket(scenario.publisher_place(number)), schedule, rng
            )
            for number, schedule in enumerate(schedules)
        ]

    def _subscriber_places(self) -> list[tuple[int, int]]:
        places = self._scenario.subscriber_place
        return [(number, places(number)) for number in range(self._scenario.subscribers)]

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S + self._scenario.warmup_s):
                for each in self._publishers:
                    await each.is_ready.wait()
        except TimeoutError:
            raise MaculaError(
                f"not every subscriber hears its publishers within {SETTLE_DEADLINE_S:g} s"
            ) from None

    async def _drain(self) -> None:
        """Wait until everything has come, or nothing comes any more."""
        self.phase = Phase.DRAINING
        is_long = self._scenario.faults and self._scenario.acknowledge
        quiet_s = QUIET_AFTER_FAULTS_S if is_long else QUIET_S
        checker, delivered = self.load.checker, -1
        ends_at = self._stage.now_s() + DRAIN_DEADLINE_S
        while not checker.is_complete() and self._stage.now_s() < ends_at:
            if checker.delivered != delivered:
                delivered, self._last_delivery_s = checker.delivered, self._stage.now_s()
            elif self._stage.now_s() > self._last_delivery_s + quiet_s:
                return
            await self._clock.wait(_POLL_S)
        self._last_delivery_s = self._stage.now_s()

    async def _afflict(self) -> None:
        """Let every fault begin and end at its time."""
        turns: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        for number, fault in enumerate(self._scenario.faults):
            heapq.heappush(turns, (fault.at_s, 2 * number, self._beginning(fault)))
            if not math.isinf(fault.until_s):
                heapq.heappush(turns, (fault.until_s, 2 * number + 1, self._ending(fault)))
        while turns:
            at_s, _, turn = heapq.heappop(turns)
            await self._clock.wait(max(0.0, at_s - self._stage.now_s()))
            await turn()

    def _beginning(self, fault: Fault) -> Callable[[], Awaitable[None]]:
        async def begin() -> None:
            self.afflictions.append(fault)
            match fault.kind:
                case Kind.KILL:
                    await self._site.kill(fault.node)
                case Kind.PAUSE:
                    self._site.pause(fault.node)
                case Kind.LOSS:
                    self._site.lose(fault.node, fault.share)

        return begin

    def _ending(self, fault: Fault) -> Callable[[], Awaitable[None]]:
        async def end() -> None:
            self.afflictions.remove(fault)
            match fault.kind:
                case Kind.KILL:
                    await self._site.start(fault.node)
                case Kind.PAUSE:
                    self._site.resume(fault.node)
                case Kind.LOSS:
                    self._site.lose(fault.node, 0.0)

        return end

    def _socket(self, place: int) -> Path:
        return self._site.sockets[place]
