"""Files of a jail are placed, read and removed inside of it, whatever its program does there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jails.keeper.placing import digest_on_disk, place_files, remove_files
from jails.keeper.records import JailDirectory
from jails.runtime import JailError
from jails.spec import JailFile, digest_of_files
from swapping import swapped

if TYPE_CHECKING:
    from pathlib import Path

FILE = JailFile(path="etc/deep/key", content=b"secret")


@pytest.fixture
def directory(tmp_path: Path) -> JailDirectory:
    directory = JailDirectory(tmp_path / "n1")
    directory.path.mkdir()
    directory.claim()
    return directory


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host that looks just like one of the jail."""
    victim = tmp_path / "victim"
    (victim / "deep").mkdir(parents=True)
    (victim / "deep" / "key").write_text("untouched")
    return victim


def check_untouched(victim: Path) -> None:
    assert os.listdir(victim) == ["deep"]
    assert os.listdir(victim / "deep") == ["key"]
    assert (victim / "deep" / "key").read_text() == "untouched"
    assert (victim / "deep" / "key").stat().st_nlink == 1


def test_what_is_placed_is_read_back_and_goes_with_its_folders(directory: JailDirectory) -> None:
    place_files(directory, [FILE])
    wanted = digest_of_files({FILE.path: (FILE.content, FILE.mode)})
    assert digest_on_disk(directory, [FILE.path]) == wanted
    remove_files(directory, [FILE.path, "never/was/there"])
    assert os.listdir(directory.data) == []
    assert digest_on_disk(directory, [FILE.path]) == digest_of_files({})


def test_a_folder_that_is_a_link_is_told_and_nothing_beyond_it_counts(
    directory: JailDirectory, victim: Path
) -> None:
    (directory.data / "etc").symlink_to(victim)
    told = "'etc' leads out of"
    with pytest.raises(JailError, match=told):
        place_files(directory, [FILE])
    with pytest.raises(JailError, match=told):
        remove_files(directory, ["etc/x"])
    assert digest_on_disk(directory, [FILE.path]) == digest_of_files({})
    check_untouched(victim)


@pytest.mark.parametrize("path", ["/etc/passwd", "../n2/key", "a/../../b", ""])
def test_a_path_that_no_spec_can_hold_is_refused(directory: JailDirectory, path: str) -> None:
    with pytest.raises(JailError, match="no path inside"):
        remove_files(directory, [path])


def test_no_swap_of_a_folder_for_a_link_touches_the_victim(
    directory: JailDirectory, victim: Path
) -> None:
    outcomes = {"through": 0, "refused": 0}
    with swapped(directory.data / "etc", victim):
        while min(outcomes.values()) < 100:
            try:
                place_files(directory, [FILE])
                digest_on_disk(directory, [FILE.path])
                remove_files(directory, [FILE.path])
                outcomes["through"] += 1
            except JailError:
                outcomes["refused"] += 1
    check_untouched(victim)
