"""``macula loadtest`` with real nodes: what it counts, what it blames, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maculaos.host.clock import SystemClock
from maculaos.loadtest.fleet import fleet
from maculaos.loadtest.scenario import Scenario
from node_process import MACULA, eventually, free_port, macula, yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.client import Mesh

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


def test_figures_are_told_though_the_report_cannot_be_written() -> None:
    done = macula("loadtest", "--virtual", "--duration", "0.5", "--json", "--report", "/dev/full")
    assert done.returncode == 2
    assert json.loads(done.stdout)["delivered"] == 500
    assert "cannot write the report to /dev/full: No space left" in done.stderr


def test_a_run_that_fails_leaves_the_report_of_another_as_it_was(tmp_path: Path) -> None:
    old, new = tmp_path / "old.html", tmp_path / "new.html"
    old.write_text("an old report")
    for report in (old, new):
        failed = macula("loadtest", "--at", "/nowhere.sock", "--report", str(report))
        assert failed.returncode == 3
    assert old.read_text() == "an old report"
    assert list(tmp_path.iterdir()) == [old]


def test_a_node_that_dies_by_itself_is_told_and_fails_the_run() -> None:
    words = ("--rate", "50", "--duration", "2", "--json", "--fault", "pause:n1@0+0.5")
    with _tester(*words) as (tester, nodes):
        eventually(lambda: nodes[0].status() == psutil.STATUS_STOPPED, "the run has begun")
        nodes[1].send_signal(signal.SIGKILL)
        out, said = tester.communicate(timeout=PATIENCE_S)
    assert tester.returncode == 1
    assert json.loads(out)["published"] == 100
    assert "macula: n2 ended by itself: signal 9; its last words: " in said


def test_a_node_that_dies_before_all_are_up_is_told_at_once() -> None:
    tester = subprocess.Popen([*MACULA, "loadtest"], stderr=subprocess.PIPE, text=True)
    try:
        started = psutil.Process(tester.pid).children
        eventually(lambda: len(started()) == 2, "both nodes are started")
        started()[1].kill()
        _, said = tester.communicate(timeout=30)
    finally:
        tester.kill()
        tester.wait()
    assert tester.returncode == 2
    assert "macula: n2 did not start: signal 9; " in said


def test_a_node_that_does_not_come_back_is_known_by_its_last_words() -> None:
    async def run() -> dict[str, str]:
        clock = SystemClock()
        async with asyncio.timeout(PATIENCE_S), fleet(Scenario(nodes=1), clock) as made:
            assert made.fallen() == {}
            await made.kill("n1")
            assert made.fallen() == {}
            made.sockets[0].with_name("n1.yaml").write_text("version: 1\n")
            await made.start("n1")
            while not made.fallen():
                await clock.wait(0.02)
            # Nothing is left of it that could be hurt.
            made.pause("n1")
            made.resume("n1")
            await made.kill("n1")
            return made.fallen()

    found = asyncio.run(run())
    assert list(found) == ["n1"]
    assert re.fullmatch(r"exit status [1-9]\d*; its last words: .+", found["n1"])


def test_as_quickly_as_it_goes_waits_for_a_node_that_is_gone() -> None:
    words = ("--rate", "0", "--duration", "1.5", "--fault", "kill:n1@0.2")
    found, _ = loadtest(*words)
    # At most what was under way when it died.
    assert found["refused"] < 1000


def test_runs_of_one_seed_do_not_hear_each_other() -> None:
    with yard() as made:
        made.configure("n1", free_port())
        made.start("n1")

        async def topics(mesh: Mesh) -> set[str]:
            heard: set[str] = set()
            words = ("loadtest", "--at", str(made.socket("n1")), "--duration", "0.1")
            async with mesh.subscribe(
                "loadtest.**", callback=lambda event: heard.add(event.topic)
            ) as events:
                await events.ready()
                for _ in range(2):
                    run = await asyncio.create_subprocess_exec(*MACULA, *words, stdout=DEVNULL)
                    assert await run.wait() == 0
            return heard

        assert len(made.ask("n1", topics)) == 2


def test_keys_go_though_nobody_waits_for_the_nodes() -> None:
    async def run() -> Path:
        opened: asyncio.Future[Path] = asyncio.get_running_loop().create_future()

        async def hold() -> None:
            async with fleet(Scenario(nodes=2), SystemClock()) as made:
                opened.set_result(made.sockets[0].parent)
                await asyncio.Event().wait()

        holding = asyncio.create_task(hold())
        folder = await asyncio.wait_for(opened, PATIENCE_S)
        while not holding.done():
            holding.cancel()
            await asyncio.sleep(0)
        return folder

    assert not asyncio.run(run()).exists()


PAUSE = ("--fault", "pause:n2@0+50")


@pytest.mark.parametrize("words", [(), PAUSE])
def test_nodes_end_with_the_tester_however_it_ends(words: tuple[str, ...]) -> None:
    if words and sys.platform == "darwin":
        pytest.skip("nothing tells a process that is stopped that its parent ended")
    with _tester("--duration", "60", *words) as (tester, nodes):
        folder = Path(nodes[0].cwd())
        if words:
            eventually(lambda: nodes[1].status() == psutil.STATUS_STOPPED, "n2 pauses")
        tester.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(nodes, timeout=20)
        shutil.rmtree(folder)
        assert not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_tester_that_is_told_to_end_leaves_nothing(number: signal.Signals) -> None:
    with _tester("--duration", "60", *PAUSE) as (tester, nodes):
        folder = Path(nodes[0].cwd())
        eventually(lambda: nodes[1].status() == psutil.STATUS_STOPPED, "n2 pauses")
        tester.send_signal(number)
        out, said = tester.communicate(timeout=PATIENCE_S)
        assert (tester.returncode, out) == (128 + number, "")
        assert "Traceback" not in said
        assert not folder.exists()
        assert not any(node.is_running() for node in nodes)


@contextmanager
def _tester(*words: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A load test of two nodes that are up, and an end for all of it."""
    tester = subprocess.Popen(
        [*MACULA, "loadtest", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    nodes: list[psutil.Process] = []
    try:
        nodes = _nodes_of(tester.pid, 2)
        yield tester, nodes
    finally:
        tester.kill()
        for node in nodes:
            if node.is_running():
                os.kill(node.pid, signal.SIGKILL)
        tester.communicate()


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
