"""The programs of a load test: publishers that keep a schedule, and subscribers that take events.

Each has a connection to its node of its own, as programs have. When the node goes they wait for it
to come back. What is due meanwhile is refused at once, unless it is to be acknowledged: then the
client keeps it, and sends it again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.client import CallFailed, NodeUnreachable, connect
from maculaos.loadtest.phase import NODE_GONE
from maculaos.loadtest.stamps import Stamper

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from maculaos.client import Event, Mesh
    from maculaos.host.clock import Clock
    from maculaos.loadtest.load import Load
    from maculaos.loadtest.schedule import Schedule

CONFIRM_TIMEOUT_S: Final = 30.0
# Events of one publisher that wait to be confirmed.
_WINDOW: Final = 1024
# Events that go out at once where nothing is timed.
_BURST: Final = 64
_TRIAL_EVERY_S: Final = 0.02
# How often a publisher looks whether its node is still there.
_LOOK_S: Final = 0.1
# Events that the node may send ahead of a tester that is busy.
_QUEUE: Final = 100_000
# States of the client: there is a node; there was one, and it is looked for.
_CONNECTED: Final = "connected"
_LOST: Final = "reconnecting"


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
        """Seconds since the run began; 0 before."""
        return self.clock.monotonic() - self._began_at if self.begun.is_set() else 0.0

    def topic_of(self, number: int) -> str:
        """The topic of the program of that number."""
        return f"{self._topic}.{number % self.load.scenario.topics}"


async def subscribe(stage: Stage, number: int, socket: Path) -> None:
    """Take events until cancelled; raises ``NodeUnreachable`` if there is no node to begin with."""
    load, now_s = stage.load, stage.now_s

    def take(event: Event) -> None:
        load.take(number, event.payload, now_s())

    def watch(state: str) -> None:
        if state == _LOST:
            load.leave(number, now_s())

    async with connect(socket, name=f"load-sub-{number}") as mesh:
        mesh.on_state(watch)
        async with mesh.subscribe(
            stage.topic_of(number), queue_size=_QUEUE, callback=take
        ) as events:
            await events.ready()
            await asyncio.Event().wait()


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

    async def run(self) -> None:
        """Warm up, wait for the word, publish everything that is due; then return.

        Raises ``NodeUnreachable`` if there is no node to begin with.
        """
        async with connect(self._socket, name=f"load-pub-{self._number}") as mesh:
            mesh.on_state(self._watch)
            await self._warm_up(mesh)
            self.is_ready.set()
            await self._stage.begun.wait()
            if self._scenario.acknowledge:
                await self._publish_surely(mesh)
            else:
                await self._publish_quickly(mesh)

    def _watch(self, state: str) -> None:
        if state == _LOST:
            self._load.connections_lost += 1

    async def _warm_up(self, mesh: Mesh) -> None:
        """Publish what does not count, until everyone has met and caches are warm."""
        clock, scenario = self._stage.clock, self._scenario
        share = scenario.rate / scenario.publishers
        burst = max(1, round(share * _TRIAL_EVERY_S)) if share else _BURST
        until = clock.monotonic() + scenario.warmup_s
        while not self._load.everyone_met or clock.monotonic() < until:
            for _ in range(burst if self._load.everyone_met else 1):
                mesh.publish_now(self._topic, self._trial.stamped(0, 0.0))
            await mesh.drain()
            await clock.wait(_TRIAL_EVERY_S)

    async def _publish_quickly(self, mesh: Mesh) -> None:
        """At most once: nothing is waited for but room."""
        while (due := self._due()) is not None:
            if self._schedule is None and mesh.state != _CONNECTED:
                # Nothing is owed to a schedule: what would be refused at once is not even made.
                await self._stage.clock.wait(_LOOK_S)
                continue
            while self._sent < due:
                sequence, payload = self._next()
                try:
                    if mesh.state != _CONNECTED:
                        raise CallFailed(NODE_GONE, "")
                    mesh.publish_now(self._topic, payload)
                except CallFailed as error:
                    self._refuse(sequence, error.code)
            await self._wait_for_room(mesh)
            await self._pause()

    async def _publish_surely(self, mesh: Mesh) -> None:
        """At least once: so many at a time, and what the mesh says of each."""
        async with asyncio.TaskGroup() as confirming:
            while (due := self._due()) is not None:
                while self._sent < due:
                    await self._room.acquire()
                    confirming.create_task(self._confirm(mesh, *self._next()))
                await self._pause()

    async def _confirm(self, mesh: Mesh, sequence: int, payload: bytes) -> None:
        """Publish, and note what the mesh says came of it."""
        try:
            await mesh.publish(self._topic, payload, CONFIRM_TIMEOUT_S, acknowledge=True)
        except CallFailed as error:
            self._refuse(sequence, error.code)
        except NodeUnreachable:
            self._refuse(sequence, NODE_GONE)
        else:
            self._load.confirm(self._number, sequence)
        finally:
            self._room.release()

    def _next(self) -> tuple[int, bytes]:
        """The next event goes out now: its number and payload."""
        now_s = self._stage.now_s()
        due_s = now_s if self._schedule is None else self._schedule.at_s(self._sent)
        sequence = self._load.publish(self._number, due_s, now_s)
        self._sent = sequence + 1
        return sequence, self._stamper.stamped(sequence, due_s)

    def _refuse(self, sequence: int, code: str) -> None:
        self._load.refuse(self._number, sequence, code, self._stage.now_s())

    def _due(self) -> int | None:
        """How many events are due by now, in all; None when all are out."""
        now_s = self._stage.now_s()
        if self._schedule is None:
            return self._sent + _BURST if now_s < self._scenario.duration_s else None
        return None if self._sent >= self._schedule.total else self._schedule.due(now_s)

    async def _wait_for_room(self, mesh: Mesh) -> None:
        """Until the node takes more; one that is gone is not waited for."""
        while mesh.state == _CONNECTED:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await mesh.drain()
                    return

    async def _pause(self) -> None:
        """Until the next event is due; a turn of the loop where nothing is timed."""
        wait_s = 0.0
        if self._schedule is not None and self._sent < self._schedule.total:
            wait_s = self._schedule.at_s(self._sent) - self._stage.now_s()
        await asyncio.sleep(max(0.0, wait_s))
