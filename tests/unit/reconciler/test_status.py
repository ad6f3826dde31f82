"""Status survives its codec and says in words what holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from maculaos.errors import UsageError
from reconciler.conditions import Word
from reconciler.front.standing import FrontPort, FrontState, FrontStatus
from reconciler.status import (
    FetchStatus,
    ItemStatus,
    MemberCount,
    RevisionStatus,
    Status,
)

N1 = ItemStatus(
    name="n1",
    kind="node",
    state="running",
    ready=True,
    pid=4242,
    address="127.0.0.1:4701",
    members=MemberCount(alive=3, known=3),
    since=1_800_000_000.0,
)
ECHO = ItemStatus(name="echo", kind="app", state="running", ready=True, pid=4243)
GOOD = Status(
    at=1_800_000_010.0,
    pid=99,
    started_at=1_800_000_000.0,
    runtime="process",
    url="/srv/mesh.git",
    branch="main",
    realm="demo",
    revisions=RevisionStatus(tip="a" * 40, attempted="a" * 40, applied="a" * 40),
    fetch=FetchStatus(ok_at=1_800_000_009.0),
    reconciled_at=1_800_000_008.0,
    reconcile_s=0.25,
    converged=True,
    items=(N1, ECHO),
)
REFUSED = replace(
    GOOD,
    revisions=replace(GOOD.revisions, tip="b" * 40, attempted="b" * 40, refused="b" * 40),
    problems=("nodes/n1.yaml:3:8: unknown realm 'dmo'", "nodes/n2.yaml:1:1: the file is empty"),
)
DOWN = replace(N1, state="backing-off", ready=False, reason="exit 1", restarts=3, pid=None)
BROKEN = replace(N1, ready=False, stalled=True, broken=True, reason="nodes/n1.yaml:3:8: what")
BLOCKED = replace(N1, state="blocked", ready=False, stalled=True, reason="no credentials")
STUCK = FrontStatus(
    state=FrontState.STALLED,
    reason="app shop: port web: 127.0.0.1:80/tcp: taken by another program",
    ports=(FrontPort(app="shop", name="web", at="127.0.0.1:80/tcp", problem="taken"),),
)


def words(status: Status) -> dict[Word, tuple[bool, str]]:
    return {c.word: (c.holds, c.reason) for c in status.claims()}


@pytest.mark.parametrize(
    "status",
    [GOOD, REFUSED, replace(GOOD, items=(DOWN, BLOCKED)), replace(GOOD, runtime_why="it works")],
)
def test_status_survives_json(status: Status) -> None:
    assert Status.from_json(json.loads(json.dumps(status.as_json()))) == status


@pytest.mark.parametrize("change", [{"version": 2}, {"colour": "blue"}, {"pid": "x"}])
def test_other_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Status.from_json({**GOOD.as_json(), **change})


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (GOOD, {Word.READY: (True, "Converged")}),
        (REFUSED, {Word.READY: (False, "Refused"), Word.STALLED: (True, "Refused")}),
        (
            replace(GOOD, converged=False),
            {Word.READY: (False, "Progressing"), Word.RECONCILING: (True, "Progressing")},
        ),
        (
            replace(GOOD, items=(DOWN,)),
            {Word.READY: (False, "NotReady"), Word.RECONCILING: (True, "ProgressingWithRetry")},
        ),
        (
            replace(GOOD, items=(BLOCKED,)),
            {Word.READY: (False, "NotReady"), Word.STALLED: (True, "Blocked")},
        ),
        (
            replace(GOOD, items=(BROKEN,), problems=(BROKEN.reason,)),
            {Word.READY: (False, "NotReady"), Word.STALLED: (True, "Broken")},
        ),
        (
            replace(GOOD, fetch=FetchStatus(error="nobody answers")),
            {
                Word.READY: (False, "GitUnreachable"),
                Word.RECONCILING: (True, "ProgressingWithRetry"),
            },
        ),
        (
            replace(GOOD, front=STUCK, problems=STUCK.told),
            {Word.READY: (False, "PortUnavailable"), Word.STALLED: (True, "PortUnavailable")},
        ),
    ],
    ids=["good", "refused", "working", "down", "blocked", "broken", "unreachable", "front"],
)
def test_conditions_say_what_holds(status: Status, expected: dict[Word, tuple[bool, str]]) -> None:
    assert words(status) == expected
    assert status.ready is expected[Word.READY][0]


def test_refused_first_commit_is_not_being_worked_on() -> None:
    first = replace(
        REFUSED,
        converged=False,
        items=(),
        revisions=RevisionStatus(tip="b", attempted="b", refused="b"),
    )
    assert Word.RECONCILING not in words(first)


def test_text_shows_revision_items_and_problems() -> None:
    lines = REFUSED.as_text().splitlines()
    assert "condition   Stalled (Refused)" in lines
    assert "applied     aaaaaaaaaa" in lines
    assert "refused     bbbbbbbbbb" in lines
    row = next(line for line in lines if line.startswith("node"))
    assert row.split() == ["node", "n1", "Ready", "running", "127.0.0.1:4701", "3/3", "4242"]
    assert "  nodes/n1.yaml:3:8: unknown realm 'dmo'" in lines
    assert "Ready (Converged)" in GOOD.as_text()


def test_status_from_before_runtimes_said_why_is_read() -> None:
    said = GOOD.as_json()
    del said["runtime_why"]
    assert Status.from_json(said) == GOOD


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ("", "runtime     process"),
        (
            "process is kept; it isolates nothing",
            "runtime     process is kept; it isolates nothing",
        ),
    ],
)
def test_text_says_which_runtime_and_why(why: str, line: str) -> None:
    assert line in replace(GOOD, runtime_why=why).as_text().splitlines()


def test_text_of_nothing_says_so() -> None:
    assert "nothing is wanted" in replace(GOOD, items=()).as_text()
