"""What an independent reader finds in a slot is what the entries said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.inodes import flag_bits
from imagebuilder.filesystem.linkage import require_linkage
from imagebuilder.filesystem.prune import parse_rules, prune
from imagebuilder.filesystem.sizes import measure
from imagebuilder.filesystem.tree import Layer, Tree, merge
from imagebuilder.filesystem.ufs import write_ufs
from maculaos.errors import UsageError
from ufscheck import fsck_problems

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagebuilder.filesystem.accounts import Accounts

MIB = 1 << 20
TIME_S = 1_750_000_000


def check(tree: Tree, accounts: Accounts, seen: dict[str, Any]) -> None:
    """Everything that an entry says is on the disk, and nothing else."""
    assert set(seen) == {entry.path for entry in tree.entries}
    sharing: dict[str, int] = {}
    for entry in tree.entries:
        found, first = seen[entry.path], entry.same_as or entry.path
        sharing[first] = sharing.get(first, 0) + 1
        assert found.kind == entry.kind, entry.path
        assert found.mode == entry.mode, entry.path
        assert (found.user, found.group) == (
            accounts.user(entry.owner),
            accounts.group(entry.group),
        ), entry.path
        assert found.flags == flag_bits(entry.flags), entry.path
        assert found.mtime == TIME_S, entry.path
        assert found.target == entry.target, entry.path
        assert found.inode == seen[first].inode, entry.path
        if entry.source is not None:
            assert found.content == entry.source.read_bytes(), entry.path
    for entry in tree.entries:
        if entry.kind is Kind.FILE:
            assert seen[entry.path].links == sharing[entry.same_as or entry.path]
    inodes = [found.inode for path, found in seen.items() if path in sharing]
    assert len(inodes) == len(set(inodes))


def test_the_small_release_is_read_back_as_it_was(
    make_tree: Callable[[Path], Tree],
    accounts: Accounts,
    read_back: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    tree = make_tree(tmp_path / "work")
    slot = tmp_path / "slot.ufs"
    usage = write_ufs(tree, accounts, slot, size=8 * MIB, time_s=TIME_S)
    assert slot.stat().st_size == usage.size_bytes == 8 * MIB
    seen = read_back(slot)
    check(tree, accounts, seen)
    # A few by name, so that the check itself is checked.
    assert seen["usr/bin/su"].mode == 0o4555
    assert seen["usr/bin/su"].flags == 0x20000
    assert seen["var/unbound"].user == 59
    assert seen["rescue/ls"].links == 3
    assert seen["bin/["].inode == seen["bin/test"].inode
    assert seen["home"].target == "/usr/home"
    assert seen["etc/master.passwd"].content == smallrelease.ACCOUNTS.encode()
    assert seen["var"].links == 2 + 8


def test_a_pruned_release_still_links_and_holds_its_hard_links(
    make_tree: Callable[[Path], Tree],
    accounts: Accounts,
    read_back: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    tree = make_tree(tmp_path / "work")
    text = '[[remove]]\nreason = "test"\npaths = ["bin/[", "rescue/ls", "usr/bin/c*"]\n'
    pruned, _ = prune(tree, parse_rules(text, "test"), measure(tree))
    require_linkage(pruned)
    slot = tmp_path / "slot.ufs"
    write_ufs(pruned, accounts, slot, size=8 * MIB, time_s=TIME_S)
    seen = read_back(slot)
    check(pruned, accounts, seen)
    assert seen["rescue/rescue"].links == 2
    assert seen["bin/test"].links == 1


# Around every border: fragment, block, the last direct block, the first indirect one.
BLOCK, FRAGMENT = 32768, 4096
SIZES = (
    *(0, 1, 511, 512, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 7 * FRAGMENT, 7 * FRAGMENT + 1),
    *(BLOCK - 1, BLOCK, BLOCK + 1, 12 * BLOCK - 1, 12 * BLOCK, 12 * BLOCK + 1, 13 * BLOCK + 5),
)


def loose(folder: Path, count: int) -> list[Entry]:
    entries = []
    for number in range(count):
        size = SIZES[number % len(SIZES)]
        source = folder / f"{number}"
        source.write_bytes(smallrelease.noise(f"{number}", size))
        path = f"folder {number % 5}/{'n' * (number % 90)}{number}"
        entries.append(Entry(path=path, kind=Kind.FILE, mode=0o644, source=source))
    return entries


def test_files_of_every_size_are_whole(
    accounts: Accounts, read_back: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    tree = merge([Layer("loose", loose(tmp_path / "files", 200))])
    slot = tmp_path / "slot.ufs"
    write_ufs(tree, accounts, slot, size=40 * MIB, time_s=TIME_S)
    check(tree, accounts, read_back(slot))


def test_a_file_that_needs_two_levels_of_pointers_is_whole(
    accounts: Accounts, read_back: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    source = tmp_path / "large"
    # One level reaches (12 + 4096) blocks; mostly a hole, so the test stays quick.
    reach = (12 + 4096) * BLOCK
    with source.open("wb") as file:
        for offset in (0, 11 * BLOCK, 12 * BLOCK, reach - 4, reach, reach + BLOCK):
            file.seek(offset)
            file.write(f"at {offset}".encode())
    tree = merge([Layer("one", [Entry(path="large", kind=Kind.FILE, mode=0o600, source=source)])])
    slot = tmp_path / "slot.ufs"
    write_ufs(tree, accounts, slot, size=160 * MIB, time_s=TIME_S)
    check(tree, accounts, read_back(slot))
    assert fsck_problems(slot.read_bytes()) == []


@pytest.mark.parametrize("length", [1, 118, 119, 120, 121, 1023])
def test_symbolic_links_of_every_length_are_whole(
    accounts: Accounts,
    read_back: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    length: int,
) -> None:
    link = Entry(path="link", kind=Kind.SYMLINK, mode=0o755, target="t" * length)
    tree = merge([Layer("one", [link])])
    write_ufs(tree, accounts, tmp_path / "slot.ufs", size=MIB, time_s=TIME_S)
    assert read_back(tmp_path / "slot.ufs")["link"].target == "t" * length
    assert fsck_problems((tmp_path / "slot.ufs").read_bytes()) == []


def test_a_folder_of_thousands_of_names_is_whole(
    accounts: Accounts, read_back: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    names = [f"{'long name ' * 10}{number}" for number in range(5000)]
    links = [Entry(path=f"d/{name}", kind=Kind.SYMLINK, mode=0o755, target="x") for name in names]
    tree = merge([Layer("one", links)])
    write_ufs(tree, accounts, tmp_path / "slot.ufs", size=16 * MIB, time_s=TIME_S)
    check(tree, accounts, read_back(tmp_path / "slot.ufs"))
    assert fsck_problems((tmp_path / "slot.ufs").read_bytes()) == []


def test_a_tree_that_does_not_fit_is_told_with_the_sizes(
    make_tree: Callable[[Path], Tree], accounts: Accounts, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "work")
    slot = tmp_path / "slot.ufs"
    slot.write_bytes(b"an older slot")
    with pytest.raises(UsageError, match=r"need \d+\.\d MiB, the slot of 1\.5 MiB") as caught:
        write_ufs(tree, accounts, slot, size=3 * MIB // 2, time_s=TIME_S)
    assert "prune more" in str(caught.value)
    assert slot.read_bytes() == b"an older slot"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slot.ufs", "work"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"owner": "nsd"}, "x: owner 'nsd'"),
        ({"flags": ("sticky",)}, "x: the file flag 'sticky' is unknown"),
        ({"path": "n" * 256}, "a name of 256 bytes"),
    ],
)
def test_what_cannot_be_written_is_told_with_its_path(
    accounts: Accounts, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    (tmp_path / "source").write_bytes(b"x")
    settings = {"path": "x", "kind": Kind.FILE, "mode": 0o644, "source": tmp_path / "source"}
    tree = merge([Layer("one", [Entry(**{**settings, **change})])])
    with pytest.raises(UsageError, match=problem):
        write_ufs(tree, accounts, tmp_path / "slot.ufs", size=MIB, time_s=TIME_S)


def test_a_source_that_is_gone_is_told(accounts: Accounts, tmp_path: Path) -> None:
    entry = Entry(path="x", kind=Kind.FILE, mode=0o644, source=tmp_path / "gone")
    with pytest.raises(UsageError, match=r"x: cannot read .*gone"):
        write_ufs(merge([Layer("one", [entry])]), accounts, tmp_path / "s", size=MIB, time_s=TIME_S)
