"""The programs of a load test: publishers that keep a schedule, and subscribers that take events.

Each has a connection to its node of its own, as programs have. When the node goes they come back;
what was due meanwhile is refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maculaos.client import CallFailed, NodeUnreachable, connect
from maculaos.loadtest.phase import NODE_GONE
from maculaos.loadtest.stamps import Stamper

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from maculaos.client import Mesh
    from maculaos.host.clock import Clock
    from maculaos.loadtest.load import Load
    from maculaos.loadtest.schedule import Schedule

CONFIRM_TIMEOUT_S: Final = 30.0
# Events of one publisher that wait to be confirmed; as many go out at once where nothing is timed.
_WINDOW: Final = 1024
_BURST: Final = 64
_TRIAL_EVERY_S: Final = 0.02
_RETRY_S: Final = 0.1
_QUEUE: Final = 1_000_000


class Stage:
    """What all programs of a run share: the load, the clock, and the word to begin."""

    def __init__(self, load: Load, clock: Clock, topic: str) -> None:
        self.load = load
        self.clock = clock
        self.begun = asyncio.Event()
        self._topic = topic
        self._began_at = 0.0

    def begin(self) -> None:
        """The run begins now."""
        self._began_at = self.clock.monotonic()
        self.begun.set()

    def now_s(self) -> float:
        """Seconds since the run began."""
        return self.clock.monotonic() - self._began_at

    def topic_of(self, number: int) -> str:
        """The topic of the program of that number."""
        return f"{self._topic}.{number % self.load.scenario.topics}"


async def subscribe(stage: Stage, number: int, socket: Path) -> None:
    """Take events until cancelled."""
    load, now_s = stage.load, stage.now_s
    while True:
        try:
            async with (
                connect(socket, name=f"load-sub-{number}") as mesh,
                mesh.subscribe(stage.topic_of(number), queue_size=_QUEUE) as events,
            ):
                async for event in events:
                    load.take(number, event.payload, now_s())
        except NodeUnreachable:
            load.connections_lost += 1
            await stage.clock.wait(_RETRY_S)


class Publisher:
    """One publisher; ``schedule`` is None for one that publishes as quickly as it goes."""

    def __init__(
        self, stage: Stage, number: int, socket: Path, schedule: Schedule | None, rng: random.Random
    ) -> None:
        self.is_ready = asyncio.Event()
        self._stage = stage
        self._load = load = stage.load
        self._scenario = load.scenario
        self._number = number
        self._socket = socket
        self._topic = stage.topic_of(number)
        self._schedule = schedule
        self._stamper = Stamper(load.run, number, load.scenario.size, rng)
        self._trial = Stamper(load.run - 1, number, load.scenario.size, rng)
        self._sent = 0
        self._room = asyncio.Semaphore(_WINDOW)
        self._is_gone = False

    async def run(self) -> None:
        """Warm up, wait for the word, publish everything that is due; then return."""
        while True:
            self._is_gone = False
            try:
                async with connect(self._socket, name=f"load-pub-{self._number}") as mesh:
                    if not self._stage.begun.is_set():
                        await self._warm_up(mesh)
                        self.is_ready.set()
                        await self._stage.begun.wait()
                    await self._keep_schedule(mesh)
                    return
            except NodeUnreachable:
                self._load.connections_lost += 1
                self._refuse_due()
                await self._stage.clock.wait(_RETRY_S)

    async def _warm_up(self, mesh: Mesh) -> None:
        """Publish what does not count, until everyone has met and caches are warm."""
        clock, scenario = self._stage.clock, self._scenario
        share = scenario.rate / scenario.publishers
        burst = max(1, round(share * _TRIAL_EVERY_S)) if share else _BURST
        until = clock.monotonic() + scenario.warmup_s
        while not self._load.everyone_met or clock.monotonic() < until:
            many = burst if self._load.everyone_met else 1
            for _ in range(many):
                await mesh.publish(self._topic, self._trial.stamped(0, 0.0))
            await clock.wait(_TRIAL_EVERY_S)

    async def _keep_schedule(self, mesh: Mesh) -> None:
        async with asyncio.TaskGroup() as confirming:
            while not self._is_gone and (due := self._due()) is not None:
                while self._sent < due and not self._is_gone:
                    await self._publish(mesh, confirming)
                await self._pause()
        if self._is_gone:
            raise await mesh.wait_lost()

    async def _publish(self, mesh: Mesh, confirming: asyncio.TaskGroup) -> None:
        """Publish the next event."""
        now_s = self._stage.now_s()
        due_s = now_s if self._schedule is None else self._schedule.at_s(self._sent)
        sequence = self._load.publish(self._number, due_s, now_s)
        self._sent = sequence + 1
        payload = self._stamper.stamped(sequence, due_s)
        if self._scenario.acknowledge:
            await self._room.acquire()
            confirming.create_task(self._confirm(mesh, sequence, payload))
            return
        try:
            await mesh.publish(self._topic, payload)
        except NodeUnreachable:
            self._is_gone = True
            self._load.refuse(self._number, sequence, NODE_GONE, now_s)

    async def _confirm(self, mesh: Mesh, sequence: int, payload: bytes) -> None:
        """Publish, and note what the mesh says came of it."""
        try:
            await mesh.publish(self._topic, payload, timeout_s=CONFIRM_TIMEOUT_S)
        except CallFailed as error:
            self._load.refuse(self._number, sequence, error.code, self._stage.now_s())
        except NodeUnreachable:
            self._is_gone = True
            self._load.refuse(self._number, sequence, NODE_GONE, self._stage.now_s())
        else:
            self._load.confirm(self._number, sequence)
        finally:
            self._room.release()

    def _due(self) -> int | None:
        """How many events are due by now, in all; None when all are out."""
        now_s = self._stage.now_s()
        if self._schedule is None:
            return self._sent + _BURST if now_s < self._scenario.duration_s else None
        return None if self._sent >= self._schedule.total else self._schedule.due(now_s)

    async def _pause(self) -> None:
        """Until the next event is due; a turn of the loop where nothing is timed."""
        wait_s = 0.0
        if self._schedule is not None and self._sent < self._schedule.total:
            wait_s = self._schedule.at_s(self._sent) - self._stage.now_s()
        await asyncio.sleep(max(0.0, wait_s))

    def _refuse_due(self) -> None:
        """While there is no node, what is due cannot be published."""
        if not self._stage.begun.is_set() or self._schedule is None:
            return
        now_s = self._stage.now_s()
        while self._sent < (self._due() or 0):
            due_s = self._schedule.at_s(self._sent)
            sequence = self._load.publish(self._number, due_s, now_s)
            self._load.refuse(self._number, sequence, NODE_GONE, now_s)
            self._sent = sequence + 1
