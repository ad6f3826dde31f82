"""The folder of a machine: overlays of exactly the image they were made for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from imagebuilder.vm.folder import MachineFolder, disk_format, find_image
from imagebuilder.vm.machine import DiskFormat
from maculaos.errors import UsageError
from maculaos.host.commands import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path


class _QemuImg:
    """A qemu-img that makes a file, as its last words say."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        del stdin, timeout_s
        self.asked.append(argv)
        (target,) = (word for word in argv if word.endswith("disk.qcow2"))
        with open(target, "w", encoding="ascii") as file:
            file.write("overlay")
        return ""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A raw image."""
    path = tmp_path / "edge.img"
    path.write_bytes(bytes(1024))
    return path


def test_overlay_is_made_once_and_kept(image: Path, tmp_path: Path) -> None:
    qemu_img, folder = _QemuImg(), MachineFolder(tmp_path / "machine")
    assert not folder.is_kept_for(image)
    folder.prepare(qemu_img, image)
    assert folder.is_kept_for(image)
    assert folder.prepare(qemu_img, image).path == folder.overlay
    (argv,) = qemu_img.asked
    assert argv[-4:] == (str(image), "-F", "raw", str(folder.overlay))
    assert (tmp_path / "machine").stat().st_mode & 0o777 == 0o700


def test_overlay_of_another_image_is_thrown_away(image: Path, tmp_path: Path) -> None:
    qemu_img, folder = _QemuImg(), MachineFolder(tmp_path / "machine")
    folder.prepare(qemu_img, image)
    os.utime(image, ns=(1, 1))
    assert not folder.is_kept_for(image)
    folder.prepare(qemu_img, image)
    assert len(qemu_img.asked) == 2


def test_larger_disk_is_another_disk(image: Path, tmp_path: Path) -> None:
    qemu_img, folder = _QemuImg(), MachineFolder(tmp_path / "machine")
    folder.prepare(qemu_img, image)
    folder.prepare(qemu_img, image, size_mib=4096)
    assert qemu_img.asked[1][-1] == "4096M"


def test_discarding_leaves_nothing_of_the_machine(image: Path, tmp_path: Path) -> None:
    folder = MachineFolder(tmp_path / "machine")
    folder.prepare(_QemuImg(), image)
    folder.discard()
    assert not list(folder.path.iterdir())


@pytest.mark.parametrize(
    ("magic", "form"),
    [(b"QFI\xfb", DiskFormat.QCOW2), (b"KDMV", DiskFormat.VMDK), (b"\xfa\x31", DiskFormat.RAW)],
)
def test_format_is_told_by_the_first_bytes(tmp_path: Path, magic: bytes, form: DiskFormat) -> None:
    (tmp_path / "disk").write_bytes(magic)
    assert disk_format(tmp_path / "disk") is form


@pytest.mark.parametrize("magic", [b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"])
def test_compressed_image_is_refused_with_the_way_out(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "disk").write_bytes(magic)
    with pytest.raises(UsageError, match="unpack it first"):
        disk_format(tmp_path / "disk")


def test_image_is_found_in_its_folder(image: Path, tmp_path: Path) -> None:
    (tmp_path / "edge.qcow2").write_bytes(b"QFI\xfb")
    assert find_image(tmp_path) == image
    assert find_image(image) == image
    (tmp_path / "other.img").write_bytes(b"")
    with pytest.raises(UsageError, match=r"edge\.img, other\.img"):
        find_image(tmp_path)


@pytest.mark.parametrize("name", ["", "missing"])
def test_missing_image_says_how_to_get_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="make image"):
        find_image(tmp_path / "empty" / name)
