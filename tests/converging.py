"""Convergences brought to where a test begins, without a Git and without a machine."""

from __future__ import annotations

from random import Random

from reconciler.convergence import Backoff, Convergence, Evaluate, Fetch, Repair, Timing, Wait
from reconciler.generations import Progress

POLL, DRIFT = 60.0, 10.0
TIMING = Timing(
    poll_interval_s=POLL,
    poll_jitter=0.1,
    drift_interval_s=DRIFT,
    fetch=Backoff(base_s=1.0, max_s=300.0),
    retry=Backoff(base_s=1.0, max_s=30.0),
)
NOTHING: frozenset[str] = frozenset()


def begin(progress: Progress | None = None, seed: int = 1, now: float = 0.0) -> Convergence:
    jitter = Random(seed)  # seeded, so that a run repeats
    return Convergence(TIMING, jitter, progress or Progress(), now)


def converged(revision: str = "a", now: float = 0.0) -> Convergence:
    """A convergence that has just applied ``revision``."""
    one = begin()
    assert one.next_action(now) == Fetch()
    one.fetched(revision, now)
    assert one.next_action(now) == Evaluate(revision)
    one.compiled(revision, now)
    assert one.next_action(now) == Repair(revision)
    one.repaired(revision, NOTHING, now)
    return one


def fetch(one: Convergence, tip: str | None, now: float) -> None:
    """Take the fetch that is due, or force one."""
    one.sync_requested(now)
    assert one.next_action(now) == Fetch()
    one.fetched(tip, now)


def waiting(one: Convergence, now: float) -> float:
    action = one.next_action(now)
    assert isinstance(action, Wait)
    return action.until
