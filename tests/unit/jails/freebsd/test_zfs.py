"""zfs(8): what is asked, what is there, and what its refusals mean."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import zfs
from jails.freebsd.mount import Mount
from jails.freebsd.unreadable import UnreadableAnswer


def mounts(*rows: tuple[str, str, str]) -> list[Mount]:
    return [Mount(source=s, path=p, kind=k, options=("rw",)) for s, p, k in rows]


ROOT = ("/dev/gpt/slotA", "/", "ufs")
POOL = ("tank", "/data", "zfs")


@pytest.mark.parametrize(
    ("rows", "path", "found"),
    [
        ([ROOT], "/data/jails", None),
        ([ROOT, POOL], "/data/jails", "tank"),
        ([ROOT, POOL], "/data", "tank"),
        ([ROOT, POOL], "/database", None),
        ([ROOT, POOL, ("tank/j", "/data/jails", "zfs")], "/data/jails/n1", "tank/j"),
        ([ROOT, POOL, ("/dev/da0", "/data/jails", "ufs")], "/data/jails/n1", None),
        ([ROOT, POOL, ("/dev/da0", "/data", "ufs")], "/data/jails", None),
        ([("zroot/ROOT/default", "/", "zfs")], "/data/jails", "zroot/ROOT/default"),
        ([], "/data", None),
    ],
)
def test_a_path_lies_in_what_is_mounted_nearest_and_last(
    rows: list[tuple[str, str, str]], path: str, found: str | None
) -> None:
    assert zfs.dataset_under(PurePosixPath(path), mounts(*rows)) == found


def test_datasets_and_snapshots_are_told_apart() -> None:
    text = (
        "tank/macula-n1\tfilesystem\tno\t/data/jails/n1\n"
        "tank/macula-n1/1\tfilesystem\tyes\t/data/jails/n1\n"
        "tank/macula-n1/1@macula-a\tsnapshot\t-\t/data/jails/n1\n"
        "tank/other\tfilesystem\tyes\t-\n"
    )
    found = zfs.parse_datasets(text)
    assert [each.is_mounted for each in found] == [False, True, False, True]
    assert [each.is_snapshot for each in found] == [False, False, True, False]
    assert [each.place for each in found] == ["/data/jails/n1"] * 3 + [""]


@pytest.mark.parametrize(
    "line", ["tank", "tank\tvolume\t-\t-", "tank@a\tfilesystem\tno\t-", "tank\tsnapshot\t-\t-"]
)
def test_what_zfs_was_never_seen_to_say_is_unreadable(line: str) -> None:
    with pytest.raises(UnreadableAnswer):
        zfs.parse_datasets(f"{line}\n")


NAMES = st.text("abz09-_.:", min_size=1, max_size=8)


@given(names=st.lists(NAMES), mounted=st.booleans())
def test_what_is_listed_is_what_there_was(names: list[str], mounted: bool) -> None:
    listed = [zfs.Dataset(name=name, is_mounted=mounted) for name in names]
    said = "yes" if mounted else "no"
    text = "".join(f"{each.name}\tfilesystem\t{said}\t-\n" for each in listed)
    assert list(zfs.parse_datasets(text)) == listed


def test_refusals_are_known_by_their_last_words() -> None:
    assert zfs.is_missing("cannot open 'tank/a': dataset does not exist\n")
    assert zfs.is_busy("cannot destroy 'tank/a': dataset is busy\n")
    assert zfs.is_busy("cannot unmount '/data/a': pool or dataset is busy\n")
    said = "cannot create 'tank/a': dataset already exists\n"
    assert not zfs.is_busy(said)
    assert not zfs.is_missing(said)


def test_what_is_asked_is_a_list_of_words() -> None:
    assert zfs.create_argv("tank/a", canmount="noauto", mountpoint="/data/a") == (
        *("zfs", "create", "-o", "canmount=noauto", "-o", "mountpoint=/data/a", "tank/a"),
    )
    assert zfs.create_holder_argv("tank/a", "/j/a") == (
        *("zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none"),
        *("-o", "macula:place=/j/a", "tank/a"),
    )
    assert zfs.clone_argv("tank/a@x", "tank/b") == ("zfs", "clone", "tank/a@x", "tank/b")
    assert zfs.set_argv("tank/a", mountpoint="/b") == ("zfs", "set", "mountpoint=/b", "tank/a")
    assert zfs.destroy_argv("tank/a") == ("zfs", "destroy", "tank/a")
    assert zfs.unmount_argv("tank/a", by_force=True) == ("zfs", "unmount", "-f", "tank/a")
