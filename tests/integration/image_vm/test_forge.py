"""What tests of the booted image make before they boot it: seeds, spoiled slots, ssh settings."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from imagebuilder.disk import esp
from imagebuilder.disk.bundle import verify_bundle
from imagebuilder.disk.signature import SignatureRefused
from imagebuilder.vm.seed import SIZE_BYTES, write_seed_disk
from maculaos.errors import UsageError
from maculaos.host.commands import SystemRunner
from vm import bundles
from vm.bundles import INIT_PATH, NO_INIT, Forge
from vm.ssh import _CONFIG, ALIAS

if TYPE_CHECKING:
    from pathlib import Path

SLOT = b"x" * 100 + INIT_PATH + bytes(1 << 20)


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Makes bundles."""
    (tmp_path / "slot").write_bytes(SLOT[: 1 << 20])
    return Forge(tmp_path)


@pytest.mark.parametrize("block", [1 << 20, 128, 101, 50])
def test_spoiled_slot_differs_in_that_text_alone(
    forge: Forge, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_BLOCK_BYTES", block)
    (tmp_path / "slot").write_bytes(SLOT[:4096])
    spoiled = forge.spoil(tmp_path / "slot", INIT_PATH, NO_INIT)
    assert spoiled.read_bytes() == SLOT[:4096].replace(INIT_PATH, NO_INIT)


def test_text_that_is_not_there_is_told(forge: Forge, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nowhere"):
        forge.spoil(tmp_path / "slot", b"nothing like it", b"something other")


def test_bundles_are_good_corrupt_or_a_strangers(forge: Forge, tmp_path: Path) -> None:
    trusted = [forge.key().public]
    good = forge.bundle(tmp_path / "slot", "99.1")
    assert verify_bundle(good, trusted).version == "99.1"
    with pytest.raises(UsageError):
        verify_bundle(forge.corrupt(good), trusted)
    with pytest.raises(SignatureRefused):
        verify_bundle(forge.bundle(tmp_path / "slot", "99.2", key="stranger"), trusted)


def test_seed_disk_is_a_whole_fat_volume_that_others_cannot_read(tmp_path: Path) -> None:
    if shutil.which("mcopy") is None:
        pytest.skip("not installed: mtools")
    (tmp_path / "seed.toml").write_text("version = 1\n")
    runner = SystemRunner()
    disk = write_seed_disk(runner, {"seed.toml": tmp_path / "seed.toml"}, tmp_path / "seed.img")
    content = disk.read_bytes()
    assert len(content) == SIZE_BYTES
    # What the appliance knows FAT by.
    assert content[54:57] == b"FAT"
    assert content[510:512] == b"\x55\xaa"
    assert disk.stat().st_mode & 0o777 == 0o600
    assert esp.list_files(runner, disk) == ("seed.toml",)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b"])
def test_names_that_leave_the_seed_disk_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot lie on a seed disk"):
        write_seed_disk(SystemRunner(), {name: tmp_path / "x"}, tmp_path / "seed.img")


def test_ssh_understands_its_settings_and_believes_only_the_pinned_key(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("not installed: ssh")
    names = {"key": "id", "known_hosts": "known", "control": "c"}
    text = _CONFIG.format(alias=ALIAS, port=2222, **{k: tmp_path / v for k, v in names.items()})
    (tmp_path / "config").write_text(text)
    said = subprocess.run(
        ["ssh", "-G", "-F", str(tmp_path / "config"), ALIAS],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.splitlines()
    for line in ("hostname 127.0.0.1", "port 2222", "user root", f"hostkeyalias {ALIAS}"):
        assert line in said
    assert {"stricthostkeychecking true", "stricthostkeychecking yes"} & set(said)
    assert f"userknownhostsfile {tmp_path / 'known'}" in said
