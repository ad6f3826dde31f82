"""What became of hooks on disk: read as it was kept, and damage counts as nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jails.spec import HookKind
from reconciler.hooks.record import HOOKS, Ended, HookRecord

if TYPE_CHECKING:
    from pathlib import Path

KEPT = {
    ("app-shop", HookKind.START): Ended("7 1.0 0", is_ok=True),
    ("g1-shop", HookKind.DRAIN): Ended("8 1.0 0", is_ok=False, reason='it said "no"'),
}


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    HookRecord(tmp_path).keep(KEPT)
    assert HookRecord(tmp_path).read() == KEPT


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    record = HookRecord(tmp_path)
    record.keep(KEPT)
    (tmp_path / HOOKS).unlink()
    record.keep(dict(KEPT))
    assert not (tmp_path / HOOKS).exists()


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"ended": [1]}', b'{"ended": [{"jail": "a", "hook": "x"}]}']
)
def test_what_cannot_be_read_is_as_good_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / HOOKS).write_bytes(content)
    assert HookRecord(tmp_path).read() == {}
