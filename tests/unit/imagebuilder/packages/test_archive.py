"""Archives: every compression, and a bound on all that they can become."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from imagebuilder.packages import archive
from imagebuilder.packages.archive import BadArchive, open_archive, read_member
from smallrepository import tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tzst": zstandard.compress,
    "txz": lzma.compress,
    "tgz": gzip.compress,
    "tbz": bz2.compress,
    "tar": bytes,
}


def contents(path: Path, bytes_max: int = 1 << 20, member_max: int = 1 << 20) -> dict[str, bytes]:
    with open_archive(path, bytes_max) as members:
        return {info.name: read_member(stream, member_max, "m") for info, stream in members}


@pytest.mark.parametrize("packing", PACKERS)
def test_first_bytes_tell_the_compression(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "archive.pkg"
    plain = tar([(tarfile.TarInfo("one"), b"1" * 70_000), (tarfile.TarInfo("two"), b"")])
    path.write_bytes(PACKERS[packing](plain))
    assert contents(path) == {"one": b"1" * 70_000, "two": b""}


@pytest.mark.parametrize("packing", PACKERS)
def test_archive_that_grows_too_large_is_refused(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkg"
    path.write_bytes(PACKERS[packing](tar([(tarfile.TarInfo("zeros"), bytes(4_000_000))])))
    with pytest.raises(BadArchive, match="more than 1000000 bytes"):
        contents(path, 1_000_000, 1 << 30)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("keep", [1, 7, 100, 900])
def test_archive_that_is_cut_is_refused(packing: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.pkg"
    whole = PACKERS[packing](tar([(tarfile.TarInfo("one"), bytes(range(256)) * 40)]))
    path.write_bytes(whole[: min(keep, len(whole) // 2)])
    with pytest.raises(BadArchive):
        contents(path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS_MAX", 2)
    path = tmp_path / "many.pkg"
    path.write_bytes(tar([(tarfile.TarInfo(str(n)), b"") for n in range(3)]))
    with pytest.raises(BadArchive, match="more than 2 members"):
        contents(path)


def test_member_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkg"
    path.write_bytes(tar([(tarfile.TarInfo("one"), b"12345")]))
    with pytest.raises(BadArchive, match="larger than 4"):
        contents(path, member_max=4)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.pkg"
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(BadArchive, match="fetch it again"):
        contents(path)
