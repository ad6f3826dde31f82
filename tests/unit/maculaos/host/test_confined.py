"""A confined child is held to its bounds by the kernel, and its end is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from maculaos.host.confined import Bounds, run_confined

if TYPE_CHECKING:
    from pathlib import Path

CHILD = "reconciler.specs.sandbox"
QUICK = Bounds(memory_bytes=128 * 1024 * 1024, cpu_s=1, output_bytes=1000, wall_s=10.0)


def test_child_that_ends_well_says_nothing_but_its_output() -> None:
    ended = run_confined(CHILD, b'{"text": "x", "names": {}}\n', QUICK)
    assert (ended.output, ended.why) == (b'{"text": "x"}\n', "")


def test_output_beyond_the_bound_ends_the_child() -> None:
    line = b'{"text": "{{ \'x\' * 300 }}", "names": {}}\n'
    ended = run_confined(CHILD, line * 50, QUICK)
    assert len(ended.output) <= 1000
    assert ended.why


def test_child_that_takes_too_long_is_ended() -> None:
    forever = b'{"text": "{{ (9 ** (9 ** 9)) | string }}", "names": {}}\n'
    assert run_confined(CHILD, forever, QUICK).why == "it took too much time"


def test_child_that_waits_is_ended() -> None:
    ended = run_confined("timeit", b"", Bounds(wall_s=0.05))
    assert ended.why


def test_what_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="No such file"):
        run_confined(CHILD, b"", QUICK)
