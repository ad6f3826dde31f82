"""Real nodes that nobody told of each other: they meet all the same, in every way there is."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from discovering import bounded
from multicast import alone, need_multicast
from nameserver import name_server
from node_process import DEADLINE_S, Yard, eventually, free_port, yard

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "discovery: {mdns: {interfaces: [127.0.0.1]}}\n"


@pytest.fixture
def place() -> Iterator[Yard]:
    with yard() as made:
        yield made


def links(place: Yard, name: str) -> int:
    return int(place.ask(name, lambda mesh: mesh.stats())["links"])


def sources(place: Yard, name: str) -> dict[str, dict[str, Any]]:
    """What ``macula discovery`` says, by source."""
    answer = place.macula(name, "discovery", "--json")
    assert answer.returncode == 0, answer.stderr
    return {row["source"]: row for row in json.loads(answer.stdout)}


def test_nodes_find_each_other_by_multicast(place: Yard) -> None:
    need_multicast()
    ports = {name: free_port() for name in ("n1", "n2")}
    for name, port in ports.items():
        place.configure(name, port, more=LOOPBACK)
        place.start(name)
    eventually(lambda: links(place, "n1") == 1, "n1 found n2")
    eventually(
        lambda: sources(place, "n1")["mdns"]["addresses"] == [f"127.0.0.1:{ports['n2']}"],
        "n1 heard n2",
    )
    shown = place.macula("n1", "discovery")
    assert shown.returncode == 0, shown.stderr
    assert f"127.0.0.1:{ports['n2']}" in shown.stdout
    assert sources(place, "n1")["dns"]["state"] == "off"
    node = place.running[1]
    node.send_signal(signal.SIGTERM)
    assert node.wait(DEADLINE_S) == 0
    eventually(lambda: sources(place, "n1")["mdns"]["addresses"] == [], "n1 heard the goodbye")


def test_nodes_find_each_other_by_dns(place: Yard) -> None:
    ports = {name: free_port() for name in ("n1", "n2")}

    async def main() -> None:
        async with name_server() as server:
            targets = [f"1 1 {port} edge.mesh.example." for port in ports.values()]
            server.zone["_macula._udp.mesh.example.", "SRV"] = (60, targets)
            server.zone["edge.mesh.example.", "A"] = (60, ["127.0.0.1"])
            asked = f"domains: [mesh.example], nameservers: [127.0.0.1], port: {server.port}"
            await asyncio.to_thread(check, f"discovery: {{dns: {{{asked}}}}}\n")

    def check(more: str) -> None:
        for name, port in ports.items():
            place.configure(name, port, more=more)
            place.start(name)
        eventually(lambda: links(place, "n1") == 1 == links(place, "n2"), "they found each other")
        row = sources(place, "n1")["dns mesh.example"]
        assert sorted(row["addresses"]) == sorted(f"127.0.0.1:{port}" for port in ports.values())
        assert row["error"] is None

    bounded(main())


def test_a_node_finds_those_it_remembers_when_the_seed_is_gone(place: Yard) -> None:
    seed, second = free_port(), free_port()
    place.configure("n1", seed)
    place.configure("n2", second, (seed,))
    place.configure("n3", free_port(), (seed,))
    for name in ("n1", "n2", "n3"):
        place.start(name)
    eventually(lambda: links(place, "n3") == 2, "n3 is linked with both")
    first, node, last = place.running
    for leaving in (last, first):
        leaving.send_signal(signal.SIGTERM)
        assert leaving.wait(DEADLINE_S) == 0
    memory = place.folder / "n3.sock.peers"
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert f"127.0.0.1:{second}" in memory.read_text()
    # At another port, so that n2 cannot find it; and nobody tells it of any peer.
    place.configure("n3", free_port())
    place.start("n3")
    eventually(lambda: links(place, "n3") == 1, "n3 found n2 again")
    assert f"127.0.0.1:{second}" in sources(place, "n3")["remembered"]["addresses"]
    assert node.poll() is None


def test_without_its_memory_it_does_not(place: Yard) -> None:
    seed = free_port()
    place.configure("n1", seed)
    place.configure("n2", free_port(), (seed,))
    for name in ("n1", "n2"):
        place.start(name)
    eventually(lambda: links(place, "n2") == 1, "they are linked")
    place.running[1].send_signal(signal.SIGTERM)
    assert place.running[1].wait(DEADLINE_S) == 0
    (place.folder / "n2.sock.peers").write_bytes(b"\0 garbage \xff")
    place.configure("n2", free_port())
    place.start("n2")
    row = sources(place, "n2")["remembered"]
    assert (row["addresses"], row["error"]) == ([], None)
    assert links(place, "n2") == 0


# Somebody is there who does not share.
_TAKEN = """
import socket, sys
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("", 5353))
from maculaos.cli import main
sys.argv = ["macula", "start", "--config", sys.argv[1]]
main()
"""


def test_a_node_runs_where_the_port_of_multicast_dns_is_taken(place: Yard) -> None:
    config = place.configure("n1", free_port(), more=LOOPBACK)
    log = place.folder / "n1.log"
    argv = alone(sys.executable, "-c", _TAKEN, str(config))
    with log.open("w") as file:
        node = subprocess.Popen(argv, stderr=file, text=True)
    place.running.append(node)
    eventually(lambda: "discovery_failed" in log.read_text(), "the log tells what is wrong")
    row = sources(place, "n1")["mdns"]
    assert row["state"] == "failing"
    assert "multicast DNS cannot be used" in row["error"]
    assert "ready" in log.read_text()
    node.send_signal(signal.SIGTERM)
    assert node.wait(DEADLINE_S) == 0
    assert log.read_text().count("discovery_failed") == 1
