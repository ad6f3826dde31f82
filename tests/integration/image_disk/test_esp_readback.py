"""The EFI partition, made and read back by the real tools."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imagebuilder.disk.esp import LOADERS, Esp, build_esp, copy_out, list_files, loader_path
from imagebuilder.disk.partitions import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maculaos.host.commands import SystemRunner

LOADER = bytes(range(256)) * 1000
EPOCH = 1_700_000_000
TOOLS = ("mkfs.vfat", "mmd", "mcopy", "mdir")


def _esp(folder: Path, architecture: str = "amd64", size_bytes: int = 4 * MIB) -> Esp:
    loader, seed = folder / "gptboot.efi", folder / "seed.toml"
    loader.write_bytes(LOADER)
    seed.write_text("[network]\n")
    files = {loader_path(architecture): loader, "macula/seed.toml": seed}
    return Esp(size_bytes=size_bytes, epoch=EPOCH, seed="seed", files=files)


@pytest.mark.parametrize("architecture", LOADERS)
def test_firmware_finds_the_loader(
    tmp_path: Path, need: Callable[..., SystemRunner], architecture: str
) -> None:
    runner, image = need(*TOOLS), tmp_path / "efi.img"
    build_esp(runner, _esp(tmp_path, architecture), image)
    assert list_files(runner, image) == (LOADERS[architecture], "macula/seed.toml")
    copy_out(runner, image, LOADERS[architecture], tmp_path / "read")
    assert (tmp_path / "read").read_bytes() == LOADER


@pytest.mark.parametrize(
    ("size_bytes", "kind"), [(4 * MIB, b"FAT12"), (33 * MIB, b"FAT16"), (260 * MIB, b"FAT32")]
)
def test_size_decides_the_kind_of_fat(
    tmp_path: Path, need: Callable[..., SystemRunner], size_bytes: int, kind: bytes
) -> None:
    image = tmp_path / "efi.img"
    build_esp(need(*TOOLS), _esp(tmp_path, size_bytes=size_bytes), image)
    assert image.stat().st_size == size_bytes
    with image.open("rb") as file:
        boot_sector = file.read(512)
    assert boot_sector[82 if kind == b"FAT32" else 54 :].startswith(kind)


def test_two_builds_are_equal_whatever_the_time_and_the_settings(
    tmp_path: Path, need: Callable[..., SystemRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, esp = need(*TOOLS), _esp(tmp_path)
    build_esp(runner, esp, tmp_path / "one.img")
    (tmp_path / "mtoolsrc").write_text("nonsense\n")
    monkeypatch.setenv("MTOOLSRC", str(tmp_path / "mtoolsrc"))
    monkeypatch.setenv("TZ", "Pacific/Apia")
    for source in esp.files.values():
        os.utime(source, (1, 1))
    (tmp_path / "elsewhere").mkdir()
    build_esp(need(*TOOLS), esp, tmp_path / "elsewhere" / "other.img")
    other = (tmp_path / "elsewhere" / "other.img").read_bytes()
    assert (tmp_path / "one.img").read_bytes() == other


def test_times_are_those_of_the_commit(tmp_path: Path, need: Callable[..., SystemRunner]) -> None:
    runner, image = need(*TOOLS), tmp_path / "efi.img"
    build_esp(runner, _esp(tmp_path), image)
    said = runner.run("env", "TZ=UTC", "mdir", "-i", str(image), "::/EFI/BOOT")
    (line,) = [line for line in said.splitlines() if line.startswith("BOOTX64")]
    assert line.split()[2:] == ["256000", "2023-11-14", "22:13"]
