"""Where a seed is looked for: FAT only, partitions first, never more devices than the bound."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from appliance.media import DEVICES_MAX, Media, candidates, is_fat
from appliance.places import Places
from unit.appliance.startyard import FAT_SECTOR, SEED, Machine

if TYPE_CHECKING:
    from pathlib import Path


def test_partitions_come_before_their_disks_and_strangers_not_at_all() -> None:
    names = ["null", "da0", "da0s1", "vtbd0p2", "vtbd0", "ttyu0", "cd0", "da0p1.eli", "../x"]
    assert candidates(names) == ("gpt/efi", "da0s1", "vtbd0p2", "da0", "vtbd0")
    assert len(candidates(f"da{n}" for n in range(999))) == DEVICES_MAX


@pytest.mark.parametrize(
    ("sector", "is_one"),
    [
        (FAT_SECTOR, True),
        (bytes(82) + b"FAT32   " + bytes(420) + b"\x55\xaa", True),
        (bytes(510) + b"\x55\xaa", False),
        (FAT_SECTOR[:510] + b"\0\0", False),
        (b"", False),
    ],
    ids=["fat12", "fat32", "boot sector", "no mark", "nothing"],
)
def test_only_what_begins_like_fat_is_mounted(sector: bytes, is_one: bool) -> None:
    assert is_fat(sector) is is_one


def test_every_mount_is_let_go_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, sticks={"da0": SEED, "da1": None})
    found = Media(Places(root=tmp_path), machine).find()
    assert found is not None
    assert (found.where, found.content) == ("seed.toml on da0", SEED)
    assert machine.mounted == ""


def test_no_device_is_no_seed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert Media(Places(root=tmp_path), machine).find() is None
    assert Media(Places(root=tmp_path / "none"), machine).find() is None


@pytest.mark.skipif(shutil.which("mformat") is None, reason="mtools is not installed")
@pytest.mark.parametrize("options", [("-T", "2880"), ("-T", "65536"), ("-F", "-T", "262144")])
def test_what_mtools_makes_is_fat(tmp_path: Path, options: tuple[str, ...]) -> None:
    image = tmp_path / "image"
    argv = ["mformat", "-C", "-i", str(image), *options, "-h", "16", "-s", "63", "::"]
    subprocess.run(argv, check=True, capture_output=True)
    assert is_fat(image.read_bytes()[:4096])
