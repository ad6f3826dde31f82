"""A whole disk, read back by programs that are not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagebuilder.disk import gpt
from imagebuilder.disk.disk import Disk, Parts, copy_partition, write_disk
from imagebuilder.disk.esp import Esp, build_esp, list_files, loader_path
from imagebuilder.disk.layout import BOOT, CFG, DATA, ESP, SLOTS, Sizes, appliance_partitions
from imagebuilder.disk.partitions import BOOTME, BOOTONCE, FREEBSD_UFS, MIB, Table, place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maculaos.host.commands import SystemRunner

TOOLS = ("mkfs.vfat", "mmd", "mcopy", "mdir")
SIZES = Sizes(slot_bytes=8 * MIB, cfg_bytes=4 * MIB, data_bytes=4 * MIB)
PMBR = b"\xfc" + bytes(509) + b"\x55\xaa"


def _contents(folder: Path, runner: SystemRunner) -> dict[str, Path]:
    sizes = {"gptboot": 70_000, "slot": 6 * MIB, CFG: 2 * MIB, DATA: MIB}
    for number, (name, size) in enumerate(sizes.items(), 1):
        (folder / name).write_bytes(bytes([number]) * size)
    efi = folder / "efi.img"
    files = {loader_path("amd64"): folder / "gptboot"}
    esp = Esp(size_bytes=SIZES.esp_bytes, epoch=1_700_000_000, seed="seed", files=files)
    build_esp(runner, esp, efi)
    slot = folder / "slot"
    own = {name: folder / name for name in (CFG, DATA)}
    return {BOOT: folder / "gptboot", ESP: efi, **dict.fromkeys(SLOTS, slot), **own}


def _table() -> Table:
    return place(appliance_partitions(SIZES), "seed")


def _build(folder: Path, runner: SystemRunner, table: Table) -> Disk:
    folder.mkdir(exist_ok=True)
    contents = _contents(folder, runner)
    parts = Parts(table=table, contents=contents, boot_code=gpt.boot_code(PMBR))
    return write_disk(parts, folder / "disk.raw")


def test_sgdisk_finds_no_problem(tmp_path: Path, need: Callable[..., SystemRunner]) -> None:
    runner = need("sgdisk", *TOOLS)
    disk = _build(tmp_path, runner, _table())
    assert "No problems found" in runner.run("sgdisk", "-v", str(disk.path))


def test_sgdisk_reads_every_partition_as_it_was_meant(
    tmp_path: Path, need: Callable[..., SystemRunner]
) -> None:
    runner = need("sgdisk", *TOOLS)
    table = _table().marked("slotA", BOOTME).marked("slotB", BOOTME | BOOTONCE)
    disk = _build(tmp_path, runner, table)
    for extent in table.extents:
        said = runner.run("sgdisk", "-i", str(extent.index), str(disk.path))
        told = dict(line.split(": ", 1) for line in said.splitlines())
        assert told["Partition GUID code"].startswith(str(extent.kind).upper())
        assert told["Partition unique GUID"] == str(extent.guid).upper()
        assert told["First sector"].split()[0] == str(extent.first)
        assert told["Last sector"].split()[0] == str(extent.last)
        assert int(told["Attribute flags"], 16) == extent.attributes
        assert told["Partition name"] == f"'{extent.name}'"


def test_sgdisk_mends_the_table_from_either_copy(
    tmp_path: Path, need: Callable[..., SystemRunner]
) -> None:
    runner = need("sgdisk", *TOOLS)
    disk = _build(tmp_path, runner, _table())
    for at in (512, disk.size_bytes - 512):
        damaged = tmp_path / "damaged.raw"
        content = bytearray(disk.path.read_bytes())
        content[at : at + 512] = bytes(512)
        damaged.write_bytes(content)
        runner.run("sgdisk", "-e", str(damaged))
        assert "No problems found" in runner.run("sgdisk", "-v", str(damaged))


def test_parser_reads_what_sgdisk_wrote(tmp_path: Path, need: Callable[..., SystemRunner]) -> None:
    runner, disk = need("sgdisk"), tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(16 * MIB)
    words = ("-n", "3:16384:+2M", "-t", "3:A503", "-c", "3:slotA", "-A", "3:set:59")
    runner.run("sgdisk", *words, str(disk))
    content = disk.read_bytes()
    reading = gpt.parse(content[: gpt.HEAD_BYTES], content[-gpt.TAIL_BYTES :], 16 * MIB // 512)
    assert reading.damage == ()
    assert reading.table is not None
    (extent,) = reading.table.extents
    assert (extent.index, extent.name, extent.kind) == (3, "slotA", FREEBSD_UFS)
    assert (extent.first, extent.size_bytes, extent.attributes) == (16384, 2 * MIB, BOOTME)


def test_both_slots_hold_the_same_and_mtools_reads_the_efi_partition(
    tmp_path: Path, need: Callable[..., SystemRunner]
) -> None:
    runner, table = need(*TOOLS), _table()
    disk = _build(tmp_path, runner, table)
    for name in (*SLOTS, ESP):
        copy_partition(disk.path, table.find(name), tmp_path / f"{name}.read")
    slots = [(tmp_path / f"{name}.read").read_bytes() for name in SLOTS]
    assert slots[0] == slots[1] == b"\x02" * (6 * MIB) + bytes(2 * MIB)
    assert list_files(runner, tmp_path / f"{ESP}.read") == (loader_path("amd64"),)
    assert list_files(runner, tmp_path / "efi.img") == (loader_path("amd64"),)


def test_two_builds_are_equal(tmp_path: Path, need: Callable[..., SystemRunner]) -> None:
    runner = need(*TOOLS)
    one = _build(tmp_path / "one", runner, _table())
    other = _build(tmp_path / "other", runner, _table())
    assert one.sha256 == other.sha256
    assert one.path.read_bytes() == other.path.read_bytes()


def test_boot_code_is_where_a_bios_looks(tmp_path: Path, need: Callable[..., SystemRunner]) -> None:
    disk = _build(tmp_path, need(*TOOLS), _table())
    head = disk.path.read_bytes()[:512]
    assert (head[:446], head[-2:]) == (PMBR[:446], b"\x55\xaa")
