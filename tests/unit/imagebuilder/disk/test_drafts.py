"""Drafts: a name stands for a whole file or for the one before, and nothing is left beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.disk.drafts import draft

if TYPE_CHECKING:
    from pathlib import Path


def test_target_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "disk.raw"
    with draft(target) as path:
        assert path.name == target.name
        path.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt()])
def test_failure_leaves_what_was_there_before(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "disk.raw"
    target.write_text("old")

    def fail() -> None:
        with draft(target) as path:
            path.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_draft_that_nobody_wrote_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), draft(tmp_path / "disk.raw"):
        pass
    assert not list(tmp_path.iterdir())
