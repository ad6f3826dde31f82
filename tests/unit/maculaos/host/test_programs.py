"""The gate: no program runs before its parent knows it, nor after its parent died.

Each case runs in a small Python of its own, with one thread, as a keeper is.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import os, signal, sys
from pathlib import Path
from maculaos.host.programs import Launch, start_at_gate

def start(*command, inherited=()):
    return start_at_gate(Launch(
        command=command, environment={"PATH": "/usr/bin:/bin", "WORD": "hello"},
        directory=Path(sys.argv[1]), output=1, inherited=inherited,
    ))
"""


def run(tmp_path: Path, code: str) -> str:
    """What a parent that does ``code`` prints, its children included."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in {0, -9}, done.stderr
    return done.stdout


def test_a_released_program_runs_with_what_it_was_given(tmp_path: Path) -> None:
    code = "p = start('sh', '-c', 'echo $WORD $PWD; exit 5'); p.release(); sys.exit(p.reap() - 5)"
    assert run(tmp_path, code) == f"hello {tmp_path}\n"


def test_nothing_runs_before_the_gate_opens(tmp_path: Path) -> None:
    code = "p = start('touch', 'ran'); p.withdraw(); print(p.reap())"
    assert run(tmp_path, code) == "127\n"
    assert not (tmp_path / "ran").exists()


def test_a_parent_killed_at_the_gate_takes_the_program_with_it(tmp_path: Path) -> None:
    # run() returns when nobody holds its pipes any more: the child is gone too.
    run(tmp_path, "start('touch', 'ran'); os.kill(os.getpid(), signal.SIGKILL)")
    assert not (tmp_path / "ran").exists()


def test_a_program_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    code = """
for command in ('nosuch', './data'):
    p = start(command)
    try: p.release()
    except OSError as error: print(error.strerror, p.reap())
"""
    assert run(tmp_path, code) == "No such file or directory 127\nPermission denied 127\n"


def test_an_ended_program_keeps_its_number_until_it_is_reaped(tmp_path: Path) -> None:
    code = """
p = start('sleep', '1000'); p.release()
print(p.has_ended(), os.getpgid(p.pid) == os.getsid(p.pid) == p.pid)
p.signal_group(signal.SIGKILL)
while not p.has_ended(): pass
os.kill(p.pid, 0)
print(p.has_ended(), p.reap())
"""
    assert run(tmp_path, code) == "False True\nTrue -9\n"


def test_ignored_signals_are_not_passed_on(tmp_path: Path) -> None:
    code = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
p = start('sh', '-c', 'kill -INT $$; echo survived'); p.release(); print(p.reap())
p = start('sh', '-c', 'kill -PIPE $$; echo survived'); p.release(); print(p.reap())
"""
    assert run(tmp_path, code) == "-2\n-13\n"
