"""Links between nodes, beside plain aioquic with its defaults in the same run, on the loopback.

Both ends share one process and one loop, so what is measured is the work of both. Figures per
second of CPU hold on a busy machine, too; those per second of the clock need a quiet one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plainquic
from bench.figures import Figure
from bench.pairs import linked_pair
from bench.plainquic import Load
from bench.took import Took, timed
from credentials import make_realm
from loopback import event
from maculaos.effects import Carriage
from maculaos.wire.messages import Ping
from maculaos.wire.registry import StreamClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credentials import RealmFolder
    from maculaos.quic.link import Link
    from maculaos.wire.messages import Message
    from mesh_peers import Node

BULK = Load(pieces=48, piece=1 << 20, in_flight=8)
HANDSHAKES = 50
SMALL = 20_000
IDLE = 100


def figures(runs: int) -> Iterator[Figure]:
    """Every figure of links."""
    with tempfile.TemporaryDirectory() as folder:
        realm = make_realm(Path(folder))
        yield from _bulk(realm, runs)
        yield from _handshakes(realm, runs)
        yield from _small(realm, runs)
        idle = tuple(_idle_kib() for _ in range(runs))
    yield Figure(name="idle link, both ends", unit="KiB", runs=idle, at_most=400.0)


def _bulk(realm: RealmFolder, runs: int) -> Iterator[Figure]:
    took = [(asyncio.run(_pour(realm)), plainquic.pour(realm, BULK)) for _ in range(runs)]
    megabytes = BULK.pieces * BULK.piece / 1e6
    ours = tuple(megabytes / each.clock_s for each, _ in took)
    plain = tuple(megabytes / each.clock_s for _, each in took)
    ratio = tuple(theirs.cpu_s / each.cpu_s for each, theirs in took)
    yield Figure(name="bulk on one link", unit="MB/s", runs=ours)
    yield Figure(name="bulk on plain aioquic", unit="MB/s", runs=plain)
    yield Figure(name="bulk per CPU second, against plain", unit="times", runs=ratio, at_least=3.0)


def _handshakes(realm: RealmFolder, runs: int) -> Iterator[Figure]:
    took = [
        (asyncio.run(_dial_often(realm)), plainquic.dial_often(realm, HANDSHAKES))
        for _ in range(runs)
    ]
    ours = tuple(HANDSHAKES / each.clock_s for each, _ in took)
    plain = tuple(HANDSHAKES / each.clock_s for _, each in took)
    yield Figure(name="handshakes, mutual, with greeting", unit="/s", runs=ours)
    yield Figure(name="handshakes of plain aioquic, one-sided", unit="/s", runs=plain)
    cpu = tuple(each.cpu_s / HANDSHAKES * 1000 for each, _ in took)
    yield Figure(name="CPU of a handshake, both ends", unit="ms", runs=cpu)


def _small(realm: RealmFolder, runs: int) -> Iterator[Figure]:
    found = [asyncio.run(_chatter(realm)) for _ in range(runs)]
    rates = tuple(SMALL / took.clock_s for took, _ in found)
    packets = tuple(packets * 1000 / SMALL for _, packets in found)
    yield Figure(name="messages of 100 B, one link", unit="/s", runs=rates)
    yield Figure(name="packets per 1000 of them", unit="", runs=packets, at_most=120.0)
    trips = tuple(asyncio.run(_round_trip_us(realm)) for _ in range(runs))
    yield Figure(name="PING and PONG in datagrams", unit="us", runs=trips)


async def _pour(realm: RealmFolder) -> Took:
    piece = event(os.urandom(BULK.piece))
    async with linked_pair(realm) as (one, two):
        link = await one.endpoint.dial(two.address)

        async def pour() -> None:
            heard = two.recorder.heard
            for number in range(BULK.pieces):
                link.send(piece, StreamClass.BULK)
                least = number - BULK.in_flight
                await two.recorder.until(partial(_has_more_than, heard, least))
            await two.recorder.until(lambda: len(heard) == BULK.pieces)

        return await timed(pour)


def _has_more_than(heard: list[Message], least: int) -> bool:
    return len(heard) > least


async def _dial_often(realm: RealmFolder) -> Took:
    async with linked_pair(realm) as (one, two):

        async def dial() -> None:
            for _ in range(HANDSHAKES):
                await one.endpoint.dial(two.address)

        return await timed(dial)


async def _chatter(realm: RealmFolder) -> tuple[Took, int]:
    said = event(os.urandom(100))
    async with linked_pair(realm) as (one, two):
        link = await one.endpoint.dial(two.address)

        async def chatter() -> None:
            for number in range(SMALL):
                link.send(said, StreamClass.MESSAGES)
                if number % 100 == 99:
                    await asyncio.sleep(0)
            await two.recorder.until(lambda: len(two.recorder.heard) == SMALL)

        took = await timed(chatter)
        return took, link.datagrams_sent


async def _round_trip_us(realm: RealmFolder) -> float:
    trips = 500
    async with linked_pair(realm) as (one, two):
        there = await one.endpoint.dial(two.address)
        await two.recorder.until(lambda: two.recorder.up)
        back = two.recorder.up[0]

        async def ping() -> None:
            for number in range(trips):
                await _throw(there, two, number)
                await _throw(back, one, number)

        return (await timed(ping)).clock_s / trips * 1e6


async def _throw(link: Link, to: Node, number: int) -> None:
    link.send(Ping(number), StreamClass.CONTROL, Carriage.DATAGRAM)
    await to.recorder.until(lambda: len(to.recorder.heard) > number)


def _idle_kib() -> float:
    command = [sys.executable, "-m", "bench.idle", str(IDLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"bench.idle failed:\n{done.stderr[-3000:]}")
    return float(done.stdout)
