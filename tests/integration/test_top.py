"""``macula top`` and ``macula trace``: what a node tells of its links, queues and ways."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maculaos.client import connect
from node_process import DEADLINE_S, eventually, free_port, yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node_process import Yard


@contextmanager
def two_nodes() -> Iterator[Yard]:
    """n1 and n2, linked."""
    with yard() as made:
        first, second = free_port(), free_port()
        made.configure("n1", first)
        made.configure("n2", second, (first,))
        for name in ("n1", "n2"):
            made.start(name)
        eventually(lambda: made.ask("n1", lambda mesh: mesh.stats())["links"] == 1, "n1 is linked")
        yield made


def test_top_shows_the_link_and_what_goes_over_it() -> None:
    with two_nodes() as made:
        told = made.macula("n1", "top", "--once", "--json", "--interval", "0.5")
        assert told.returncode == 0, told.stderr
        (line,) = told.stdout.splitlines()
        found = json.loads(line)
        (link,) = found["links"]
        assert (found["name"], link["name"]) == ("n1", "n2")
        assert link["rtt_ms"] > 0
        assert link["datagram_size"] >= 1200
        assert link["out_per_s"] > 0
        assert link["in_per_s"] > 0
        assert found["members"]["alive"] == 2
        assert found["rates"]["events_published"] == 0
        page = made.macula("n1", "top", "--once", "--interval", "0.1")
        assert page.returncode == 0, page.stderr
        assert re.search(r"^n1 +up 0:00:\d\d +members 2 alive", page.stdout)
        assert re.search(r"^ *n2 +127\.0\.0\.1:\d+ .*\d ms ", page.stdout, re.MULTILINE)


def test_top_without_a_node_says_so() -> None:
    with yard() as made:
        told = made.macula("n1", "top", "--once")
        assert told.returncode == 3
        assert told.stderr.startswith("macula: no node on ")


def test_top_shows_what_waits_for_a_program_that_takes_nothing() -> None:
    async def main(made: Yard) -> str:
        async with asyncio.timeout(DEADLINE_S), connect(made.socket("n1")) as mesh:
            sleepy = mesh.subscribe("room.*", queue_size=5, policy="block")
            await sleepy.ready()
            for number in range(20):
                await mesh.publish("room.light", number)
            told = await asyncio.to_thread(made.macula, "n1", "top", "--once", "--json")
            assert told.returncode == 0, told.stderr
            return told.stdout

    with two_nodes() as made:
        found = json.loads(asyncio.run(main(made)))
    (queue,) = found["queues"]
    assert (queue["pattern"], queue["group"]) == ("room.*", "")
    assert 0 < queue["waiting"] <= 5
    assert queue["waiting"] + queue["dropped"] <= 20


def test_trace_shows_the_way_to_every_node_with_subscribers() -> None:
    with two_nodes() as made:
        made.background("n2", "subscribe", "room.temperature")

        def traced() -> list[dict[str, object]]:
            told = made.macula("n1", "trace", "room.temperature", "--json")
            assert told.returncode == 0, told.stderr
            routes: list[dict[str, object]] = json.loads(told.stdout)
            return routes

        eventually(lambda: bool(traced()), "n1 knows what n2 wants")
        (route,) = traced()
        hops = route["hops"]
        assert isinstance(hops, list)
        assert (route["node"], [hop["node"] for hop in hops]) == ("n2", ["n1", "n2"])
        page = made.macula("n1", "trace", "room.temperature")
        assert re.search(r"^n1\n└── n2  [+-]\d+\.\d{3} ms .*subscriber", page.stdout)
        assert "by its own node's clock" in page.stderr
        assert "nobody subscribes to other" in made.macula("n1", "trace", "other").stderr
