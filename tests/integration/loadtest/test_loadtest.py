"""``macula loadtest`` with real nodes: what it counts, what it blames, what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from node_process import MACULA, free_port, macula, yard

PATIENCE_S = 60.0


def loadtest(*words: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    done = subprocess.run(
        [*MACULA, "loadtest", "--json", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done


def test_two_nodes_deliver_everything_and_the_report_shows_it(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    found, done = loadtest(
        "--rate", "200", "--duration", "1.5", "--subscribers", "2", "--report", str(report)
    )
    assert (found["published"], found["expected"], found["delivered"]) == (300, 600, 600)
    assert (found["lost"], found["duplicates"], found["disordered"], found["foreign"]) == (0,) * 4
    assert found["latency"]["count"] == 600
    assert 0 < found["latency"]["p50_ms"] <= found["latency"]["max_ms"]
    assert sum(each["delivered"] for each in found["slots"]) == 600
    assert "2 nodes, 1 publisher, 2 subscribers" in done.stderr
    page = report.read_text()
    assert page.count("<svg") == 4
    assert str(report) in page


def test_what_a_killed_node_missed_is_put_down_to_its_death() -> None:
    fault = "kill:n2@0.5+0.5"
    found, _ = loadtest("--rate", "100", "--duration", "2", "--fault", fault)
    assert found["losses"] == {fault: found["lost"], "no fault": 0}
    assert 0 < found["lost"] < found["expected"]
    assert found["connections_lost"] > 0


def test_lost_datagrams_cost_time_and_no_events() -> None:
    found, _ = loadtest("--rate", "100", "--duration", "2", "--fault", "loss:n2:20%@0.2+1.5")
    assert (found["delivered"], found["lost"]) == (200, 0)


def test_nodes_that_run_already_are_used_and_left_as_they_were() -> None:
    with yard() as made:
        first, second = free_port(), free_port()
        made.configure("n1", first)
        made.configure("n2", second, (first,))
        nodes = [made.start(name) for name in ("n1", "n2")]
        at = [word for name in ("n1", "n2") for word in ("--at", str(made.socket(name)))]
        found, _ = loadtest("--rate", "100", "--duration", "0.5", *at)
        assert (found["delivered"], found["lost"]) == (50, 0)
        assert [node.poll() for node in nodes] == [None, None]


def test_a_run_ends_though_the_node_of_its_publisher_never_comes_back() -> None:
    found, _ = loadtest("--rate", "100", "--duration", "2", "--fault", "kill:n1@1")
    assert found["errors"] == {"NODE_GONE": found["refused"]}
    assert found["published"] == 200
    assert 50 < found["refused"] <= 100


def test_acknowledged_events_all_come() -> None:
    found, _ = loadtest("--rate", "200", "--duration", "1", "--acknowledge")
    assert (found["delivered"], found["lost"], found["refused"]) == (200, 0, 0)


def test_virtual_nodes_are_told_of_in_the_same_way(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    words = ("--nodes", "10", "--rate", "50", "--duration", "2", "--report", str(report))
    found, done = loadtest("--virtual", "--latency", "3", *words)
    assert (found["delivered"], found["lost"]) == (100, 0)
    assert 3 <= found["latency"]["p50_ms"] < 10
    assert "10 nodes" in done.stderr
    assert "<svg" in report.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fault", "stop:n1@1"), "is no fault"),
        (("--nodes", "0"), "nodes: 0 is out of range"),
        (("--at", "/nowhere.sock", "--fault", "kill:n1@1"), "nodes that ran before"),
        (("--report", "/nowhere/report.html"), "cannot write the report"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(words: tuple[str, ...], said: str) -> None:
    refused = macula("loadtest", *words)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_nodes_end_with_the_tester_however_it_ends() -> None:
    tester = subprocess.Popen([*MACULA, "loadtest", "--duration", "60"], stderr=subprocess.DEVNULL)
    nodes: list[psutil.Process] = []
    try:
        nodes = _nodes_of(tester.pid, 2)
        folder = Path(nodes[0].cwd())
        tester.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(nodes, timeout=PATIENCE_S)
        assert not alive
        shutil.rmtree(folder)
    finally:
        tester.kill()
        tester.wait()
        for node in nodes:
            if node.is_running():
                os.kill(node.pid, signal.SIGKILL)


def _nodes_of(pid: int, count: int) -> list[psutil.Process]:
    """The nodes that the tester has started, once they are up."""
    limit = time.monotonic() + PATIENCE_S
    tester = psutil.Process(pid)
    while time.monotonic() < limit:
        nodes = tester.children()
        if len(nodes) == count and all(
            (Path(node.cwd()) / f"n{number}.sock").exists() for number, node in enumerate(nodes, 1)
        ):
            return nodes
        time.sleep(0.05)
    raise AssertionError("the nodes did not come up")
