"""The folder of wheels: only what the lock vouches for, and all that is missing at once."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from imagebuilder.packages.lockfile import Locked
from imagebuilder.packages.wheelhouse import fetch, fetch_sources, make_own, pick, pick_source
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def locked(name: str, content: bytes) -> Locked:
    sums = frozenset({hashlib.sha256(content).hexdigest()})
    return Locked(canonicalize_name(name), "1.0", sums)


class NotingRunner:
    """A runner that notes what was asked; what it would have made is made by the test."""

    def __init__(self, makes: bytes | None = None) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.wanted = ""
        self._makes = makes

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        del stdin, timeout_s
        self.asked.append(argv)
        if "--requirement" in argv:
            with open(argv[argv.index("--requirement") + 1]) as file:
                self.wanted = file.read()
        if "--outdir" in argv and self._makes is not None:
            place = argv[argv.index("--outdir") + 1]
            with open(f"{place}/own-1.0-py3-none-any.whl", "wb") as file:
                file.write(self._makes)
        return ""


def test_pure_wheel_with_a_locked_hash_is_picked(tmp_path: Path) -> None:
    path = tmp_path / "demo_x-1.0-py3-none-any.whl"
    path.write_bytes(b"wheel")
    (tmp_path / "notes.whl").write_bytes(b"no name of a wheel")
    assert pick([locked("demo.x", b"wheel")], tmp_path) == (path,)


def test_wheel_with_another_hash_or_for_one_machine_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "one-1.0-py3-none-any.whl").write_bytes(b"other")
    (tmp_path / "two-1.0-cp312-cp312-linux_x86_64.whl").write_bytes(b"wheel")
    with pytest.raises(UsageError, match=r"one-1\.0, two-1\.0") as caught:
        pick([locked("one", b"wheel"), locked("two", b"wheel")], tmp_path)
    assert "image/python.toml" in str(caught.value)


def test_source_is_picked_by_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "Demo_X-1.0.tar.gz"
    path.write_bytes(b"source")
    assert pick_source(locked("demo-x", b"source"), tmp_path) == path
    with pytest.raises(UsageError, match=r"put demo-x-1\.0\.tar\.gz there"):
        pick_source(locked("demo-x", b"another"), tmp_path)


def test_fetching_asks_for_hashes_and_for_nothing_that_runs_here(tmp_path: Path) -> None:
    runner = NotingRunner()
    one = locked("one", b"x")
    fetch([one], tmp_path / "wheels", runner)
    (argv,) = runner.asked
    assert argv[:4] == (sys.executable, "-m", "pip", "download")
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(argv)
    assert runner.wanted == one.line() + "\n"
    fetch_sources([one], tmp_path / "wheels", runner)
    assert "--no-binary" in runner.asked[1]


def test_nothing_wanted_fetches_nothing(tmp_path: Path) -> None:
    runner = NotingRunner()
    fetch([], tmp_path, runner)
    assert not runner.asked


def test_own_wheel_is_made_without_an_index(tmp_path: Path) -> None:
    runner = NotingRunner(makes=b"wheel")
    made = make_own(tmp_path / "checkout", tmp_path / "wheels", runner)
    assert made == tmp_path / "wheels/own-1.0-py3-none-any.whl"
    assert made.read_bytes() == b"wheel"
    assert "--no-isolation" in runner.asked[0]


def test_build_that_makes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="made 0 wheels"):
        make_own(tmp_path, tmp_path / "wheels", NotingRunner())
