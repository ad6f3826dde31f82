"""Jails for tests: small programs, roots that leave nothing behind, waiting with a deadline."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jails.keeper.records import JailDirectory
from jails.process import ProcessRuntime, ProcessSettings
from jails.spec import JailSpec, JailState
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jails.spec import JailFacts

PATIENCE_S = 20.0
SETTINGS = ProcessSettings(settle_s=0.03, start_deadline_s=PATIENCE_S)


def python(code: str) -> tuple[str, ...]:
    """A program that runs ``code``, quick to start."""
    return (sys.executable, "-I", "-S", "-c", code)


IDLE = python("import signal; signal.pause()")
# Says so on standard output if another copy runs, and counts its starts.
LONELY = python(
    "import fcntl, os, signal\n"
    "fd = os.open('alone', os.O_CREAT | os.O_RDWR, 0o600)\n"
    "os.write(os.open('starts', os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), b'+')\n"
    "try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "except BlockingIOError: print('TWO COPIES', flush=True)\n"
    "signal.pause()\n"
)
LONELY_SPEC = JailSpec(name="n1", command=LONELY, stop_deadline_s=5.0)
# A program with a child in its group that ignores SIGTERM and writes down who it is.
FAMILY = python(
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    with open('child.new', 'w') as f: f.write(str(os.getpid()))\n"
    "    os.rename('child.new', 'child')\n"
    "    while True: signal.pause()\n"
    "signal.pause()\n"
)


def idle(name: str = "n1", **more: object) -> JailSpec:
    """A jail that does nothing until it is told to end."""
    return JailSpec(name=name, command=IDLE, **more)  # type: ignore[arg-type]  # the caller's words


def eventually(what: str, condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Return as soon as ``condition`` holds; fail the test if it never does."""
    deadline, pause_s = time.monotonic() + within_s, 0.005
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(pause_s)
        # What takes long may be looked at more seldom: a look costs something.
        pause_s = min(0.03, pause_s * 1.1)


def runtime_at(root: Path) -> ProcessRuntime:
    """A runtime that knows nothing but ``root``."""
    return ProcessRuntime(root, SystemClock(), SETTINGS)


@contextmanager
def yard() -> Iterator[Path]:
    """A root for jails, with a short path; what still runs under it at the end is ended."""
    root = Path(tempfile.mkdtemp(prefix="yard", dir="/tmp")) / "jails"
    try:
        yield root
    finally:
        _clear(root)
        shutil.rmtree(root.parent, ignore_errors=True)


def processes_of(root: Path) -> list[int]:
    """Every process, zombies too, that was started for a jail under ``root``."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_of(pid, root)]


def facts_of(root: Path, name: str = "n1") -> JailFacts:
    """What a runtime that has just begun sees."""
    return runtime_at(root).look()[name]


def pid_of(root: Path, name: str = "n1") -> int:
    """The process id of the program, once it runs."""
    eventually(f"{name} runs", lambda: facts_of(root, name).state is JailState.RUNNING)
    pid = facts_of(root, name).pid
    assert pid is not None
    return pid


def directory_of(root: Path, name: str = "n1") -> JailDirectory:
    """Where the records of that jail lie."""
    return JailDirectory(root / name)


def keeper_of(root: Path) -> int:
    """The process id of the keeper, by its report."""
    report = directory_of(root).report()
    assert report is not None
    assert report.keeper is not None
    return report.keeper.pid


def child_of(root: Path) -> int:
    """The process id of the child in ``FAMILY``, once it runs."""
    file = directory_of(root).data / "child"
    eventually("the child runs", file.exists)
    return int(file.read_text())


def is_running(pid: int) -> bool:
    """Whether the process runs; one that awaits reaping does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int) -> None:
    """Return when the process is no more."""
    eventually(f"process {pid} ends", lambda: not is_running(pid))


def check_starts(root: Path, starts: int) -> None:
    """``LONELY`` came so far that often, and no further."""
    file = directory_of(root).data / "starts"
    eventually("it starts", lambda: file.exists() and file.stat().st_size >= starts)
    assert file.stat().st_size == starts


def check_alone(root: Path) -> None:
    """No ``LONELY`` met another copy."""
    assert "TWO COPIES" not in runtime_at(root).logs("n1", 1000)


def check_nothing_left(root: Path) -> None:
    """Neither a process nor a file."""
    assert processes_of(root) == []
    assert list(root.iterdir()) == []


def _is_of(pid: int, root: Path) -> bool:
    for file in ("cmdline", "environ"):
        with suppress(OSError):
            if os.fsencode(root) in Path(f"/proc/{pid}/{file}").read_bytes():
                return pid != os.getpid()
    with suppress(OSError):  # whoever threw all that away may still be in its folder
        return os.readlink(f"/proc/{pid}/cwd").startswith(f"{root}/")
    return False


def _clear(root: Path) -> None:
    """By force, and whatever state the test left; only what was started for this root."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := processes_of(root)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
