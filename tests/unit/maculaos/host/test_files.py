"""Files change at once or not at all, and nothing leads out of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from maculaos.host.files import (
    AlreadyLocked,
    exclusive_lock,
    make_private_directory,
    remove_leftovers,
    write_atomically,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_bytes(b"old")
    return path


def test_content_and_mode_are_replaced(target: Path) -> None:
    write_atomically(target, b"new", 0o640)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(target.parent) == ["target"]


def test_the_mode_holds_whatever_the_umask(target: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(target, b"new", 0o644)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_secret_is_never_readable_by_others(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    real = os.fchmod

    def spy(handle: int, mode: int) -> None:
        before = os.fstat(handle)
        seen.append((before.st_mode & 0o077, before.st_size))
        real(handle, mode)

    monkeypatch.setattr(os, "fchmod", spy)
    write_atomically(target, b"secret", 0o600)
    assert seen == [(0, 0)]


@pytest.mark.parametrize("call", ["fchmod", "fsync"])
def test_a_failure_leaves_the_old_content_and_nothing_else(
    target: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["target"]


def test_a_directory_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_only_leftovers_of_that_file_are_removed(target: Path) -> None:
    for name in (".target.17.0123abcd", ".target.swp", ".other.17.0123abcd", ".target.17.0123ABCD"):
        (target.parent / name).touch()
    remove_leftovers(target)
    assert sorted(os.listdir(target.parent)) == [
        ".other.17.0123abcd",
        ".target.17.0123ABCD",
        ".target.swp",
        "target",
    ]


def test_private_directories_are_private(tmp_path: Path) -> None:
    made = make_private_directory(tmp_path / "a" / "b")
    assert {each.stat().st_mode & 0o777 for each in (made, made.parent)} == {0o700}
    assert make_private_directory(made) == made


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from maculaos.host.files import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyLocked, match=rf"process {holder.pid}\)"), exclusive_lock(path):
            pass
        holder.kill()
        holder.wait()
        with exclusive_lock(path):
            assert path.read_text() == f"{os.getpid()}\n"
    assert path.read_text() == ""
