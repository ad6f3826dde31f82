"""``macula top`` and what a node tells of its links."""

from __future__ import annotations

import json
import re

from node_process import eventually, free_port, yard


def test_top_shows_the_link_and_what_goes_over_it() -> None:
    with yard() as made:
        first, second = free_port(), free_port()
        made.configure("n1", first)
        made.configure("n2", second, (first,))
        for name in ("n1", "n2"):
            made.start(name)
        eventually(lambda: made.ask("n1", lambda mesh: mesh.stats())["links"] == 1, "n1 is linked")
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
