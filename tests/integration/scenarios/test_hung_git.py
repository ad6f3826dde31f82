"""A git program that hangs, or is ended by us, says nothing about the clone, which stays."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from jails.process import ProcessRuntime
from maculaos.host.clock import SystemClock
from operated import app, operated
from reconciler.sources.clone import Clone
from reconciler.sources.unreachable import DamagedClone, SourceUnreachable
from rolloutyard import CALM_POLL, a_rollout_bench, cleared, programs
from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciling import Bench

pytestmark = pytest.mark.timeout(180)
# A git that hangs with one of its verbs, and says so by a file.
HANGS = """#!/bin/sh
case " $* " in *" {verb} "*) : > {sign}; exec sleep 100;; esac
exec {git} "$@"
"""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench(poll=CALM_POLL) as bench:
        yield bench
        cleared(bench)


def hanging_git(folder: Path, verb: str) -> Path:
    """The file that appears when it hangs; the program is in ``folder``."""
    folder.mkdir()
    sign, program = folder / "hangs", folder / "git"
    program.write_text(HANGS.format(verb=verb, sign=sign, git=shutil.which("git")))
    program.chmod(0o755)
    return sign


def test_reconciler_that_is_stopped_while_git_hangs_keeps_its_clone(bench: Bench) -> None:
    with operated(bench) as running:
        running.applied(bench.upstream.commit({"apps/shop.yaml": app("shop", "v1")}))
    clone = bench.root / "state/repository.git"
    before = clone.stat().st_ino
    for verb in ("rev-parse", "fetch"):
        sign = hanging_git(bench.root / verb, verb)
        with operated(bench, str(bench.root / verb)) as running:
            running.until("git hangs", sign.exists)
        assert clone.stat().st_ino == before, verb
        assert not clone.with_suffix(".damaged").exists(), verb
        assert "damaged" not in running.log(), verb
    # What it needs is all there, though there is no remote any more.
    bench.upstream.hide()
    ProcessRuntime(bench.root / "state/jails", SystemClock()).stop("app-shop")
    with operated(bench) as running:
        running.until("it runs from the clone", lambda: programs(bench) == {"shop v1": 1})


def test_git_that_takes_too_long_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Upstream(tmp_path)
    upstream.commit({"realm.yaml": "version: 1\n"})
    clone = Clone(upstream.path, tmp_path / "home")
    clone.open()
    hanging_git(tmp_path / "hanging", "rev-parse")
    monkeypatch.setattr("reconciler.sources.clone.LOCAL_TIMEOUT_S", 0.2)
    monkeypatch.setenv("PATH", str(tmp_path / "hanging"), prepend=":")
    with pytest.raises(SourceUnreachable, match="timed out") as raised:
        clone.open()
    assert not isinstance(raised.value, DamagedClone)
    assert (upstream.path / "HEAD").exists()
