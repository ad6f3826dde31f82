"""Unpacking of real archives, honest and hostile; nothing outside of the folder ever changes."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.releases.members import ArchiveBudget, BadArchive
from reconciler.releases.unpacking import unpack
from releasehouse import header, tar_of, tree_of

HONEST: dict[str, Any] = {
    "app-1": None,
    "app-1/bin/run": b"#!/bin/sh\n",
    "app-1/lib/data": b"x" * 200_000,
    "app-1/empty": None,
    "app-1/run": header("app-1/run", tarfile.SYMTYPE, "bin/run"),
    "app-1/again": header("app-1/again", tarfile.LNKTYPE, "app-1/bin/run"),
}
UNPACKED = {
    "bin": None,
    "bin/run": b"#!/bin/sh\n",
    "lib": None,
    "lib/data": b"x" * 200_000,
    "empty": None,
    "run": "bin/run",
    "again": b"#!/bin/sh\n",
}


def unpacked(
    folder: Path, content: bytes, strip: int = 0, budget: ArchiveBudget | None = None
) -> Path:
    archive, staging = folder / "archive", folder / "staging"
    archive.write_bytes(content)
    staging.mkdir()
    with archive.open("rb") as file:
        unpack(file, staging, budget or ArchiveBudget(), strip)
    return staging


@pytest.mark.parametrize("packing", ["", "gz", "xz", "bz2"])
def test_an_honest_archive_is_unpacked_as_it_is(tmp_path: Path, packing: str) -> None:
    content = tar_of(HONEST, packing)
    staging = unpacked(tmp_path, content, strip=1)
    assert tree_of(staging) == UNPACKED
    assert (staging / "bin/run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("packing", ["", "gz", "xz", "bz2"])
def test_an_archive_that_is_cut_short_anywhere_is_refused(tmp_path: Path, packing: str) -> None:
    content = tar_of(HONEST, packing)
    for number, part in enumerate((3, 20, len(content) // 2, len(content) * 9 // 10)):
        folder = tmp_path / str(number)
        folder.mkdir()
        if packing == "" and part == len(content) * 9 // 10:
            continue  # only the zeros at the end are cut
        with pytest.raises(BadArchive):
            unpacked(folder, content[:part])


def test_gzip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    content = bytearray(tar_of(HONEST, "gz"))
    content[-6] ^= 1
    with pytest.raises(BadArchive):
        unpacked(tmp_path, bytes(content))


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with gzip.open(bomb, "wb") as file:
        info = tarfile.TarInfo("zeros")
        info.size = 100 << 20
        file.write(info.tobuf())
        for _ in range(100):
            file.write(bytes(1 << 20))
    with pytest.raises(BadArchive, match="unpacks"):
        unpacked(tmp_path, bomb.getvalue(), budget=ArchiveBudget(ratio=10))
    assert tree_of(tmp_path / "staging") == {}


def test_a_huge_extended_header_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./PaxHeaders/x")
    info.type = tarfile.XHDTYPE
    info.size = 64 << 20
    content = gzip.compress(info.tobuf() + bytes(64 << 20), 1)
    with pytest.raises(BadArchive, match="more than it may"):
        unpacked(tmp_path, content)


@pytest.mark.parametrize(
    "members",
    [
        {"/etc/x": b""},
        {"../x": b""},
        {"dev": header("dev", tarfile.CHRTYPE)},
        {"pipe": header("pipe", tarfile.FIFOTYPE)},
        {"suid": header("suid", tarfile.REGTYPE, mode=0o4755)},
        {"l": header("l", tarfile.SYMTYPE, "/etc"), "l/x": b""},
        {"l": header("l", tarfile.SYMTYPE, "../outside")},
        {"l": header("l", tarfile.LNKTYPE, "../outside")},
        {"l": header("l", tarfile.SYMTYPE, "."), "l/x": b""},
        {"a": b"1", "A": b"2"},
        {"odd": header("odd", b"Z")},
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, members: dict[str, Any]) -> None:
    (tmp_path / "outside").write_text("untouched")
    with pytest.raises(BadArchive):
        unpacked(tmp_path, tar_of(members))
    assert (tmp_path / "outside").read_text() == "untouched"


NAMES = st.lists(
    st.sampled_from(["a", "b", "B", "..", ".", "outside", "staging", "é", "e\u0301"]),
    min_size=1,
    max_size=4,
).map("/".join)
TYPES = [
    tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.CHRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z",
]  # fmt: skip
ANY = st.tuples(
    st.one_of(NAMES, NAMES.map(lambda name: f"/{name}")),
    st.sampled_from(TYPES),
    NAMES,
    st.sampled_from([0o644, 0o755, 0o4755, 0]),
    st.binary(max_size=20),
)


def hostile(members: list[tuple[str, bytes, str, int, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, target, mode, content in members:
            info = header(name, kind, target, mode)
            has_content = kind in (tarfile.REGTYPE, tarfile.CONTTYPE)
            info.size = len(content) if has_content else 0
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, max_size=8), st.integers(0, 2))
def test_whatever_the_archive_nothing_outside_changes(
    members: list[tuple[str, bytes, str, int, bytes]], strip: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="s3-hostile-") as name:
        _nothing_outside_changes(Path(name), hostile(members), strip)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_unpacked_or_refused(data: st.DataObject) -> None:
    content = bytearray(tar_of({"d/x": b"hello", "l": header("l", tarfile.SYMTYPE, "d/x")}))
    for place in data.draw(st.lists(st.integers(0, 2600), min_size=1, max_size=6)):
        content[place % len(content)] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory(prefix="s3-damaged-") as name:
        _nothing_outside_changes(Path(name), bytes(content), 0)


def _nothing_outside_changes(top: Path, content: bytes, strip: int) -> None:
    folder = top / "in" / "deep"
    folder.mkdir(parents=True)
    (top / "outside").write_text("untouched")
    (top / "in" / "outside").write_text("untouched")
    try:
        staging = unpacked(folder, content, strip)
    except BadArchive:
        staging = folder / "staging"
    else:
        inside = staging.resolve()
        for path in staging.rglob("*"):
            assert path.resolve(strict=True).is_relative_to(inside)
            assert path.stat().st_mode & 0o7022 == 0
    left = {name for name in tree_of(top) if not name.startswith("in/deep/")}
    assert left == {"in", "in/deep", "in/outside", "outside"}
    assert {each.name for each in folder.iterdir()} == {"archive", "staging"}
    assert (top / "outside").read_text() == (top / "in" / "outside").read_text() == "untouched"
