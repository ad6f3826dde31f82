"""Apps that are rolled out in tests: programs that do well, badly, or now and then; by real files.

What runs is read from the machine, never from the reconciler: each program is known by its words.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jails.process import ProcessRuntime
from maculaos.host.clock import SystemClock
from reconciling import REALM, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.activity import Snapshot
    from reconciling import Running

# Runs until it is told to end.
WELL = "import signal; signal.pause()"
# Ends soon, again and again.
CRASHES = "import time; time.sleep(0.3); raise SystemExit(3)"
# A web server at argv[3] that answers with argv[4]; 0: it never answers at all.
SERVES = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[3]))) as server:
    kept = []
    while True:
        one, _ = server.accept()
        if sys.argv[4] == "0":
            kept.append(one)
            continue
        one.settimeout(1)
        try:
            one.recv(4096)
            one.sendall(b"HTTP/1.1 %s Said\\r\\n\\r\\n" % sys.argv[4].encode())
        except OSError:
            pass
        one.close()
"""
# Git is asked often enough, and not all the time: each time costs several processes.
CALM_POLL = {"interval_s": 0.5, "backoff_base_s": 0.1, "backoff_max_s": 0.4}
QUICK = {"min_healthy_time_s": 0.8, "healthy_deadline_s": 4.0, "progress_deadline_s": 8.0}
HEALTH = {"interval_s": 0.1, "timeout_s": 0.1, "failures": 2}


def app(name: str, version: str, code: str = WELL, *words: str, **said: Any) -> str:
    """The file of an app whose program bears its name and version in its words."""
    command = [sys.executable, "-I", "-S", "-c", code, name, version, *words]
    strategy = {**QUICK, **said.pop("strategy", {})}
    spec = {"version": 1, "name": name, "node": "n1", "command": command, "strategy": strategy}
    return yaml.safe_dump({**spec, "restart": {"base_s": 0.05, "max_s": 0.2}, **said})


def programs(bench: Bench) -> Counter[str]:
    """Every program of an app that runs here, by name and version."""
    found: Counter[str] = Counter()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")[:-1]
            folder = str((file.parent / "cwd").readlink())
        except OSError:
            continue
        if "-S" in words and words[1:4] == ["-I", "-S", "-c"] and str(bench.root) in folder:
            found[" ".join(words[5:7])] += 1
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def a_rollout_bench(**settings: Any) -> Iterator[Bench]:
    """A bench that runs real processes; its node is never started, for want of credentials."""
    with a_bench() as bench:
        bench.runtime = None
        bench.configure(**settings)
        bench.upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)})
        yield bench


def ended(bench: Bench) -> None:
    """End everything, and see that nothing is left."""
    down = [sys.executable, "-m", "reconciler.cli", "down", "--config", str(bench.config)]
    done = subprocess.run(down, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not programs(bench)


def cleared(bench: Bench) -> None:
    """The same, without a process for it."""
    runtime = ProcessRuntime(bench.root / "state/jails", SystemClock())
    for jail in runtime.look():
        runtime.remove(jail)
    assert not programs(bench)


def events(bench: Bench) -> str:
    return bench.log.getvalue()


async def logged(running: Running, bench: Bench, text: str) -> Snapshot:
    return await running.until(lambda _: text in events(bench))


async def applied(running: Running, revision: str) -> Snapshot:
    """The node is blocked for want of credentials, so nothing ever converges as a whole."""
    return await running.until(lambda s: s.status.revisions.applied == revision)


async def runs(running: Running, bench: Bench, **wanted: int) -> None:
    """Wait until exactly these run: version to count."""
    now = {f"shop {version}": count for version, count in wanted.items()}
    await running.until(lambda _: programs(bench) == now)


def problems(part: str) -> Callable[[Snapshot], bool]:
    return lambda snapshot: any(part in line for line in snapshot.status.problems)
