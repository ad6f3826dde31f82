"""What every driver does with its peer: subscribe, publish, answer, call; the same words for all.

A driver is one program and one process: ``python -m peers.nats_driver ROLE ...``. It says what it
found as lines of JSON, and is told what to do by lines on its standard input. It waits for nothing
but that: who starts and ends drivers, and brokers, is ``bench.contest``. Needs the standard library
only, because peers live in an environment of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

Take: TypeAlias = Callable[[bytes], None]
Payloads: TypeAlias = "list[bytes]"

# What is said until everybody hears it; no payload that is counted has this size.
WARM = [b"warm"]
RUN_UP_S = 0.5
# Payloads that differ, so that nobody saves work by compressing them.
DIFFERENT = 100
WARM_EVERY_S = 0.05
PATIENCE_S = 60.0
# Nothing more comes, if nothing came for so long.
QUIET_S = 1.0
CLOCK = time.perf_counter


@dataclass(frozen=True, slots=True)
class Task:
    """One part in a measurement, as the command line tells it."""

    role: str
    # Names this part among all of the measurement.
    name: str
    size: int
    seconds: float
    in_flight: int
    topics: int
    # Where a peer that needs no broker listens; 0: nowhere.
    listen: int
    # The ports of the broker, or of all those to connect to.
    dial: tuple[int, ...]
    # Certificates and settings of this part: see ``bench.contest``.
    folder: Path

    def topic(self, number: int) -> str:
        """One of the topics, in the words of the peer with dots."""
        return f"bench.topic.{number % self.topics}"


class Peer(ABC):
    """A way to publish and subscribe; open while it is used."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect, and disconnect at the end."""
        yield

    @abstractmethod
    async def subscribe(self, take: Take) -> None:
        """Give every message on every topic to ``take``; on the loop or in a thread of the peer."""

    @abstractmethod
    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """Publish all of them once, then again and again until that time; return how many.

        At most once, as fast as it goes; a turn of the loop for each time.
        """


class Acknowledging(Peer):
    """One that can say what has arrived."""

    @abstractmethod
    async def publish_acknowledged(self, payloads: Payloads, until_s: float) -> int:
        """The same at least once, with ``in_flight`` on their way; all of them have arrived."""


class Calling(Peer):
    """One that knows calls."""

    @abstractmethod
    async def serve(self) -> None:
        """Answer calls with what they carry."""

    @abstractmethod
    async def call(self, payload: bytes) -> bytes:
        """The answer to one call; raises ``OSError`` or ``TimeoutError`` if there is none."""


