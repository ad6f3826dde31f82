"""Whoever renames a jail of plain processes may be killed before any change to a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.runtime import JailError
from jails.spec import JailFile, JailState, Restart, RestartPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from jails.process import ProcessRuntime

SPEC = jailyard.idle(files=(JailFile(path="etc/config", content=b"one"),), stop_deadline_s=5.0)
# A caller in a process of its own, that dies as by SIGKILL.
CALLER = (
    "import os, sys; from pathlib import Path; import filechanges, jailyard\n"
    "root, change = sys.argv[1:]\n"
    "runtime = jailyard.runtime_at(Path(root))\n"
    "with filechanges.end_before(int(change), lambda: os._exit(9)):\n"
    "    runtime.rename('n1', 'n2')\n"
)


def is_done(root: Path, change: int) -> bool:
    """Whether the renaming had no change of that number."""
    tests = os.path.dirname(jailyard.__file__)
    done = subprocess.run(
        [sys.executable, "-c", CALLER, str(root), str(change)],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": tests, "PATH": os.defpath},
    )
    assert done.returncode in (0, 9), done.stderr
    return done.returncode == 0


def rest(runtime: ProcessRuntime) -> None:
    runtime.ensure(SPEC)
    (runtime.data_path("n1") / "written").write_text("first")
    runtime.stop("n1")
    runtime.snapshot("n1", "first")
    (runtime.data_path("n1") / "written").write_text("kept")


def check_has_all(runtime: ProcessRuntime, name: str) -> None:
    assert (runtime.data_path(name) / "written").read_text() == "kept"
    assert runtime.snapshots(name) == ["first"]
    assert runtime.look()[name].state is JailState.STOPPED
    assert runtime.look()[name].files_digest == SPEC.files_digest()


@pytest.mark.timeout(120)
def test_a_renaming_killed_before_any_change_is_finished_when_it_is_repeated(
    root: Path, runtime: ProcessRuntime
) -> None:
    rest(runtime)
    seen, change = set(), 0
    rested = root.parent / "rested"
    shutil.copytree(root / "n1", rested)
    while not (change and is_done(root, change)):
        if change:
            (name,) = runtime.look()
            seen.add(name)
            check_has_all(runtime, name)
            runtime.rename("n1", "n2")
            assert [each.name for each in root.iterdir()] == ["n2"]
            check_has_all(runtime, "n2")
            runtime.remove("n2")
            shutil.copytree(rested, root / "n1")
        change += 1
    assert seen == {"n1", "n2"}
    assert change > 10
    runtime.ensure(replace(SPEC, name="n2"))
    assert (runtime.data_path("n2") / "written").read_text() == "kept"
    assert jailyard.facts_of(root, "n2").state is JailState.RUNNING


def test_a_jail_that_failed_for_good_is_renamed_and_failed_no_more(
    root: Path, runtime: ProcessRuntime
) -> None:
    spec = replace(SPEC, restart=Restart(policy=RestartPolicy.NEVER))
    runtime.ensure(spec)
    os.kill(jailyard.pid_of(root), signal.SIGKILL)
    jailyard.eventually("it has failed", lambda: jailyard.facts_of(root).state is JailState.FAILED)
    runtime.rename("n1", "n2")
    assert runtime.look()["n2"].state is JailState.STOPPED


def test_an_orphan_and_a_program_without_its_folder_are_not_renamed(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(SPEC)
    os.kill(jailyard.keeper_of(root), signal.SIGKILL)
    jailyard.eventually(
        "it is an orphan", lambda: jailyard.facts_of(root).state is JailState.ORPHANED
    )
    with pytest.raises(JailError, match="n1: it runs; stop it first"):
        runtime.rename("n1", "n2")
    shutil.rmtree(root / "n1")
    with pytest.raises(JailError, match="n1: it runs; stop it first"):
        runtime.rename("n1", "n2")
    rest_as(runtime, "n3")
    with pytest.raises(JailError, match="n1: it runs; remove it first"):
        runtime.rename("n3", "n1")
    assert sorted(runtime.look()) == ["n1", "n3"]
    assert not (root / "n1").exists()
    runtime.remove("n1")
    runtime.rename("n3", "n1")
    assert list(runtime.look()) == ["n1"]


def rest_as(runtime: ProcessRuntime, name: str) -> None:
    runtime.ensure(replace(SPEC, name=name))
    runtime.stop(name)


def test_the_rest_of_a_removal_that_broke_off_is_no_obstacle(
    root: Path, runtime: ProcessRuntime
) -> None:
    rest(runtime)
    rest_as(runtime, "n2")
    shutil.rmtree(root / "n2/data")
    (root / "n3").mkdir()
    runtime.rename("n1", "n2")
    check_has_all(runtime, "n2")
    runtime.rename("n2", "n3")
    check_has_all(runtime, "n3")


def test_what_is_not_ours_is_neither_replaced_nor_moved(
    root: Path, runtime: ProcessRuntime
) -> None:
    rest(runtime)
    (root / "n2").mkdir()
    (root / "n2/theirs").touch()
    with pytest.raises(JailError, match="n2 is in the way, and not ours; move it elsewhere"):
        runtime.rename("n1", "n2")
    check_has_all(runtime, "n1")
    runtime.rename("n2", "n4")
    assert [each.name for each in (root / "n2").iterdir()] == ["theirs"]


def test_a_copy_that_was_to_become_the_writable_part_counts_as_one(
    root: Path, runtime: ProcessRuntime
) -> None:
    rest(runtime)
    (root / "n1/data").rename(root / "n1/data.new")
    (root / "n1/snapshots").rename(root / "n1/data.old")
    rest_as(runtime, "n2")
    (root / "n2/data").rename(root / "n2/data.new")
    with pytest.raises(JailError, match="n2: has a writable part of its own"):
        runtime.rename("n1", "n2")
    runtime.rename("n1", "n3")
    assert (root / "n3/data/written").read_text() == "kept"
    assert not (root / "n3/data.old").exists()
