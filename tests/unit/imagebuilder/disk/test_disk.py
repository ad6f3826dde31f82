"""The disk file: contents in their places, zeros elsewhere, and a checksum of it all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.disk.disk import Disk, Parts, copy_partition, read_table, write_disk
from imagebuilder.disk.gpt import Reading
from imagebuilder.disk.layout import SLOTS, Sizes, appliance_partitions
from imagebuilder.disk.partitions import MIB, place
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TABLE = place(appliance_partitions(Sizes(slot_bytes=MIB, cfg_bytes=MIB, data_bytes=MIB)), "seed")


def _write(folder: Path, contents: Mapping[str, bytes], code: bytes = b"") -> Disk:
    files = {name: folder / f"{name}.img" for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    return write_disk(Parts(table=TABLE, contents=files, boot_code=code), folder / "disk.raw")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from([extent.name for extent in TABLE.extents]),
        st.integers(0, 512 * 1024).map(lambda size: bytes([size % 256]) * size),
    ),
    st.binary(max_size=446),
)
def test_disk_holds_each_content_at_its_place(
    tmp_path: Path, contents: dict[str, bytes], code: bytes
) -> None:
    disk = _write(tmp_path, contents, code)
    assert read_table(disk.path) == Reading(TABLE, ())
    written = disk.path.read_bytes()
    assert (len(written), disk.size_bytes) == (TABLE.size_bytes, TABLE.size_bytes)
    assert hashlib.sha256(written).hexdigest() == disk.sha256
    assert written.startswith(code)
    for extent in TABLE.extents:
        found = written[extent.offset_bytes : extent.offset_bytes + extent.size_bytes]
        assert found == contents.get(extent.name, b"").ljust(extent.size_bytes, b"\0")


def test_zeros_take_no_room(tmp_path: Path) -> None:
    disk = _write(tmp_path, {"slotA": bytes(MIB), "data": b"x"})
    assert disk.path.stat().st_blocks * 512 < MIB // 2


def test_one_file_fills_both_slots(tmp_path: Path) -> None:
    slot = tmp_path / "slot.img"
    slot.write_bytes(bytes(range(256)) * 4096)
    parts = Parts(table=TABLE, contents=dict.fromkeys(SLOTS, slot))
    disk = write_disk(parts, tmp_path / "disk.raw")
    for name in SLOTS:
        copy_partition(disk.path, TABLE.find(name), tmp_path / name)
        assert (tmp_path / name).read_bytes() == slot.read_bytes()


def test_progress_only_grows_and_ends_at_the_size_of_the_disk(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    parts = Parts(table=TABLE, contents={})
    write_disk(parts, tmp_path / "disk.raw", lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, TABLE.size_bytes), (TABLE.size_bytes, TABLE.size_bytes))


def test_content_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"slotA holds 1048576.*image\.toml"):
        _write(tmp_path, {"slotA": bytes(MIB + 1)})
    assert not (tmp_path / "disk.raw").exists()


def test_content_that_is_missing_is_named(tmp_path: Path) -> None:
    parts = Parts(table=TABLE, contents={"cfg": tmp_path / "cfg.img"})
    with pytest.raises(UsageError, match=r"partition cfg: .*cfg\.img: No such file"):
        write_disk(parts, tmp_path / "disk.raw")


def test_content_for_no_partition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no partition 'slotC'"):
        _write(tmp_path, {"slotC": b""})


@pytest.mark.parametrize("growth", [1, -1])
def test_content_that_changes_while_it_is_read_is_refused(tmp_path: Path, growth: int) -> None:
    cfg = tmp_path / "cfg.img"
    cfg.write_bytes(bytes(1000))

    def change(done: int, total: int) -> None:
        cfg.write_bytes(bytes(1000 + growth))

    with pytest.raises(UsageError, match=r"grew while|ended 1 bytes early"):
        write_disk(Parts(table=TABLE, contents={"cfg": cfg}), tmp_path / "disk.raw", change)
    assert not (tmp_path / "disk.raw").exists()


@pytest.mark.parametrize("size", [0, 512, 34_000, MIB + 1])
def test_files_that_are_no_disks_are_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    with pytest.raises(UsageError, match="is no disk"):
        read_table(tmp_path / "file")