class Tally:
    """Counts what arrives; a thread of a peer may do so."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.last_s = 0.0
        # Of this process, when the first one came.
        self.began_cpu_s = 0.0
        self.is_warm = False
        self._size = size

    def take(self, payload: bytes) -> None:
        """One message."""
        if len(payload) == self._size:
            if not self.count:
                self.began_cpu_s = time.process_time()
            self.count += 1
            self.last_s = CLOCK()
        else:
            self.is_warm = True


class Orders:
    """Lines on the standard input."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def open(cls) -> Orders:
        """Begin to read."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return cls(reader)

    async def next(self) -> list[str]:
        """The words of the next line; raises ``EOFError`` when there is none."""
        line = await self._reader.readline()
        if not line:
            raise EOFError("nobody tells what to do")
        return line.decode().split()


def say(**facts: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def _subscribe(peer: Peer, orders: Orders) -> None:
    tally = Tally(peer.task.size)
    await peer.subscribe(tally.take)
    say(ready=True)
    async with asyncio.timeout(PATIENCE_S):
        # Polled, here and below: an event for each message would be measured, too.
        while not tally.is_warm:  # noqa: ASYNC110
            await asyncio.sleep(WARM_EVERY_S)
    say(warm=True)
    wanted = int((await orders.next())[0])
    while tally.count < wanted and CLOCK() - tally.last_s < QUIET_S:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    used_s = time.process_time() - tally.began_cpu_s
    say(count=tally.count, last_s=tally.last_s, cpu_s=used_s, rss_kib=_resident_kib())


async def _publish(peer: Peer, orders: Orders) -> None:
    task = peer.task
    say(ready=True)
    await _warm_up(peer, orders)
    send = peer.publish if task.role == "publish" else _acknowledging(peer).publish_acknowledged
    # Windows open, and paths are found out: of another size, so not counted.
    await send([os.urandom(task.size + 1) for _ in range(DIFFERENT)], CLOCK() + RUN_UP_S)
    await asyncio.sleep(RUN_UP_S)
    payloads = [os.urandom(task.size) for _ in range(DIFFERENT)]
    say(running=True)
    cpu_s, began_s = time.process_time(), CLOCK()
    count = await send(payloads, began_s + task.seconds)
    used_s = time.process_time() - cpu_s
    say(count=count, began_s=began_s, ended_s=CLOCK(), cpu_s=used_s, rss_kib=_resident_kib())
    await orders.next()


async def _warm_up(peer: Peer, orders: Orders) -> None:
    """Say something small until we are told that all have heard it."""
    told = asyncio.ensure_future(orders.next())
    while not told.done():
        await peer.publish(WARM, 0.0)
        await asyncio.wait([told], timeout=WARM_EVERY_S)
    # What is on its way arrives before anything is counted.
    await asyncio.sleep(2 * WARM_EVERY_S)


async def _serve(peer: Peer, orders: Orders) -> None:
    await _calling(peer).serve()
    say(ready=True)
    await orders.next()
    say(rss_kib=_resident_kib())


async def _call(any_peer: Peer, orders: Orders) -> None:
    peer = _calling(any_peer)
    say(ready=True)
    payload = os.urandom(peer.task.size)
    deadline = CLOCK() + PATIENCE_S
    while not await _answered(peer, payload) and CLOCK() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(WARM_EVERY_S)
    for _ in range(50):
        await peer.call(payload)
    say(warm=True)
    await orders.next()
    took: list[float] = []
    cpu_s, began_s = time.process_time(), CLOCK()
    until_s = began_s + peer.task.seconds
    callers = [_call_on(peer, payload, until_s, took) for _ in range(peer.task.in_flight)]
    await asyncio.gather(*callers)
    used_s, lasted_s = time.process_time() - cpu_s, CLOCK() - began_s
    took.sort()
    p50, p99 = (took[int(len(took) * part)] * 1e6 for part in (0.5, 0.99))
    say(count=len(took), lasted_s=lasted_s, p50_us=p50, p99_us=p99, cpu_s=used_s)


async def _answered(peer: Calling, payload: bytes) -> bool:
    try:
        await peer.call(payload)
    except Exception:  # noqa: BLE001  # each peer says in its own way that nobody answers yet
        return False
    return True


async def _call_on(peer: Calling, payload: bytes, until_s: float, took: list[float]) -> None:
    began_s = CLOCK()
    while began_s < until_s:
        await peer.call(payload)
        now_s = CLOCK()
        took.append(now_s - began_s)
        began_s = now_s


def _acknowledging(peer: Peer) -> Acknowledging:
    return peer if isinstance(peer, Acknowledging) else _unable(peer)


def _calling(peer: Peer) -> Calling:
    return peer if isinstance(peer, Calling) else _unable(peer)


def _unable(peer: Peer) -> NoReturn:
    """Whoever asked for the part has to correct it."""
    sys.exit(f"{type(peer).__name__} has no part in {peer.task.role}; leave it out")


def _resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


ROLES = {
    "subscribe": _subscribe,
    "publish": _publish,
    "acknowledge": _publish,
    "serve": _serve,
    "call": _call,
}


def _read_task(words: list[str] | None = None) -> Task:
    parser = argparse.ArgumentParser(description="One part of a measurement; see roles.py.")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--name", default="part")
    parser.add_argument("--size", type=int, default=100, help="bytes of a payload, not 4")
    parser.add_argument("--seconds", type=float, default=2.0, help="to publish or call")
    parser.add_argument("--in-flight", type=int, default=1, help="unanswered at a time")
    parser.add_argument("--topics", type=int, default=1, help="published to in turn")
    parser.add_argument("--listen", type=int, default=0, help="a port of this machine")
    parser.add_argument("--dial", default="", help="ports, with commas between them")
    parser.add_argument("--folder", type=Path, default=Path())
    given = vars(parser.parse_args(words))
    given["dial"] = tuple(int(port) for port in given["dial"].split(",") if port)
    return Task(**given)


async def _act(kind: Callable[[Task], Peer], task: Task) -> None:
    orders = await Orders.open()
    peer = kind(task)
    async with peer.opened():
        await ROLES[task.role](peer, orders)


def main(kind: Callable[[Task], Peer]) -> None:
    """Do what the command line says with a peer of that kind."""
    asyncio.run(_act(kind, _read_task()))
