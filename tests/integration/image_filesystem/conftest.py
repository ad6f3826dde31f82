"""Slots made from the small release, and how an independent reader sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.accounts import Accounts, parse_accounts
from imagebuilder.filesystem.tree import Layer, Tree, merge
from imagebuilder.filesystem.ufs import write_ufs
from imagebuilder.packages.store import ContentStore
from imagebuilder.release.download import Downloader
from imagebuilder.release.index import indexed_set
from imagebuilder.release.source import Wanted, obtain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1 << 20
TIME_S = 1_750_000_000
ACCOUNTS = parse_accounts(smallrelease.ACCOUNTS, smallrelease.GROUP)


@dataclass(frozen=True)
class Seen:
    """One path as the reader sees it."""

    mode: int
    user: int
    group: int
    links: int
    flags: int
    inode: int
    mtime: int
    content: bytes
    target: str
    kind: str


@pytest.fixture(scope="session")
def accounts() -> Accounts:
    return ACCOUNTS


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small release."""
    return smallrelease.make(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def make_tree(sets: Path) -> Callable[[Path], Tree]:
    """Read and merge the small release, with all its working files below a folder."""

    def tree_in(work: Path) -> Tree:
        lock, cache = work / "release.lock", work / "cache"
        work.mkdir(exist_ok=True)
        release = obtain(
            Wanted("15.1-RELEASE"), str(sets), cache=cache, lock=lock, downloader=Downloader()
        )
        store = ContentStore(work / "store")
        index = work / "index"
        return merge(
            Layer(name, indexed_set(path, release.manifest.find(name).sha256, store, index))
            for name, path in release.archives.items()
        )

    return tree_in


@pytest.fixture(params=[512, 32768], ids=["several groups", "one group"])
def slot(
    request: pytest.FixtureRequest,
    make_tree: Callable[[Path], Tree],
    accounts: Accounts,
    tmp_path: Path,
) -> Path:
    """The small release and some files of awkward sizes, in groups of another length."""
    entries = [Entry(path="link", kind=Kind.SYMLINK, mode=0o755, target="t" * 200)]
    for size in (0, 4097, 12 * 32768, 12 * 32768 + 1, 13 * 32768 + 5):
        source = tmp_path / str(size)
        source.write_bytes(smallrelease.noise("awkward", size))
        entries.append(Entry(path=f"{size}", kind=Kind.FILE, mode=0o644, source=source))
    whole = make_tree(tmp_path / "work")
    tree = merge([Layer("release", whole.entries), Layer("awkward", entries)])
    target = tmp_path / "slot.ufs"
    write_ufs(
        tree, accounts, target, size=8 * MIB, time_s=TIME_S, group_fragments_max=request.param
    )
    return target


@pytest.fixture(scope="session")
def read_back() -> Callable[[Path], dict[str, Seen]]:
    """Every path of a UFS2 file, by dissect.ffs, which shares no code with what wrote it."""
    ffs = pytest.importorskip("dissect.ffs.ffs", reason="dissect.ffs is not installed")

    def read(image: Path) -> dict[str, Seen]:
        with image.open("rb") as file:
            return dict(_walk(ffs.FFS(file).root, ""))

    return read


def _walk(node: Any, path: str) -> Iterator[tuple[str, Seen]]:
    raw = node.inode
    kind = "link" if node.is_symlink() else "dir" if node.is_dir() else "file"
    yield (
        path,
        Seen(
            raw.di_mode & 0o7777,
            raw.di_uid,
            raw.di_gid,
            raw.di_nlink,
            raw.di_flags,
            node.inum,
            raw.di_mtime,
            node.open().read() if kind == "file" else b"",
            node.link if kind == "link" else "",
            kind,
        ),
    )
    if kind == "dir":
        for name, child in node.listdir().items():
            if name not in (".", ".."):
                yield from _walk(child, f"{path}/{name}" if path else name)
