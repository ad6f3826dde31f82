"""Files below a folder that an enemy changes all the time: nothing outside is ever touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.host.folders import LeadsAway, folder_below
from swapping import swapped

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.from_regex(r"[a-z.]{1,6}", fullmatch=True).filter(lambda name: name not in (".", ".."))


@given(folders=st.lists(NAMES, max_size=4), name=NAMES, content=st.binary(max_size=64))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, folders: list[str], name: str, content: bytes
) -> None:
    top = tmp_path_factory.mktemp("top")
    with folder_below(top, tuple(folders), make=True) as folder:
        folder.write(name, content, 0o640)
        assert folder.read(name, 64) == (content, 0o640)
    assert top.joinpath(*folders, name).read_bytes() == content


def test_folders_are_made_private_and_only_if_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), folder_below(tmp_path, ("a", "b")):
        pass
    with folder_below(tmp_path, ("a", "b"), make=True):
        pass
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700] * 2


@pytest.mark.parametrize("make", [False, True])
def test_a_link_or_a_file_where_a_folder_should_be_leads_away(tmp_path: Path, make: bool) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "link").symlink_to("away")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(LeadsAway), folder_below(tmp_path, (name,), make=make):
            pass


def test_only_plain_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with folder_below(tmp_path, ()) as folder:
        assert folder.read("plain", 4) is not None
        assert folder.read("plain", 3) is None
        for name in ("link", "folder", "pipe", "nothing"):
            assert folder.read(name, 4) is None


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "file").symlink_to(victim)
    with folder_below(tmp_path / "top", ()) as folder:
        folder.write("file", b"new", 0o600)
        assert folder.read("file", 9) == (b"new", 0o600)
    assert victim.read_text() == "untouched"


def test_what_a_killed_writer_left_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.1.0123abcd", ".a.1.0123abcx", ".b.1.0123abcd", "a"):
        (tmp_path / name).touch()
    with folder_below(tmp_path, ()) as folder:
        folder.remove_leftovers("a")
    assert sorted(os.listdir(tmp_path)) == [".a.1.0123abcx", ".b.1.0123abcd", "a"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with folder_below(tmp_path, ()) as folder, pytest.raises(OSError, match="directory"):
        folder.write("a", b"", 0o600)
    assert os.listdir(tmp_path) == ["a"]


def test_no_swap_of_a_folder_for_a_link_leads_to_the_victim(tmp_path: Path) -> None:
    victim, top = tmp_path / "victim", tmp_path / "top"
    (victim / "deep").mkdir(parents=True)
    (victim / "deep" / "key").write_text("untouched")
    top.mkdir()
    outcomes = {"placed": 0, "refused": 0}
    with swapped(top / "a", victim):
        while min(outcomes.values()) < 100:
            try:
                with folder_below(top, ("a", "deep"), make=True) as folder:
                    folder.write("key", b"ours", 0o600)
                    folder.read("key", 99)
                    folder.delete("key")
                with folder_below(top, ("a",)) as above:
                    above.delete_folder("deep")
                outcomes["placed"] += 1
            except OSError:
                outcomes["refused"] += 1
    assert os.listdir(victim) == ["deep"]
    assert os.listdir(victim / "deep") == ["key"]
    assert (victim / "deep" / "key").read_text() == "untouched"
