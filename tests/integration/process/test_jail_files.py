"""Files of a jail on a real disk: placed, mended, taken away, and never beyond the jail."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.runtime import JailError
from jails.spec import JailFile
from jailyard import (
    LONELY_SPEC,
    check_starts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from jails.process import ProcessRuntime


def test_foreign_directories_are_neither_seen_nor_touched(
    root: Path, runtime: ProcessRuntime
) -> None:
    (root / "n1").mkdir(parents=True)
    (root / "n1" / "mine").touch()
    (root / "notes.txt").touch()
    assert dict(runtime.look()) == {}
    runtime.stop("n1")
    runtime.remove("n1")
    with pytest.raises(JailError, match=r"in the way, and not ours; move it elsewhere"):
        runtime.ensure(LONELY_SPEC)
    assert [file.name for file in (root / "n1").iterdir()] == ["mine"]


def test_a_link_out_of_the_jail_is_not_followed(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    outside = root.parent / "outside"
    outside.mkdir()
    data = runtime.data_path("n1")
    (data / "etc").symlink_to(outside)
    (data / "key").symlink_to(outside / "key")
    inside = replace(LONELY_SPEC, files=(JailFile(path="key", content=b"secret"),))
    runtime.update_files(inside)
    assert (data / "key").read_bytes() == b"secret"
    assert not (data / "key").is_symlink()
    with pytest.raises(JailError, match="leads out of"):
        runtime.update_files(replace(LONELY_SPEC, files=(JailFile(path="etc/x", content=b""),)))
    assert list(outside.iterdir()) == []


def test_files_have_their_modes_and_go_when_the_spec_drops_them(
    root: Path, runtime: ProcessRuntime
) -> None:
    files = (
        JailFile(path="deep/er/key", content=b"k"),
        JailFile(path="run", content=b"r", mode=0o755),
    )
    runtime.ensure(replace(LONELY_SPEC, files=files))
    data = runtime.data_path("n1")
    modes = {file.path: (data / file.path).stat().st_mode & 0o777 for file in files}
    assert modes == {"deep/er/key": 0o600, "run": 0o755}
    assert root.stat().st_mode & 0o777 == 0o700
    assert (data / "deep").stat().st_mode & 0o777 == 0o700
    (data / "own").touch()
    runtime.update_files(replace(LONELY_SPEC, files=files[1:]))
    assert not (data / "deep").exists()
    assert (data / "own").exists()


def test_a_file_that_changed_on_disk_is_drift_and_is_mended(
    root: Path, runtime: ProcessRuntime
) -> None:
    spec = replace(LONELY_SPEC, files=(JailFile(path="a", content=b"a"),))
    runtime.ensure(spec)
    before = jailyard.facts_of(root)
    file = runtime.data_path("n1") / "a"

    def block() -> None:
        file.unlink()
        os.mkfifo(file)

    def link_to_its_like() -> None:
        like = file.rename(root.parent / "like")
        file.symlink_to(like)

    def change() -> None:
        file.write_bytes(b"b")

    def open_up() -> None:
        file.chmod(0o644)

    for spoil in (change, open_up, file.unlink, block, link_to_its_like):
        spoil()
        assert jailyard.facts_of(root).files_digest != spec.files_digest()
        runtime.ensure(spec)
        assert jailyard.facts_of(root) == before


def test_a_deleted_data_directory_is_drift_and_update_files_mends_it(
    root: Path, runtime: ProcessRuntime
) -> None:
    spec = replace(LONELY_SPEC, files=(JailFile(path="deep/a", content=b"a"),))
    runtime.ensure(spec)
    before = jailyard.pid_of(root)
    shutil.rmtree(runtime.data_path("n1"))
    assert jailyard.facts_of(root).files_digest != spec.files_digest()
    runtime.update_files(spec)
    assert jailyard.facts_of(root).files_digest == spec.files_digest()
    assert runtime.data_path("n1").stat().st_mode & 0o777 == 0o700
    assert jailyard.pid_of(root) == before


def test_a_deleted_data_directory_is_drift_even_without_files(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    shutil.rmtree(runtime.data_path("n1"))
    assert jailyard.facts_of(root).files_digest != LONELY_SPEC.files_digest()
    runtime.update_files(LONELY_SPEC)
    assert jailyard.facts_of(root).files_digest == LONELY_SPEC.files_digest()


@pytest.mark.parametrize("is_updated", [False, True])
def test_a_program_whose_data_directory_was_deleted_is_replaced_once(
    root: Path, runtime: ProcessRuntime, is_updated: bool
) -> None:
    """Also when the directory is back before anybody looks: it is not the one that it runs in."""
    runtime.ensure(LONELY_SPEC)
    check_starts(root, 1)
    before = jailyard.pid_of(root)
    shutil.rmtree(runtime.data_path("n1"))
    if is_updated:
        runtime.update_files(LONELY_SPEC)
    assert jailyard.facts_of(root).program_digest != LONELY_SPEC.program_digest()
    runtime.ensure(LONELY_SPEC)
    after = jailyard.pid_of(root)
    assert after != before
    check_starts(root, 1)
    runtime.ensure(LONELY_SPEC)
    facts = jailyard.facts_of(root)
    assert facts.pid == after
    assert facts.program_digest == LONELY_SPEC.program_digest()
    assert os.path.samefile(f"/proc/{after}/cwd", runtime.data_path("n1"))


def test_a_program_that_left_its_data_directory_is_replaced_too(
    root: Path, runtime: ProcessRuntime
) -> None:
    """The number of a deleted directory may be given to the next one; it is not mistaken."""
    spec = replace(LONELY_SPEC, command=("sh", "-c", "cd / && exec sleep 1000"))
    runtime.ensure(spec)
    before = jailyard.pid_of(root)
    for _ in range(3):
        shutil.rmtree(runtime.data_path("n1"))
        runtime.update_files(spec)
        assert jailyard.facts_of(root).program_digest != spec.program_digest()
    runtime.ensure(spec)
    assert jailyard.pid_of(root) != before
