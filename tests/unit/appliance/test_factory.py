"""Factory reset: secrets first, the mark last, the record of the slots never."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.factory import FactoryReset


@pytest.fixture
def reset(tmp_path: Path) -> FactoryReset:
    for name in (
        "cfg/update/state.json", "cfg/credentials/n1/node.key", "cfg/rc.conf", "cfg/ssh/key",
        "data/jails/n1/etc/passwd", "data/log",
    ):  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "outside").write_text("stays")
    (tmp_path / "data/link").symlink_to(tmp_path / "outside")
    return FactoryReset(tmp_path / "cfg", tmp_path / "data")


def left(reset: FactoryReset) -> list[str]:
    root = reset.cfg.parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_all_but_the_record_of_the_slots_goes(reset: FactoryReset) -> None:
    reset.ask()
    assert reset.is_due
    assert [path.name for path in reset.plan()] == [
        "credentials", "ssh", "jails", "link", "log", "rc.conf",
    ]  # fmt: skip
    assert reset.finish(lambda _line: None) == 6
    assert left(reset) == ["cfg/update/state.json", "outside"]
    assert not reset.is_due


@pytest.mark.parametrize("cut", range(6))
def test_cut_reset_is_finished_at_the_next_start(reset: FactoryReset, cut: int) -> None:
    reset.ask()
    seen: list[str] = []

    def say(line: str) -> None:
        seen.append(line)
        if len(seen) > cut:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reset.finish(say)
    assert reset.is_due
    reset.finish(seen.append)
    assert left(reset) == ["cfg/update/state.json", "outside"]


def test_missing_folders_are_no_error(tmp_path: Path) -> None:
    assert FactoryReset(tmp_path / "none", tmp_path / "nor").plan() == ()
    assert not FactoryReset(tmp_path / "none", Path("/nonexistent")).is_due
