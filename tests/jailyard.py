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


def idle(name: str = "n1", **more: object) -> JailSpec:
    """A jail that does nothing until it is told to end."""
    return JailSpec(name=name, command=IDLE, **more)  # type: ignore[arg-type]  # the caller's words


def eventually(what: str, condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Return as soon as ``condition`` holds; fail the test if it never does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


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


def _is_of(pid: int, root: Path) -> bool:
    for file in ("cmdline", "environ"):
        with suppress(OSError):
            if os.fsencode(root) in Path(f"/proc/{pid}/{file}").read_bytes():
                return pid != os.getpid()
    return False


def _clear(root: Path) -> None:
    """By force, and whatever state the test left; only what was started for this root."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := processes_of(root)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
