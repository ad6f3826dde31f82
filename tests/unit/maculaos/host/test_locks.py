"""Locks: one holder, freed by death, and a directory that was made anew is another lock."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from maculaos.host.clock import FakeClock
from maculaos.host.files import AlreadyLocked
from maculaos.host.locks import is_locked, locked_directory, take_lock

if TYPE_CHECKING:
    from pathlib import Path


def test_one_holder_until_the_last_copy_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    handle = take_lock(path)
    copy = os.dup(handle)
    os.close(handle)
    assert is_locked(path)
    with pytest.raises(AlreadyLocked, match="is locked; stop the other one first"):
        take_lock(path)
    os.close(copy)
    assert not is_locked(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_killed_holder_frees_it_unless_its_child_lives(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from maculaos.host.locks import take_lock\n"
        "handle = take_lock(Path(sys.argv[1])); child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "signal.pause()\n"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
        holder.wait()
        assert is_locked(path)
        os.kill(child, 9)
        holder.stdout.read()  # ends with the last process that has it open
    take_and_close(path)


def take_and_close(path: Path) -> None:
    os.close(take_lock(path))


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take_lock(tmp_path / "lock")


def test_a_directory_is_held_by_one_and_waited_for(tmp_path: Path) -> None:
    clock = FakeClock()
    with locked_directory(tmp_path, clock, 1.0):
        with pytest.raises(AlreadyLocked), locked_directory(tmp_path, clock, 5.0):
            pass
        assert clock.monotonic() >= 5.0
    with locked_directory(tmp_path, clock, 0.0):
        pass


def test_a_directory_that_is_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked_directory(tmp_path / "x", FakeClock(), 1.0):
        pass


def test_a_directory_made_anew_is_another_lock(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with locked_directory(folder, FakeClock(), 1.0):
        folder.rmdir()
        folder.mkdir()
        with locked_directory(folder, FakeClock(), 0.0):
            pass


def test_a_directory_replaced_under_the_one_who_waits_is_not_mistaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    real = fcntl.flock

    def replaced_meanwhile(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        folder.rename(tmp_path / "old")
        folder.mkdir()
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    with locked_directory(folder, FakeClock(), 1.0):
        with pytest.raises(AlreadyLocked), locked_directory(folder, FakeClock(), 0.0):
            pass
        with locked_directory(tmp_path / "old", FakeClock(), 0.0):
            pass


def test_an_error_inside_is_passed_on_and_frees_the_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked_directory(tmp_path, FakeClock(), 1.0):
        (tmp_path / "missing").unlink()
    with locked_directory(tmp_path, FakeClock(), 0.0):
        pass
