"""The EFI partition: what is asked of mkfs.vfat and mtools, and what is refused before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.disk.esp import Esp, build_esp, loader_path
from imagebuilder.disk.partitions import MIB
from maculaos.errors import UsageError
from maculaos.host.commands import ScriptedRunner

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_700_000_000


@pytest.mark.parametrize(
    ("architecture", "path"),
    [("amd64", "EFI/BOOT/BOOTX64.EFI"), ("aarch64", "EFI/BOOT/BOOTAA64.EFI")],
)
def test_loader_lies_where_firmware_looks(architecture: str, path: str) -> None:
    assert loader_path(architecture) == path


def test_other_architectures_have_no_loader() -> None:
    with pytest.raises(UsageError, match=r"riscv64; known: amd64, aarch64"):
        loader_path("riscv64")


@pytest.mark.parametrize(
    "path", ["", "/EFI", "EFI//x", "EFI/../x", "EFI/", "a b", "*", "x:y", "ü", "x" * 65]
)
def test_paths_that_fat_or_mtools_would_take_otherwise_are_refused(
    tmp_path: Path, path: str
) -> None:
    with pytest.raises(UsageError, match="cannot lie on the EFI partition"):
        Esp(size_bytes=MIB, epoch=EPOCH, seed="", files={path: tmp_path})


@pytest.mark.parametrize("other", ["EFI/A", "efi/b", "efi"])
def test_paths_that_differ_in_case_alone_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(UsageError, match="are the same"):
        Esp(size_bytes=MIB, epoch=EPOCH, seed="", files={"EFI/a": tmp_path, other: tmp_path})


@pytest.mark.parametrize("size", [0, MIB - 512, MIB + 512, 513 * MIB])
def test_sizes_out_of_bounds_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"cannot have {size} bytes"):
        Esp(size_bytes=size, epoch=EPOCH, seed="")


@pytest.mark.parametrize("epoch", [0, 4_354_819_200])
def test_times_that_fat_does_not_have_are_refused(epoch: int) -> None:
    with pytest.raises(UsageError, match="FAT has no time"):
        Esp(size_bytes=MIB, epoch=epoch, seed="")


@pytest.mark.parametrize("label", ["", "seed", "A B", "X" * 12])
def test_labels_that_fat_does_not_have_are_refused(label: str) -> None:
    with pytest.raises(UsageError, match="FAT has no label"):
        Esp(size_bytes=MIB, epoch=EPOCH, seed="", label=label)


def test_files_that_do_not_fit_are_refused_before_a_tool_runs(tmp_path: Path) -> None:
    large = tmp_path / "loader"
    large.write_bytes(bytes(MIB // 2 + 1))
    runner = ScriptedRunner({})
    esp = Esp(size_bytes=MIB, epoch=EPOCH, seed="", files={"X": large})
    with pytest.raises(UsageError, match=r"524289 bytes do not fit.*image\.toml"):
        build_esp(runner, esp, tmp_path / "efi.img")
    assert runner.asked == []
