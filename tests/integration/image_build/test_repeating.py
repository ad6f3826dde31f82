"""Builds that repeat: the same bytes anywhere, nothing twice, and on from where one was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from imageyard import ROOT, STEM, Yard, contents
from maculaos.errors import UsageError
from maculaos.host.files import AlreadyLocked, exclusive_lock

if TYPE_CHECKING:
    from pathlib import Path

KILLER_LIMIT_S = 50


def test_two_builds_in_two_folders_are_byte_identical(built: Yard, tmp_path: Path) -> None:
    other = Yard.make(tmp_path)
    other.build(other.order("elsewhere", packages=str(tmp_path / "repository")))
    first, second = contents(built.folder / "out"), contents(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_killed_at_every_border_of_a_step_it_comes_to_the_same_bytes(yard: Yard) -> None:
    yard.build(yard.order("whole"))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'build'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "imagekiller", str(yard.folder), "cut"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=KILLER_LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    # 13 steps: before and after each, and some within.
    assert int(done.stdout) >= 26
    assert contents(yard.folder / "cut") == contents(yard.folder / "whole")
    left = [path.name for path in (yard.folder / "cut/.build/steps").iterdir()]
    assert not [name for name in left if name.startswith(".")]


def test_changes_rebuild_what_depends_on_them_and_nothing_else(yard: Yard) -> None:
    order = yard.order()
    yard.build(order)
    assert yard.build(order) == ()
    overlay = yard.checkout / "overlays/base/etc/motd.template"
    overlay.write_text("Another appliance.\n")
    after_tree = ("slot", "disk", "qcow2", "zstd", "bundle", "sums")
    assert yard.build(order) == ("overlays", "tree", *after_tree)
    # A comment changes the facts of one step, and nothing that it makes.
    prune = yard.checkout / "image/prune.toml"
    prune.write_text(prune.read_text() + "# The end.\n")
    assert yard.build(order) == ("tree",)
    # Python's own leavings are no part of an overlay.
    (overlay.parent / "x.pyc").write_text("x")
    assert yard.build(order) == ()


def test_what_was_spoilt_or_lost_is_made_again(yard: Yard) -> None:
    order = yard.order()
    yard.build(order)
    before = contents(order.out)
    disk = order.out / f"{STEM}.img"
    disk.write_bytes(b"somebody else's")
    (order.out / f"{STEM}.bundle").unlink()
    assert yard.build(order) == ("disk",)
    assert contents(order.out) == before
    for content in (order.cache / "store").glob("*/*"):
        content.unlink()
    # The index of the sets names bytes that are gone; their content comes back the same.
    assert yard.build(order) == ("unpack", "overlays", "tree")
    assert contents(order.out) == before
    (order.out / "SHA256SUMS").unlink()
    assert yard.build(order) == ()
    assert contents(order.out) == before


def test_only_one_build_uses_a_folder(yard: Yard) -> None:
    order = yard.order()
    order.cache.mkdir()
    with exclusive_lock(order.cache / "lock"), pytest.raises(AlreadyLocked):
        yard.build(order)


def test_another_release_under_a_pinned_name_is_refused(yard: Yard) -> None:
    import smallrelease

    order = yard.order()
    yard.build(order)
    smallrelease.make(yard.folder / "sets", "15.1-EVIL")
    with pytest.raises(UsageError, match="MANIFEST"):
        yard.build(order)


def test_a_sysctl_that_the_release_lacks_stops_the_build(yard: Yard) -> None:
    (yard.checkout / "overlays/base/etc/sysctl.conf").write_text("kern.ipc.maxsokbuf=1\n")
    with pytest.raises(UsageError, match=r"etc/sysctl\.conf:1: kern\.ipc\.maxsokbuf"):
        yard.build(yard.order())
    assert not (yard.folder / "out/SHA256SUMS").exists()
    log = (yard.folder / "out/.build/logs/tree.log").read_text()
    assert "failed: UsageError" in log


def test_a_program_without_its_library_stops_the_build(yard: Yard) -> None:
    prune = yard.checkout / "image/prune.toml"
    prune.write_text(
        prune.read_text() + '[[remove]]\nreason = "a slip"\npaths = ["lib/libutil.so.9"]\n'
    )
    with pytest.raises(UsageError, match=r"needs libutil\.so\.9"):
        yard.build(yard.order())


def test_a_template_that_outgrows_its_memory_stops_the_build(yard: Yard) -> None:
    (yard.checkout / "overlays/base/conf/base/etc/md_size").write_text("8\n")
    with pytest.raises(UsageError, match=r"conf/base/etc/md_size: 4096 bytes"):
        yard.build(yard.order())
