"""Right after a start nothing is known, and what was said last of each item stands."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from jails.spec import JailFacts, JailState
from reconciler.conditions import Condition, Reason, Truth, Word
from reconciler.convergence import Backoff, Convergence, Timing
from reconciler.generations import Progress
from reconciler.observed import World
from reconciler.standing import About, Standing
from reconciler.status import ItemStatus, Status

NOW = 1_800_000_000.0
BACKOFF = Backoff(base_s=1.0, max_s=2.0)
TIMING = Timing(
    poll_interval_s=60.0, poll_jitter=0.1, drift_interval_s=10.0, fetch=BACKOFF, retry=BACKOFF
)
ABOUT = About(pid=1, started_at=NOW, runtime="process", url="u", branch="main", deadline_s=30.0)
READY = Condition(
    word=Word.READY, status=Truth.TRUE, reason=Reason.HEALTHY, generation="a", since=NOW - 900
)
FOUND = JailFacts(
    name="app-echo",
    state=JailState.RUNNING,
    pid=7,
    program_digest="p",
    files_digest="f",
    restarts=0,
    started_at=NOW - 900,
)
LAST = Status(
    at=NOW - 10,
    pid=1,
    started_at=NOW - 1000,
    runtime="process",
    url="u",
    branch="main",
    items=(ItemStatus(name="echo", kind="app", state="running", ready=True, conditions=(READY,)),),
)


def convergence() -> Convergence:
    return Convergence(TIMING, Random(1), Progress(), 0.0)


def test_what_was_said_last_stands_until_it_is_known_what_is_wanted() -> None:
    standing = Standing(about=ABOUT)
    standing.recall(LAST)
    assert standing.snapshot(convergence(), (), NOW).status.items == ()
    standing.world = replace(World(), found={"app-echo": FOUND})
    (item,) = standing.snapshot(convergence(), (), NOW).status.items
    assert item.conditions == (READY,)


def test_an_item_without_a_past_gets_one() -> None:
    standing = Standing(about=ABOUT)
    standing.world = replace(World(), found={"app-echo": FOUND})
    for now in (NOW, NOW + 5):
        (item,) = standing.snapshot(convergence(), (), now).status.items
        assert item.conditions[0].since == NOW
