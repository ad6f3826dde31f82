"""One measurement: somebody gives, others take, each in a process of its own, over one contender.

A contender is a driver of ``benchmarks/peers`` and the site that it needs: a broker, daemons, or
nothing. Everything runs on the loopback, and ends with the measurement.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.parts import Part, PartFailed, part

# A part that takes less of a processor than this is at rest; looked at so often, for so long.
_AT_REST = 0.02
_LOOK_S = 1.0
_LONGEST_REST_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is done: the same for every contender."""

    # Of the one who gives: publish, acknowledge or call.
    role: str
    # How many take: subscribers, or one that answers.
    takers: int = 1
    size: int = 100
    # Less than a second: Linux holds back who goes first (``--realtime``) for a twentieth of each
    # second in which it took all of a core.
    seconds: float = 0.8
    in_flight: int = 1
    topics: int = 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts are: words for the command line of each, and what runs beside them."""

    giver: list[str]
    takers: list[list[str]]
    others: list[Part]


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to carry messages; ``missing`` tells what it lacks here, or nothing."""

    name: str
    driver: str
    python: Path
    site: Callable[[Path, int], AbstractAsyncContextManager[Places]]
    missing: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was found: messages or calls per second, microseconds, seconds of the CPU, MiB."""

    sent: int
    done: int
    rate: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    # Of all processes together, brokers and daemons included.
    cpu_s: float = 0.0
    taker_mib: float = 0.0

    @property
    def per_cpu_s(self) -> float:
        """Messages for each second of the CPU, all processes together."""
        return self.done / self.cpu_s if self.cpu_s else 0.0


async def measure(contender: Contender, work: Work) -> Result:
    """Set up, warm up, measure, take down; raises ``PartFailed``, also if nothing arrives."""
    # Sockets of daemons lie in it, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="bench.", dir="/tmp") as path:
        async with AsyncExitStack() as stack:
            folder = Path(path)
            places = await stack.enter_async_context(contender.site(folder, work.takers))

            async def begin(name: str, role: str, words: list[str]) -> Part:
                command = _command(contender, name, role, work, words)
                begun = await stack.enter_async_context(part(name, command, folder))
                await begun.hear()
                return begun

            taking = "serve" if work.role == "call" else "subscribe"
            takers = [
                await begin(f"t{number}", taking, words)
                for number, words in enumerate(places.takers)
            ]
            giver = await begin("g", work.role, places.giver)
            if work.role == "call":
                return await _calls(giver, takers, places.others)
            return await _messages(giver, takers, places.others)


def _command(contender: Contender, name: str, role: str, work: Work, words: list[str]) -> list[str]:
    return [
        str(contender.python),
        *("-m", f"peers.{contender.driver}"),
        role,
        *("--name", name),
        *("--size", str(work.size)),
        *("--seconds", str(work.seconds)),
        *("--in-flight", str(work.in_flight)),
        *("--topics", str(work.topics)),
        *words,
    ]


async def _messages(giver: Part, takers: list[Part], others: list[Part]) -> Result:
    await asyncio.gather(*(taker.hear() for taker in takers))
    await _rest([giver, *takers, *others])
    giver.tell("go")
    # It has run up, and begins.
    await giver.hear()
    before_s = _cpu_s(others)
    gave = await giver.hear()
    for taker in takers:
        taker.tell(gave["count"])
    took = await asyncio.gather(*(taker.hear() for taker in takers))
    done = sum(each["count"] for each in took)
    if not done:
        raise PartFailed(f"of {gave['count']} messages, none arrived")
    last_s = max(each["last_s"] for each in took)
    used_s = gave["cpu_s"] + sum(each["cpu_s"] for each in took) + _cpu_s(others) - before_s
    return Result(
        sent=gave["count"] * len(takers),
        done=done,
        rate=done / (last_s - gave["began_s"]),
        cpu_s=used_s,
        taker_mib=max(each["rss_kib"] for each in took) / 1024,
    )


async def _calls(giver: Part, takers: list[Part], others: list[Part]) -> Result:
    every = [*takers, *others]
    await giver.hear()
    await _rest([giver, *every])
    before_s = _cpu_s(every)
    giver.tell("go")
    found: dict[str, Any] = await giver.hear()
    count = found["count"]
    return Result(
        sent=count,
        done=count,
        rate=count / found["lasted_s"],
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        cpu_s=found["cpu_s"] + _cpu_s(every) - before_s,
    )


async def _rest(parts: list[Part]) -> None:
    """Wait until nobody is busy with having started: a mesh finds itself, a client connects."""
    for _ in range(round(_LONGEST_REST_S / _LOOK_S)):
        before_s = _cpu_s(parts)
        await asyncio.sleep(_LOOK_S)
        if _cpu_s(parts) - before_s < _AT_REST * _LOOK_S * len(parts):
            return


def _cpu_s(parts: list[Part]) -> float:
    return sum(each.cpu_s for each in parts)
