"""The sum of packages and wheels: folders are shared, files are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.entries import Entry, Kind
from imagebuilder.packages.installation import Conflict, install, merge
from imagebuilder.packages.manifest import Manifest
from imagebuilder.packages.package import Unpacked

SOURCE = Path("store/one")


def file(path: str) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, source=SOURCE)


def folder(path: str, mode: int = 0o755, owner: str = "root") -> Entry:
    return Entry(path=path, kind=Kind.FOLDER, mode=mode, owner=owner)


def package(name: str, *entries: Entry, **more: object) -> Unpacked:
    manifest = Manifest(name=name, version="1", **more)  # type: ignore[arg-type]  # fields of it
    return Unpacked(manifest, entries)


def test_all_entries_come_in_order_of_path() -> None:
    merged = merge({"a-1": [file("z"), file("b")], "c-1": [file("a/x"), folder("a")]})
    assert [entry.path for entry in merged] == ["a", "a/x", "b", "z"]


def test_same_file_from_two_names_both() -> None:
    with pytest.raises(Conflict, match=r"usr/bin/x \(a-1 and b-1\)"):
        merge({"a-1": [file("usr/bin/x")], "b-1": [file("usr/bin/x")]})


def test_plain_folder_gives_way_to_one_with_rights_of_its_own() -> None:
    special = folder("var/db/x", 0o700, "daemon")
    plain = folder("var/db/x")
    for labels in ({"a": [special], "b": [plain]}, {"b": [plain], "a": [special]}):
        assert merge(labels) == (special,)


def test_two_folders_with_different_rights_conflict() -> None:
    with pytest.raises(Conflict, match=r"x \(a and b\)"):
        merge({"a": [folder("x", 0o700)], "b": [folder("x", 0o750)]})


def test_file_and_folder_at_one_path_conflict() -> None:
    with pytest.raises(Conflict, match=r"x \(a and b\)"):
        merge({"a": [folder("x")], "b": [file("x")]})


def test_path_below_a_link_of_another_conflicts() -> None:
    link = Entry(path="usr/local/lib/x", kind=Kind.SYMLINK, mode=0o777, target="/etc")
    with pytest.raises(Conflict, match=r"usr/local/lib/x/passwd below usr/local/lib/x \(a and b\)"):
        merge({"a": [link], "b": [file("usr/local/lib/x/passwd")]})


def test_accounts_and_scripts_are_gathered() -> None:
    one = package("a", users=("u2", "u1"), scripts={"post-install": "x", "post-deinstall": "y"})
    two = package("b", users=("u1",), groups=("g",))
    done = install([one, two], {"w-1": [file("w")]})
    assert (done.users, done.groups) == (("u1", "u2"), ("g",))
    assert [(script.package, script.when) for script in done.scripts] == [("a-1", "post-install")]
    assert [entry.path for entry in done.entries] == ["w"]
