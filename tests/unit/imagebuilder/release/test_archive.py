"""Sets as entries: all that a set says is kept, and nothing of what it must not say."""

from __future__ import annotations

import io
import lzma
import tarfile
from typing import TYPE_CHECKING

import pytest

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.packages.archive import BadArchive
from imagebuilder.packages.store import ContentStore
from imagebuilder.release.archive import read_set
from imagebuilder.release.index import (
    decode_entry,
    encode_entry,
    indexed_set,
    read_index,
    write_index,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def packed(folder: Path, *headers: tarfile.TarInfo) -> Path:
    """A set of members as they are, however hostile."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for header in headers:
            tar.addfile(header, io.BytesIO(b"x" * header.size))
    archive = folder / "set.txz"
    archive.write_bytes(lzma.compress(plain.getvalue(), preset=0))
    return archive


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size = kind, link, size
    return header


def test_every_member_of_a_set_becomes_the_same_entry(tmp_path: Path, store: ContentStore) -> None:
    members = [*smallrelease.base_members(), *smallrelease.kernel_members()]
    archive = tmp_path / "base.txz"
    archive.write_bytes(smallrelease.pack(members))
    entries = read_set(archive, store)
    assert len(entries) == len(members)
    for wanted, entry in zip(members, entries, strict=True):
        assert entry.path == ("" if wanted.path == "." else wanted.path)
        assert (entry.mode, entry.owner, entry.group) == (
            wanted.mode,
            wanted.owner[0],
            wanted.group[0],
        )
        assert ",".join(entry.flags) == wanted.flags
        assert (entry.target, entry.same_as) == (wanted.symlink, wanted.hard_link)
        if entry.source is not None:
            assert entry.source.read_bytes() == wanted.content
        assert (entry.source is None) == (wanted.content is None)


def test_owners_without_a_name_are_kept_as_numbers(tmp_path: Path, store: ContentStore) -> None:
    header = member("file")
    header.uid, header.gid = 59, 5
    (entry,) = read_set(packed(tmp_path, header), store)
    assert (entry.owner, entry.group) == ("59", "5")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (member("/etc/passwd"), "not a relative path"),
        (member("a/../../b"), r"a path with \.\."),
        (member("link", tarfile.LNKTYPE, "../x"), r"a path with \.\."),
        (member("link", tarfile.LNKTYPE, "/etc/passwd"), "not a relative path"),
        (member("dev/mem", tarfile.CHRTYPE), "neither a file"),
        (member("disk", tarfile.BLKTYPE), "neither a file"),
        (member("pipe", tarfile.FIFOTYPE), "neither a file"),
        (member("."), "the root must be a folder"),
        (member("x" * 1100), "more than 1023 characters"),
        (member("link", tarfile.SYMTYPE, "y" * 1100), "without a usable text"),
        (member("link", tarfile.SYMTYPE, ""), "without a usable text"),
    ],
)
def test_hostile_members_are_refused_by_name(
    tmp_path: Path, store: ContentStore, header: tarfile.TarInfo, problem: str
) -> None:
    with pytest.raises(BadArchive, match=problem):
        read_set(packed(tmp_path, header), store)


def test_a_set_that_unpacks_to_too_much_is_refused(tmp_path: Path, store: ContentStore) -> None:
    archive = packed(tmp_path, member("a", size=40_000), member("b", size=40_000))
    assert archive.stat().st_size < 1000
    with pytest.raises(BadArchive):
        read_set(archive, store, bytes_max=50_000)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.7])
def test_a_set_that_is_cut_is_refused(tmp_path: Path, store: ContentStore, keep: float) -> None:
    archive = packed(tmp_path, member("a", size=4000), member("b", size=90_000))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(BadArchive):
        read_set(archive, store)


def test_an_index_spares_the_second_reading(tmp_path: Path, store: ContentStore) -> None:
    archive = packed(tmp_path, member("bin", tarfile.DIRTYPE), member("bin/sh", size=10))
    first = indexed_set(archive, "a" * 64, store, tmp_path / "index")
    archive.unlink()
    assert indexed_set(archive, "a" * 64, store, tmp_path / "index") == first


def test_an_index_whose_bytes_are_gone_is_not_used(tmp_path: Path, store: ContentStore) -> None:
    archive = packed(tmp_path, member("file", size=10))
    (entry,) = indexed_set(archive, "a" * 64, store, tmp_path / "index")
    assert entry.source is not None
    entry.source.unlink()
    (again,) = indexed_set(archive, "a" * 64, store, tmp_path / "index")
    assert again.source is not None
    assert again.source.read_bytes() == b"x" * 10


def test_a_damaged_index_is_not_used(tmp_path: Path) -> None:
    index = tmp_path / "x.jsonl"
    write_index(index, [Entry(path="a", kind=Kind.FOLDER, mode=0o755)])
    assert read_index(index) is not None
    for damaged in ("{", '{"path": "a"}\n', "[]\n", '{"kind": "dir", "other": 1}\n', ""):
        index.write_text(damaged)
        assert read_index(index) is None


def test_an_entry_survives_its_line(tmp_path: Path) -> None:
    entry = Entry(
        path="usr/bin/\udcff x",
        kind=Kind.FILE,
        mode=0o4755,
        owner="unbound",
        flags=("schg", "uarch"),
        source=tmp_path / "s",
        same_as="y",
    )
    assert decode_entry(encode_entry(entry)) == entry
