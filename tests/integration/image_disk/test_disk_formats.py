"""Formats of a disk, made and compared by the real tools."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING

import pytest

from imagebuilder.disk import formats
from imagebuilder.disk.formats import Format, compare, compress_xz, compress_zstd, convert
from imagebuilder.disk.partitions import MIB
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maculaos.host.commands import SystemRunner

PACKERS = {"xz": compress_xz, "zstd": compress_zstd}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk of a little noise, much that repeats, and more nothing."""
    path = tmp_path / "disk.raw"
    noise = random.Random(1).randbytes(MIB)
    path.write_bytes(noise + b"text" * 500_000 + bytes(9 * MIB) + noise[: MIB // 2])
    with path.open("ab") as file:
        file.truncate(14 * MIB)
    return path


@pytest.mark.parametrize("form", Format)
def test_converted_disk_holds_the_same(
    raw: Path, need: Callable[..., SystemRunner], form: Format
) -> None:
    runner, target = need("qemu-img"), raw.with_name(f"converted.{form}")
    convert(runner, raw, target, form)
    told = json.loads(runner.run("qemu-img", "info", "--output=json", str(target)))
    assert (told["format"], told["virtual-size"]) == (form.value, 14 * MIB)
    compare(runner, raw, target, form)
    runner.run("qemu-img", "convert", "-O", "raw", str(target), str(raw.with_name("back")))
    assert raw.with_name("back").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("form", Format)
def test_two_conversions_are_equal(
    raw: Path, need: Callable[..., SystemRunner], form: Format
) -> None:
    runner, folder = need("qemu-img"), raw.parent
    digests = set()
    for place in ("one", "another place"):
        (folder / place).mkdir()
        target = folder / place / f"disk.{form}"
        convert(runner, raw, target, form)
        digests.add(hashlib.sha256(target.read_bytes()).digest())
    assert len(digests) == 1


def test_difference_is_found_and_nothing_is_left(
    raw: Path, need: Callable[..., SystemRunner]
) -> None:
    runner, target = need("qemu-img"), raw.with_name("disk.qcow2")
    convert(runner, raw, target, Format.QCOW2)
    with raw.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"x")
    with pytest.raises(CommandFailed):
        compare(runner, raw, target, Format.QCOW2)


@pytest.mark.parametrize("tool", PACKERS)
def test_compressed_disk_unpacks_to_the_same(
    raw: Path, need: Callable[..., SystemRunner], tool: str
) -> None:
    runner, target = need(tool), raw.with_name(f"packed.{tool}")
    PACKERS[tool](runner, raw, target)
    runner.run(tool, "--test", "--format=xz" if tool == "xz" else "-q", str(target))
    back = raw.with_name("packed")
    # Both tools name what they unpack after the packed file, and want their own suffix.
    suffixed = raw.with_name("packed.xz" if tool == "xz" else "packed.zst")
    target.rename(suffixed)
    runner.run(tool, "-d", "-k", "-q", str(suffixed))
    assert back.read_bytes() == raw.read_bytes()
    assert suffixed.stat().st_size < 3 * MIB
    assert sorted(path.name for path in raw.parent.iterdir()) == sorted(
        ["disk.raw", "packed", suffixed.name]
    )


@pytest.mark.parametrize("tool", PACKERS)
def test_neither_processors_nor_settings_change_what_is_packed(
    raw: Path, need: Callable[..., SystemRunner], tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = need(tool)
    # More than one block, or threads would have nothing to share.
    monkeypatch.setattr(formats, "_XZ_BLOCK_BYTES", 2 * MIB)
    PACKERS[tool](runner, raw, raw.with_name("one"))
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    for name, value in {"XZ_OPT": "-0", "XZ_DEFAULTS": "-T1", "ZSTD_CLEVEL": "1"}.items():
        monkeypatch.setenv(name, value)
    PACKERS[tool](need(tool), raw, raw.with_name("other"))
    assert raw.with_name("one").read_bytes() == raw.with_name("other").read_bytes()


def test_window_beyond_the_bounds_is_refused(raw: Path, need: Callable[..., SystemRunner]) -> None:
    with pytest.raises(UsageError, match="no window"):
        compress_zstd(need("zstd"), raw, raw.with_name("packed"), window_log=31)


def test_vmdk_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk.vmdk").write_bytes(bytes(1024))
    with pytest.raises(UsageError, match="is no vmdk"):
        formats._fix_content_id(tmp_path / "disk.vmdk")


def test_content_id_that_shrank_leaves_nothing_behind(tmp_path: Path) -> None:
    """qemu-img overwrites the id it drew first; a shorter one leaves bytes beyond the end."""
    digests = set()
    for text in (b"CID=89abcdef\nparentCID=ffffffff\n", b"CID=9abcdef\nparentCID=ffffffff\n\0\n"):
        path = tmp_path / "disk.vmdk"
        header = formats._VMDK_HEADER.pack(b"KDMV", 1, 3, 28672, 128, 1, 1)
        path.write_bytes(header.ljust(512, b"\0") + text.ljust(512, b"\0"))
        formats._fix_content_id(path)
        digests.add(hashlib.sha256(path.read_bytes()).digest())
    assert len(digests) == 1
