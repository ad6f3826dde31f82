"""Growth: only what there is to gain is done, in the order that was proved."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.growth import GAIN_BYTES_MIN, filesystem_bytes, next_growth
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

START = 4096


def shown(size: int, data: int, *, is_corrupt: bool = False, behind: str = "") -> str:
    corrupt = " [CORRUPT]" if is_corrupt else ""
    return (
        f"=>  34  {size}  vtbd0  GPT  (2G){corrupt}\n"
        "    1000  100  3  slotA  [bootme]  (1M)\n    2000  100  4  slotB  (1M)\n"
        f"    {START}  {data}  6  data  (1M)\n{behind}"
    )


@given(
    disk=st.integers(1 << 16, 1 << 24),
    data=st.integers(1 << 14, 1 << 15),
    is_corrupt=st.booleans(),
)
def test_growth_ends_with_a_disk_in_full_use(disk: int, data: int, is_corrupt: bool) -> None:
    size, filesystem, done = (data + START if is_corrupt else disk), data * 512, []
    while (step := next_growth(shown(size, data, is_corrupt=is_corrupt), filesystem)) is not None:
        verb = step.argv[1] if step.argv[0] == "gpart" else step.argv[0]
        done.append(verb)
        if verb == "recover":
            is_corrupt, size = False, disk
        elif verb == "resize":
            data = 34 + size - START
        else:
            filesystem = data * 512
        assert len(done) <= 3
    assert done == [each for each in ("recover", "resize", "growfs") if each in done]
    assert (34 + disk - START) * 512 - filesystem < 2 * GAIN_BYTES_MIN


def test_partition_behind_data_is_an_error() -> None:
    with pytest.raises(UsageError, match="cfg lies behind data"):
        next_growth(shown(1 << 20, 1 << 14, behind="  900000  100  7  cfg  (1M)\n"), 0)


def test_disk_without_data_is_an_error() -> None:
    with pytest.raises(UsageError, match="0 disks"):
        next_growth("", 0)


@pytest.mark.parametrize("content", [b"", bytes(1 << 20)])
def test_what_is_no_ufs_is_an_error(content: bytes) -> None:
    with pytest.raises(UsageError, match="no UFS2"):
        filesystem_bytes(lambda offset, size: content[offset:][:size])


@pytest.mark.skipif(shutil.which("makefs") is None, reason="makefs is not installed")
def test_size_is_read_from_a_real_superblock(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    argv = ("makefs", "-t", "ffs", "-B", "little", "-o", "version=2", "-s", "4m", "fs", "tree")
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    image = (tmp_path / "fs").read_bytes()
    found = filesystem_bytes(lambda offset, size: image[offset:][:size])
    assert found == len(image) == 4 << 20
