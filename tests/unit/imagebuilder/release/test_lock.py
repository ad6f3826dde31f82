"""Pins: the first MANIFEST of a release is the only one, until a person says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.release.lock import confirm_pin, read_pins, render_pins
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("15.1-RELEASE", "amd64")
OLD, NEW = "a" * 64, "b" * 64


def test_the_first_hash_is_pinned_and_then_only_compared(tmp_path: Path) -> None:
    lock = tmp_path / "release.lock"
    assert confirm_pin(lock, KEY, OLD)
    written = lock.read_bytes()
    assert not confirm_pin(lock, KEY, OLD)
    assert lock.read_bytes() == written
    assert read_pins(lock) == {KEY: OLD}


def test_another_hash_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "release.lock"
    confirm_pin(lock, KEY, OLD)
    with pytest.raises(UsageError, match=r"has changed: pinned a+, found b+; .*remove its line"):
        confirm_pin(lock, KEY, NEW)
    assert read_pins(lock) == {KEY: OLD}


def test_each_release_and_machine_has_its_own_pin(tmp_path: Path) -> None:
    lock = tmp_path / "release.lock"
    confirm_pin(lock, KEY, OLD)
    confirm_pin(lock, ("15.1-RELEASE", "aarch64"), NEW)
    confirm_pin(lock, ("14.3-RELEASE", "amd64"), NEW)
    assert read_pins(lock)[KEY] == OLD
    assert len(read_pins(lock)) == 3


@pytest.mark.parametrize("text", ["[", '["15.1"]\namd64 = "short"', "loose = 1", "\xff"])
def test_a_broken_lock_is_never_overwritten(tmp_path: Path, text: str) -> None:
    lock = tmp_path / "release.lock"
    lock.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="restore it from Git"):
        confirm_pin(lock, KEY, OLD)
    assert lock.read_text(encoding="latin-1") == text


def test_a_name_that_is_no_release_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no name of a release"):
        confirm_pin(tmp_path / "release.lock", ('15"]\nx = 1', "amd64"), OLD)
    assert not list(tmp_path.iterdir())


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
HASHES = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)


@settings(max_examples=25)
@given(st.dictionaries(st.tuples(NAMES, NAMES), HASHES, max_size=6))
def test_pins_survive_being_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, pins: dict[tuple[str, str], str]
) -> None:
    lock = tmp_path_factory.mktemp("lock") / "release.lock"
    lock.write_text(render_pins(pins))
    assert read_pins(lock) == pins
    assert render_pins(dict(reversed(pins.items()))) == render_pins(pins)
