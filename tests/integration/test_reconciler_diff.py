"""``reconciler diff`` as a command, over a real repository that was fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciling import TWO_NODES, Bench, a_bench, app

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        yield bench


def reconciler(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reconciler.cli", *words],
        env={**os.environ, "RECONCILER_CONFIG": str(bench.config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_names_items_and_keys_that_differ(bench: Bench) -> None:
    old = bench.upstream.commit(TWO_NODES)
    realm = TWO_NODES["realm.yaml"] + "defaults:\n  swim:\n    probe_interval_s: 2.0\n"
    new = bench.upstream.commit(
        {"apps/echo.yaml": app("echo", "n2"), "apps/more.yaml": app("more"), "realm.yaml": realm}
    )
    assert reconciler(bench, "plan").returncode == 0
    said = reconciler(bench, "diff", f"{old}..{new}")
    assert said.stdout.splitlines() == [
        "changed app echo",
        '  ~ node: "n1" -> "n2"',
        "added app more",
        '  + command: ["sleep", "1000"]',
        '  + node: "n1"',
        "changed node n1",
        "  + swim.probe_interval_s: 2.0",
        "changed node n2",
        "  + swim.probe_interval_s: 2.0",
    ]
    found = json.loads(reconciler(bench, "diff", f"{new}..{old}", "--json").stdout)
    assert (found["from"], found["to"]) == (new, old)
    assert found["changes"][1] == {
        "item": "app/more",
        "change": "removed",
        "former": "",
        "entries": [],
    }


def test_a_commit_that_means_the_same_differs_in_nothing(bench: Bench) -> None:
    old = bench.upstream.commit(TWO_NODES)
    new = bench.upstream.commit(
        {"README.md": "words", "realm.yaml": "# said\n" + TWO_NODES["realm.yaml"]}
    )
    reconciler(bench, "plan")
    said = reconciler(bench, "diff", f"{old}..{new}")
    assert (said.returncode, said.stdout) == (0, "")
    assert "mean the same for this machine" in said.stderr


@pytest.mark.parametrize("named", ["main", "..", "nowhere..main", "--upload-pack=x..main"])
def test_what_names_no_two_commits_is_one_line(bench: Bench, named: str) -> None:
    bench.upstream.commit(TWO_NODES)
    reconciler(bench, "plan")
    said = reconciler(bench, "diff", "--", named)
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1, said.stderr
