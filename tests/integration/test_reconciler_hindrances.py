"""What gets in a reconciler's way: it says so in a line, loses nothing, and goes on afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jailyard import eventually, is_running
from maculaos.host.clock import SystemClock
from reconciler.assembly import assemble, load_settings, store_of
from reconciler.daemon import Daemon
from reconciler.generations import MOST_LINES, Outcome, Progress
from reconciling import BROKEN, DEADLINE_S, TWO_NODES, Bench, Running, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORY, PROGRESS, STATUS = "history.jsonl", "state.json", "status.json"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def test_machine_without_room_for_git_is_a_failure_that_passes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(first)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            with monkeypatch.context() as no_room:
                no_room.setattr(tempfile, "tempdir", str(bench.root / "gone"))
                await running.until(lambda s: any("git cannot" in p for p in s.status.problems))
                assert running.snapshot().status.revisions.applied == first
            snapshot = await running.applied(second)
            assert snapshot.status.problems == ()
        assert bench.log.getvalue().count("cannot_read") == 1

    asyncio.run(main())


def test_file_that_cannot_be_written_is_said_once_and_written_later(bench: Bench) -> None:
    async def main() -> None:
        files = [bench.root / "state" / name for name in (HISTORY, PROGRESS)]
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(first)
            for file in files:
                file.unlink()
                file.mkdir()
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            snapshot = await running.applied(second)
            for file in files:
                assert f"cannot write {file.name}: Is a directory" in snapshot.status.problems
            for file in files:
                file.rmdir()
            await running.until(lambda s: not s.status.problems and s.status.ready is not None)
            third = bench.upstream.commit({"nodes/n3.yaml": None})
            await running.applied(third)
        settings = load_settings(bench.config)
        assert store_of(settings).progress().last_applied == third
        assert store_of(settings).history()[-1].revision == third
        for file in files:
            assert bench.log.getvalue().count(f"file={file.name}") == 1

    asyncio.run(main())


def test_refusal_whose_reasons_were_never_written_is_found_out_again(bench: Bench) -> None:
    async def main() -> None:
        bad = bench.upstream.commit({**TWO_NODES, "realm.yaml": BROKEN})
        store = store_of(load_settings(bench.config))
        with store.locked():
            store.save_progress(Progress(refused=bad))
        async with bench.running() as running:
            snapshot = await running.until(lambda s: s.status.revisions.refused == bad)
            assert snapshot.status.problems[0].startswith("realm.yaml:3:6: ")
        assert store.history()[-1].outcome is Outcome.REFUSED

    asyncio.run(main())


def test_flood_of_problems_stays_small_in_the_status(bench: Bench) -> None:
    async def main() -> None:
        junk = "".join(f"k{number}: 1\n" for number in range(90))
        many = {f"nodes/m{number}.yaml": junk for number in range(5)}
        async with bench.running() as running:
            snapshot = await running.applied(bench.upstream.commit({**TWO_NODES, **many}))
            assert len(snapshot.status.problems) == MOST_LINES
            assert snapshot.status.problems[-1].startswith("... and ")

    asyncio.run(main())


def test_going_back_from_a_refused_commit_leaves_no_problem(bench: Bench) -> None:
    async def main() -> None:
        good = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(good)
            bad = bench.upstream.commit({"realm.yaml": BROKEN})
            await running.until(lambda s: s.status.revisions.refused == bad)
            bench.upstream.git("reset", "--quiet", "--hard", good, cwd=bench.upstream.work)
            bench.upstream.push()
            snapshot = await running.until(lambda s: s.status.revisions.refused is None)
            assert snapshot.status.problems == ()

    asyncio.run(main())


class _Jumping(SystemClock):
    """A machine whose time is set back."""

    back_s = 0.0

    def now(self) -> float:
        return super().now() - self.back_s


def test_status_stays_alive_when_the_clock_is_set_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.daemon.HEARTBEAT_S", 0.2)
    clock = _Jumping()

    def written_at() -> float:
        said = json.loads((bench.root / "state" / STATUS).read_text())
        return float(said["at"])

    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        bench.configure(poll={"interval_s": 60.0}, drift_interval_s=60.0)
        settings = load_settings(bench.config)
        with store_of(settings).locked():
            worker = assemble(settings, bench.log, bench.runtime)
            worker.tools = replace(worker.tools, clock=clock)
            daemon = Daemon(worker)
            task = asyncio.create_task(daemon.run())
            running = Running(daemon, worker.snapshot, task)
            async with asyncio.timeout(DEADLINE_S):
                await running.until(lambda s: s.status.converged)
                # Again and again: one write soon after may have been due for other news.
                for back_s in (3600.0, 7200.0, 10_800.0):
                    clock.back_s = back_s
                    await running.until(lambda _: abs(written_at() - clock.now()) < 60)
            daemon.stop()
            await task

    asyncio.run(main())


def test_closed_terminal_ends_a_live_view_and_all_that_it_started(bench: Bench) -> None:
    shutil.rmtree(bench.root / "credentials")
    bench.upstream.commit(TWO_NODES)
    terminal, inside = os.openpty()
    words = ("run", "--live", "--stop-jails-on-exit", "--config", str(bench.config))
    argv = [sys.executable, "-m", "reconciler.cli", *words]
    report = bench.root / "state/jails/app-echo/keeper.json"

    def has_program() -> bool:
        # Its keeper may be there for a moment before it.
        shown = os.read(terminal, 65_536)
        return bool(shown) and report.exists() and bool(json.loads(report.read_text())["program"])

    with subprocess.Popen(argv, stdin=inside, stdout=inside, stderr=inside) as process:
        os.close(inside)
        eventually("the app runs", has_program)
        program = json.loads(report.read_text())["program"]["pid"]
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 0
    assert not is_running(program)
