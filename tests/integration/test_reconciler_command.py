"""The ``reconciler`` command: real Git repositories, real nodes, real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import namespaceyard
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
        [sys.executable, "-m", "reconciler.cli", *words],
        env={**os.environ, "RECONCILER_CONFIG": str(bench.config)},
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
    assert "already runs here" in the_line(second, 2)
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


def is_another(bench: Bench, last: int) -> bool:
    """Whether n1 is ready as another process than ``last``."""
    return pids(bench).get("n1", last) != last


def delete(folder: Path) -> None:
    """Delete it, although its keeper may just be writing in it."""

    def is_done() -> bool:
        try:
            shutil.rmtree(folder)
        except OSError:
            return False
        return True

    wait_for(is_done)


def test_deleted_data_and_deleted_jail_are_repaired_and_nothing_runs_twice(real: Bench) -> None:
    process = start(real)
    before = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process)
    jail = real.root / "state/jails/node-n1"
    for deleted in (jail / "data", jail):
        last = pids(real)["n1"]
        delete(deleted)
        wait_for(partial(is_another, real, last), process)
        wait_for(lambda: len(pids(real)) == 3, process)
        assert (jail / "data/node.yaml").exists()
        assert not psutil.pid_exists(last)
    assert {name: pids(real)[name] for name in ("n2", "echo")} == {
        name: before[name] for name in ("n2", "echo")
    }
    delete(jail)
    assert reconciler(real, "down").returncode == 0
    assert process.wait(timeout=20) == 0
    assert not [
        found.pid
        for found in psutil.process_iter(["cmdline"])
        if any(str(real.root) in word for word in found.info["cmdline"] or ())
    ]


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


def the_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a person gets."""
    assert done.returncode == status, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("reconciler: ")
    return line


@pytest.mark.parametrize("words", [("status",), ("run",), ("sync",), ("plan",), ("down",)])
def test_settings_that_are_not_there_are_named(bench: Bench, words: tuple[str, ...]) -> None:
    bench.config.unlink()
    line = the_line(reconciler(bench, *words), 2)
    assert f"{bench.config}: No such file or directory; name yours: --config FILE" in line


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("status",), 2, "no reconciler runs here"),
        (("plan", "--revision", "--all"), 2, "names no commit"),
    ],
)
def test_expected_errors_are_one_line(
    bench: Bench, words: tuple[str, ...], status: int, said: str
) -> None:
    bench.upstream.commit(TWO_NODES)
    assert said in the_line(reconciler(bench, *words), status)


@pytest.mark.parametrize("verb", ["sync", "plan"])
@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ({}, "the repository is empty; push a commit to main"),
        ({"url": "upsteam.git"}, "/upsteam.git: there is no repository; check repository.url"),
        ({"branch": "mian"}, "there is no branch 'mian'; set repository.branch to one of: main"),
    ],
)
def test_unusable_repository_is_told_with_the_next_move(
    bench: Bench, verb: str, repository: dict[str, str], said: str
) -> None:
    if repository:
        bench.upstream.commit(TWO_NODES)
    bench.configure(repository={"url": "upstream.git", **repository})
    assert the_line(reconciler(bench, verb), 1).endswith(said)


def test_vanished_repository_loses_nothing(bench: Bench) -> None:
    revision = bench.upstream.commit({"realm.yaml": TWO_NODES["realm.yaml"]})
    assert reconciler(bench, "sync").returncode == 0
    bench.upstream.hide()
    done = reconciler(bench, "sync")
    assert the_line(done, 1).endswith("there is no repository; check repository.url")
    assert done.stdout == "unreachable -\n"
    planned = reconciler(bench, "plan")
    assert planned.returncode == 0
    assert planned.stdout.startswith(revision[:10])
    assert "planning with the commit that was fetched last" in planned.stderr
    assert json.loads((bench.root / "state/state.json").read_text())["last_applied"] == revision


@pytest.mark.parametrize("verb", ["run", "sync", "plan", "down"])
def test_state_dir_that_cannot_be_used_is_named(bench: Bench, verb: str) -> None:
    (bench.root / "file").touch()
    bench.configure(state_dir="file/state")
    line = the_line(reconciler(bench, verb), 2)
    assert f"state_dir {bench.root}/file/state cannot be used: Not a directory; let state" in line


@pytest.mark.parametrize("verb", ["run", "sync"])
def test_run_dir_that_cannot_be_used_is_named(bench: Bench, verb: str) -> None:
    (bench.root / "file").touch()
    bench.configure(run_dir="file/run")
    line = the_line(reconciler(bench, verb), 2)
    assert f"run_dir {bench.root}/file/run cannot be used: Not a directory; let run_dir" in line


def test_run_dir_too_long_for_sockets_is_told_at_the_start(bench: Bench) -> None:
    bench.configure(run_dir="x" * 100)
    line = the_line(reconciler(bench, "run"), 2)
    assert f"run_dir {bench.root}/xxx" in line
    assert line.endswith("too long for the sockets in it; choose a shorter path for run_dir")
    assert not (bench.root / "state").exists()


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (node("n2", 4702).replace("demo", "dmo"), "nodes/n2.yaml:3:8: unknown realm 'dmo'; realm"),
        (node("n2", 4701), "nodes/n2.yaml:6:9: 127.0.0.1:4701 is also wanted by nodes/n1.yaml:6:9"),
    ],
)
def test_slip_in_a_spec_is_told_by_check_plan_and_sync(bench: Bench, slip: str, said: str) -> None:
    bench.upstream.commit({**TWO_NODES, "nodes/n2.yaml": slip})
    for words in (("check", str(bench.upstream.work)), ("plan",), ("sync",)):
        told = reconciler(bench, *words)
        assert told.returncode == 1
        assert f"reconciler: {said}" in told.stderr


