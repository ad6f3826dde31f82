"""What the reconciler remembers survives, and only one of them writes it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from maculaos.errors import UsageError
from reconciler.generations import Generation, Outcome, Progress
from reconciler.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def generation(number: int) -> Generation:
    return Generation(
        revision=f"{number:040x}",
        subject="s",
        author="a",
        attempted_at=1.0,
        finished_at=2.0,
        outcome=Outcome.APPLIED,
    )


def test_progress_comes_back_and_is_empty_at_first(tmp_path: Path) -> None:
    store = Store(tmp_path, 3)
    assert store.progress() == Progress()
    store.save_progress(Progress(last_accepted="a" * 40))
    assert Store(tmp_path, 3).progress() == Progress(last_accepted="a" * 40)


def test_damaged_progress_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(UsageError, match=r"state\.json: .*move the file away"):
        Store(tmp_path, 3).progress()


def test_history_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path, 3)
    for number in range(10):
        store.record(generation(number))
    assert [int(one.revision, 16) for one in store.history()] == [7, 8, 9]


def test_second_reconciler_gets_one_clear_line(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reconciler.store import Store\n"
        "with Store(Path(sys.argv[1]), 3).locked(): pass"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    with Store(tmp_path, 3).locked():
        refused = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode != 0
    assert "a reconciler already runs here" in refused.stderr
    again = subprocess.run(argv, capture_output=True, timeout=30, check=False)
    assert again.returncode == 0


def test_no_status_is_none_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path, 3)
    assert store.snapshot() is None
    (tmp_path / "status.json").write_text("[")
    with pytest.raises(UsageError, match="status cannot be read"):
        store.snapshot()


def test_what_a_killed_writer_left_is_removed_by_the_next_holder(tmp_path: Path) -> None:
    store = Store(tmp_path, 3)
    store.record(generation(1))
    left = [tmp_path / f".{name}.4711.0123abcd" for name in ("state.json", "history.jsonl")]
    for file in left:
        file.write_text("half")
    with store.locked():
        assert not any(file.exists() for file in left)
    assert store.history() == (generation(1),)
