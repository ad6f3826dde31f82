"""The ``reconciler`` command: real Git repositories, real nodes, real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from reconciling import BROKEN, TWO_NODES, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def reconciler(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reconciler.cli", *words, "--config", str(bench.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(bench: Bench, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "reconciler.cli", "run", "--config", str(bench.config), *words]
    with (bench.root / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    bench.processes.append(process)
    return process


def wait_for(holds: Callable[[], Any], process: subprocess.Popen[bytes] | None = None) -> Any:
    deadline = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < deadline, "not in time"
        assert process is None or process.poll() is None, "the reconciler ended"
        time.sleep(0.02)
    return found


def snapshot(bench: Bench) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((bench.root / "state/status.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def pids(bench: Bench) -> dict[str, int]:
    items = snapshot(bench).get("items", [])
    return {item["name"]: item["pid"] for item in items if item["ready"] and item["pid"]}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def real(bench: Bench) -> Iterator[Bench]:
    """A bench with real credentials for n1 and n2, cleaned up by ``reconciler down``."""
    folder, now = bench.root, time.time()
    (folder / "credentials").rename(folder / "pretended")
    create_realm(folder / "realm", "demo", now=now, entropy=SystemEntropy())
    for name in ("n1", "n2"):
        request = Request(name=name)
        issue(folder / "realm", folder / "credentials", request, now=now, entropy=SystemEntropy())
    bench.configure(poll={"interval_s": 0.2}, health={"interval_s": 0.2})
    files = {
        "nodes/n1.yaml": node("n1", free_port()),
        "nodes/n2.yaml": node("n2", free_port()),
    }
    bench.upstream.commit({**TWO_NODES, **files})
    yield bench
    reconciler(bench, "down")
    for process in bench.processes:
        process.kill()
        process.wait()


def test_killed_reconciler_is_followed_by_one_that_adopts(real: Bench) -> None:
    first = start(real)
    before = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, first)
    second = reconciler(real, "run")
    assert second.returncode == 2
    assert "already runs here" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    first.kill()
    first.wait()
    (real.root / "state/status.json").unlink()
    third = start(real)
    after = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, third)
    assert after == before
    assert reconciler(real, "down").returncode == 0
    assert third.wait(timeout=20) == 0
    assert not any(psutil.pid_exists(pid) for pid in after.values())
    assert not list((real.root / "run").iterdir())
    assert not list((real.root / "state/jails").iterdir())
    assert reconciler(real, "down").returncode == 0


def test_killed_node_is_back_without_a_commit(real: Bench) -> None:
    process = start(real, "--stop-jails-on-exit")
    before = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process)
    os.kill(before["n1"], signal.SIGKILL)
    wait_for(lambda: pids(real).get("n1", before["n1"]) != before["n1"], process)
    assert {name: pids(real)[name] for name in ("n2", "echo")} == {
        name: before[name] for name in ("n2", "echo")
    }
    after = pids(real)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert not any(psutil.pid_exists(pid) for pid in after.values())


def test_edited_file_and_deleted_file_are_repaired(real: Bench) -> None:
    process = start(real)
    wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process)
    config = real.root / "state/jails/node-n1/data/node.yaml"
    wanted = config.read_bytes()
    config.write_bytes(b"not ours")
    wait_for(lambda: config.exists() and config.read_bytes() == wanted, process)
    wait_for(lambda: len(pids(real)) == 3, process)
    before = pids(real)
    config.unlink()
    wait_for(lambda: config.exists() and config.read_bytes() == wanted, process)
    wait_for(lambda: len(pids(real)) == 3, process)
    assert pids(real)["n2"] == before["n2"]


def test_sync_plan_status_and_history_without_a_daemon(real: Bench) -> None:
    planned = reconciler(real, "plan", "--json")
    assert [step["step"] for step in json.loads(planned.stdout)["steps"]] == ["start"] * 3
    synced = reconciler(real, "sync", "--json")
    assert json.loads(synced.stdout)["outcome"] == "applied"
    assert "nothing to do" in reconciler(real, "plan").stdout
    assert json.loads(reconciler(real, "history", "--json").stdout)[0]["outcome"] == "applied"
    shown = reconciler(real, "status")
    assert "none runs here" in shown.stderr
    assert "n1" in shown.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status",), "no reconciler runs here"),
        (("plan", "--revision", "--all"), "names no commit"),
        (("sync",), "there is no repository; check repository.url"),
    ],
)
def test_expected_errors_are_one_line(bench: Bench, words: tuple[str, ...], said: str) -> None:
    bench.upstream.commit(TWO_NODES)
    if words == ("sync",):
        bench.upstream.hide()
    done = reconciler(bench, *words)
    assert done.returncode != 0
    assert said in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("reconciler: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr


def test_wrong_settings_are_told_with_their_place(bench: Bench) -> None:
    bench.configure(nonsense=1)
    done = reconciler(bench, "run")
    assert done.returncode == 2
    assert f"reconciler: {bench.config}:" in done.stderr
    assert "unknown key 'nonsense'" in done.stderr


def test_check_tells_every_problem_before_a_push(bench: Bench) -> None:
    bench.upstream.commit({**TWO_NODES, "nodes/n2.yaml": BROKEN})
    argv = [sys.executable, "-m", "reconciler.cli", "check", str(bench.upstream.work)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("reconciler: nodes/n2.yaml:3:6: ")
    (bench.upstream.work / "nodes/n2.yaml").write_text(TWO_NODES["nodes/n2.yaml"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "2 nodes, 1 apps: ok\n")


def test_log_of_a_run_holds_no_key(real: Bench) -> None:
    assert reconciler(real, "sync").returncode == 0
    key = (real.root / "credentials/n1/node.key").read_text().splitlines()[1]
    state = real.root / "state"
    read = [path for path in state.rglob("*") if path.is_file()]
    assert not [path for path in read if key.encode() in path.read_bytes()]
    assert Path(real.root / "run").stat().st_mode & 0o777 == 0o700
