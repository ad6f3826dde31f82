"""Probes: fair rounds, and answers that count only from whom was asked."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.probe import Probes

IDS = [NodeId(bytes([number]) * 32) for number in range(9)]


def make_probes(seed: int = 1) -> Probes:
    return Probes(random.Random(seed))  # a seed replays the run


@given(st.integers(1, 9), st.integers())
def test_each_peer_is_probed_once_per_round(count: int, seed: int) -> None:
    probes, peers = make_probes(seed), IDS[:count]
    for _ in range(3):
        assert sorted(filter(None, (probes.next_target(peers) for _ in peers))) == peers


def test_nobody_linked_means_nobody_to_probe() -> None:
    assert make_probes().next_target([]) is None


def test_who_is_no_longer_linked_is_skipped() -> None:
    probes = make_probes()
    probes.next_target(IDS)
    assert {probes.next_target(IDS[:1]) for _ in range(9)} == {IDS[0]}


def test_an_answer_counts_once_and_only_from_the_target() -> None:
    probes = make_probes()
    sequence = probes.open(IDS[0], deadline=5.0)
    assert not probes.answer(sequence, IDS[1])
    assert probes.answer(sequence, IDS[0])
    assert not probes.answer(sequence, IDS[0])
    assert probes.next_deadline() == math.inf


def test_an_unanswered_probe_expires_once() -> None:
    probes = make_probes()
    probes.open(IDS[0], deadline=5.0)
    probes.open(IDS[1], deadline=6.0)
    probes.cancel(IDS[1])
    assert probes.expired(4.9) == []
    assert probes.expired(6.0) == [IDS[0]]
    assert probes.expired(6.0) == []


def test_postponing_gives_open_probes_more_time() -> None:
    probes = make_probes()
    probes.open(IDS[0], deadline=5.0)
    probes.postpone(2.0)
    assert probes.next_deadline() == 7.0
