"""The main job, as ``make up-check`` plays it: real Git, real QUIC, real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import jailyard
import namespaceyard
from demo.acts import ACTS
from demo.machine import node_processes, processes
from demo.site import Site, free_port, prepare
from maculaos.host.files import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, since sockets will lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="macula-", dir="/tmp"))  # short: sockets lie in it
    yield folder / "check"
    shutil.rmtree(folder)


ENVIRONMENT = {**os.environ, "PYTHONPATH": "examples", "COLUMNS": "160"}


def words(verb: str, root: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "demo", verb, "--root", str(root))


def demo(verb: str, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*words(verb, root), *options),
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@contextmanager
def up(root: Path, *options: str) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """The demo in the foreground of a process group of its own, its three nodes running."""
    site = Site(root)
    prepare(site, {name: free_port() for name in ("n1", "n2", "n3")}, lambda _: None)
    running = subprocess.Popen(
        (*words("up", root), *options),
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while len(node_processes(site)) < 3:
            assert running.poll() is None
            assert time.monotonic() < deadline
        yield site, running
    finally:
        running.kill()
        running.wait()
        demo("down", root)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("runtime", ["process", "namespaces"])
def test_every_act_of_the_main_job_happens(root: Path, runtime: str) -> None:
    if runtime == "namespaces":
        namespaceyard.need_network()
    done = demo("check", root, "--runtime", runtime)
    log = root / "reconciler.log"
    said = log.read_text() if log.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{said[-8000:]}"
    assert done.stdout.count(" ok ") == len(ACTS)
    assert f"runtime name={runtime} " in said


def test_ctrl_c_stops_everything_and_leaves_no_process(root: Path) -> None:
    with up(root) as (site, running):
        # A terminal sends it to the whole group in its foreground.
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=30) == 0
        assert processes(site) == []
        assert [path for path in site.run.iterdir() if path.is_socket()] == []


def test_down_cleans_up_after_a_crash(root: Path) -> None:
    with up(root) as (site, running):
        running.kill()
        running.wait()
        assert len(node_processes(site)) == 3
        done = demo("down", root)
        assert done.returncode == 0, done.stderr
        assert processes(site) == []
        assert [path for path in site.run.iterdir() if path.is_socket()] == []


def test_up_with_another_runtime_ends_the_jails_of_the_one_before(root: Path) -> None:
    namespaceyard.need_namespaces()
    with up(root) as (site, running):
        running.kill()
        running.wait()
        before = node_processes(site)
        with up(root, "--runtime", "namespaces") as (site, _):
            jailyard.eventually(
                "three others run",
                lambda: len(set(node_processes(site).values()) - set(before.values())) == 3,
            )
            assert not any(map(psutil.pid_exists, before.values()))
            assert (site.state / "runtime.json").read_text() == '{"runtime": "namespaces"}\n'
    assert processes(Site(root)) == []


def test_a_port_of_somebody_else_is_named_before_anything_starts(root: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        prepare(Site(root), {"n2": taken.getsockname()[1]}, lambda _: None)
        done = demo("up", root)
    assert done.returncode == 1
    assert "n2 cannot listen on 127.0.0.1 port" in done.stderr
    assert processes(Site(root)) == []


def test_down_without_a_demo_says_so(root: Path) -> None:
    done = demo("down", root)
    assert done.returncode == 0
    assert "nothing to stop" in done.stderr


def test_repository_of_the_shell_is_left_alone(root: Path) -> None:
    other = root.parent / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    before = (other / ".git/config").read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        with suppress(OSError):  # taken by somebody else is as good
            taken.bind(("127.0.0.1", 4701))
        done = subprocess.run(
            words("up", root),
            cwd=CHECKOUT,
            env={**ENVIRONMENT, "GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "n1 cannot listen" in " ".join(done.stderr.split()), done.stderr
    assert (other / ".git/config").read_text() == before
    assert not (other / ".git/index").exists()
    assert (Site(root).worktree / "realm.yaml").exists()


def test_site_is_prepared_by_one_at_a_time(root: Path) -> None:
    with exclusive_lock(root.with_name(f"{root.name}.lock")):
        for verb in ("up", "check"):
            refused = demo(verb, root)
            assert refused.returncode == 1
            assert "another make is at work here" in refused.stderr
            assert "Traceback" not in refused.stderr
    assert not root.exists()