def test_node_that_cannot_start_says_why_in_the_status(real: Bench) -> None:
    files = {"realm.yaml": "version: 1\nname: other\n"}
    files |= {
        f"nodes/{n}.yaml": node(n, free_port()).replace("demo", "other") for n in ("n1", "n2")
    }
    real.upstream.commit(files)
    process = start(real)

    def reasons() -> str:
        return " ".join(item["reason"] for item in snapshot(real).get("items", []))

    wait_for(lambda: "the certificate is of realm demo, not other" in reasons(), process)


def test_wrong_settings_are_told_with_their_place(bench: Bench) -> None:
    bench.configure(nonsense=1)
    line = the_line(reconciler(bench, "run"), 2)
    assert line.startswith(f"reconciler: {bench.config}:")
    assert "unknown key 'nonsense'; known here: " in line


def test_check_tells_every_problem_before_a_push(bench: Bench) -> None:
    bench.upstream.commit({**TWO_NODES, "nodes/n2.yaml": BROKEN})
    argv = [sys.executable, "-m", "reconciler.cli", "check", str(bench.upstream.work)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("reconciler: nodes/n2.yaml:3:6: ")
    (bench.upstream.work / "nodes/n2.yaml").write_text(TWO_NODES["nodes/n2.yaml"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "2 nodes, 1 app: ok\n")


def said_runtime(bench: Bench) -> str:
    """What the status says of the runtime."""
    shown = reconciler(bench, "status").stdout.splitlines()
    return next(line for line in shown if line.startswith("runtime ")).split(maxsplit=1)[1]


def test_runtime_is_told_in_log_and_status_and_kept_while_jails_are_there(real: Bench) -> None:
    assert reconciler(real, "sync").returncode == 0
    named = "process is the runtime that the settings name; processes work everywhere, but nothing"
    assert said_runtime(real).startswith(named)
    assert f'runtime name=process why="{named}' in (real.root / "state/reconciler.log").read_text()
    real.configure(runtime="namespaces")
    line = the_line(reconciler(real, "sync"), 2)
    where = f"{real.root}/state/jails"
    assert line.endswith(
        f"jails of the runtime process are in {where}; run reconciler down, then start again"
    )
    assert "nothing to do" in reconciler(real, "plan").stdout
    assert reconciler(real, "down").returncode == 0
    assert not list((real.root / "state/jails").iterdir())


def test_jails_from_before_there_was_a_record_are_adopted_by_auto(real: Bench) -> None:
    process = start(real)
    before = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    (real.root / "state/runtime.json").unlink()
    (real.root / "state/status.json").unlink()
    real.configure(runtime="auto", poll={"interval_s": 0.2}, health={"interval_s": 0.2})
    process = start(real)
    assert wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process) == before
    assert said_runtime(real).startswith("process is ")
    assert json.loads((real.root / "state/runtime.json").read_text()) == {"runtime": "process"}


@pytest.mark.skipif(sys.platform != "linux", reason="jail(8) may work here")
def test_jails_of_a_runtime_that_does_not_work_any_more_are_named(real: Bench) -> None:
    assert reconciler(real, "sync").returncode == 0
    record = real.root / "state/runtime.json"
    record.write_text('{"runtime": "jail"}')
    said = f"jails of the runtime jail are in {real.root}/state/jails, but jails do not work here: "
    for verb in ("down", "plan"):
        assert said in the_line(reconciler(real, verb), 2)
    record.write_text('{"runtime": "process"}')


def test_auto_runs_the_strongest_runtime_and_down_ends_it_whatever_is_named(real: Bench) -> None:
    namespaceyard.need_namespaces()
    real.configure(
        runtime="auto", poll={"interval_s": 0.2}, health={"interval_s": 0.2}, retry={"base_s": 0.1}
    )
    process = start(real)
    running = wait_for(lambda: pids(real) if len(pids(real)) == 3 else None, process)
    strongest = "namespaces is the strongest runtime that works here; jails do not work here: "
    assert said_runtime(real).startswith(strongest)
    assert snapshot(real)["runtime"] == "namespaces"
    real.configure(runtime="process")
    assert reconciler(real, "down").returncode == 0
    assert process.wait(timeout=30) == 0
    assert not any(psutil.pid_exists(pid) for pid in running.values())
    assert not list((real.root / "state/jails").iterdir())
    assert reconciler(real, "sync", "--timeout", "30").returncode == 0
    assert said_runtime(real).startswith("process is the runtime that the settings name")


def test_check_says_which_runtime_the_settings_give_and_leaves_no_trace(bench: Bench) -> None:
    bench.upstream.commit(TWO_NODES)
    done = reconciler(bench, "check", str(bench.upstream.work), "--config", str(bench.config))
    assert (done.returncode, done.stdout) == (0, "2 nodes, 1 app: ok\n")
    assert the_line(done, 0).startswith("reconciler: process is the runtime that the settings name")
    assert not (bench.root / "state").exists()


def test_log_of_a_run_holds_no_key(real: Bench) -> None:
    assert reconciler(real, "sync").returncode == 0
    key = (real.root / "credentials/n1/node.key").read_text().splitlines()[1]
    state = real.root / "state"
    read = [path for path in state.rglob("*") if path.is_file()]
    assert not [path for path in read if key.encode() in path.read_bytes()]
    assert Path(real.root / "run").stat().st_mode & 0o777 == 0o700
