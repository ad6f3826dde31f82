"""Measurements of messaging measure: what was sent arrives, calls are answered, in bounded time."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from bench import sites
from bench.contest import Work, measure
from bench.parts import PartFailed, free_ports, part

if TYPE_CHECKING:
    from pathlib import Path

    from bench.contest import Contender

SECONDS = 0.05
WAYS = pytest.mark.parametrize("contender", sites.EVERY, ids=lambda each: each.name)


def present(contender: Contender) -> Contender:
    """The same, if what it needs is installed."""
    if contender.missing():
        pytest.skip(f"lacks {contender.missing()}")
    return contender


@WAYS
def test_every_message_that_was_published_is_counted(contender: Contender) -> None:
    work = Work(role="publish", takers=2, seconds=SECONDS)
    found = asyncio.run(measure(present(contender), work))
    assert found.sent == found.done > 0
    assert found.rate > 0
    assert found.per_cpu_s > 0


def test_large_messages_to_many_topics_are_counted() -> None:
    work = Work(role="publish", size=16_384, topics=20, seconds=SECONDS)
    found = asyncio.run(measure(sites.EMBEDDED, work))
    assert found.sent == found.done > 0


def test_acknowledged_messages_are_counted() -> None:
    work = Work(role="acknowledge", in_flight=200, seconds=SECONDS)
    found = asyncio.run(measure(sites.EMBEDDED, work))
    assert found.sent == found.done > 0


@pytest.mark.parametrize("contender", [sites.EMBEDDED, sites.PLAIN], ids=lambda each: each.name)
def test_calls_are_timed(contender: Contender) -> None:
    found = asyncio.run(measure(contender, Work(role="call", in_flight=4, seconds=SECONDS)))
    assert found.done > 0
    assert 0 < found.p50_us <= found.p99_us < 5e6


SAID = "echo no such thing >&2; "


def test_a_part_that_ended_fails_with_its_last_words_whatever_is_asked_of_it(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with part("broker", ["/bin/sh", "-c", f"{SAID} exit 3"], tmp_path) as broker:
            with pytest.raises(PartFailed, match=r"^broker ended\nno such thing"):
                await broker.hear()
            await broker.end()
            with pytest.raises(PartFailed, match=r"^broker ended\nno such thing"):
                _ = broker.cpu_s

    asyncio.run(main())


def test_a_broker_that_does_not_listen_fails_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "_PATIENCE_S", 0.5)
    (port,) = free_ports(1, socket.SOCK_STREAM)

    async def main() -> None:
        async with part("broker", ["/bin/sh", "-c", f"{SAID} exec sleep 60"], tmp_path) as broker:
            with pytest.raises(PartFailed, match=r"^broker does not listen\nno such thing"):
                await sites._listening(broker, port)

    asyncio.run(main())
