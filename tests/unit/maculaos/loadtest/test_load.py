"""The load: what programs say is noted once, and strangers count for nothing."""

from __future__ import annotations

import random

from maculaos.loadtest.load import Load
from maculaos.loadtest.scenario import Scenario
from maculaos.loadtest.stamps import Stamper

RUN = 7


def load(**changes: object) -> Load:
    return Load(Scenario(**{"nodes": 2, **changes}), RUN)  # type: ignore[arg-type]  # as given


def stamped(run: int, publisher: int, sequence: int, due_s: float) -> bytes:
    return Stamper(run, publisher, 100, random.Random(1)).stamped(sequence, due_s)


def test_latency_counts_from_when_an_event_was_due() -> None:
    noted = load()
    sequence = noted.publish(0, 1.0, 1.5)
    noted.take(0, stamped(RUN, 0, sequence, 1.0), 2.0)
    assert noted.timeline.total().highest_us == 1_000_000
    assert noted.lag.highest_us == 500_000
    assert noted.timeline.at(2.0).delivered.count == 1


def test_trial_events_only_introduce() -> None:
    noted = load(subscribers=2)
    met = []
    for subscriber in range(2):
        noted.take(subscriber, stamped(RUN - 1, 0, 0, 0.0), 0.1)
        met.append(noted.everyone_met)
    assert met == [False, True]
    assert noted.checker.counts().delivered == 0


def test_events_of_other_runs_and_other_payloads_change_no_figure() -> None:
    noted = load()
    noted.publish(0, 0.0, 0.0)
    for payload in (stamped(RUN + 1, 0, 0, 0.0), "words", b"short", None):
        noted.take(0, payload, 0.1)
    counts = noted.checker.counts()
    assert (counts.delivered, counts.lost, counts.foreign) == (0, 1, 3)
    assert not noted.everyone_met


def test_an_acknowledged_event_is_missed_only_once_it_is_confirmed() -> None:
    noted = load(acknowledge=True)
    first, second, third = (noted.publish(0, 0.0, 0.0) for _ in range(3))
    noted.confirm(0, first)
    noted.refuse(0, second, "NOT_DELIVERED", 0.2)
    counts = noted.checker.counts()
    assert (counts.expected, counts.lost, counts.refused) == (1, 1, 2)
    assert noted.errors == {"NOT_DELIVERED": 1}
    noted.take(0, stamped(RUN, 0, third, 0.0), 0.3)
    assert noted.checker.counts().refused_yet_delivered == 1
