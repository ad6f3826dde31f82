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


def test_an_answer_counts_once_and_only_from_whom_was_asked() -> None:
    probes = make_probes()
    probe = probes.open(IDS[0], deadline=5.0)
    assert probes.answer(probe.sequence, IDS[1]) is None
    assert probes.answer(probe.sequence, IDS[0]) is probe
    assert probes.answer(probe.sequence, IDS[0]) is None
    assert probes.next_deadline() == math.inf


def test_a_helper_answers_in_the_place_of_the_target() -> None:
    probes = make_probes()
    probe = probes.open(IDS[0], deadline=5.0)
    probe.helpers = (IDS[1],)
    assert probes.answer(probe.sequence, IDS[2]) is None
    assert probes.answer(probe.sequence, IDS[1]) is probe
    assert probes.of(IDS[0]) is None


def test_a_denial_counts_once_and_leaves_the_probe_open() -> None:
    probes = make_probes()
    probe = probes.open(IDS[0], deadline=5.0)
    probe.awaited = {IDS[1]: None}
    assert not probes.deny(probe.sequence, IDS[2])
    assert probes.deny(probe.sequence, IDS[1])
    assert not probes.deny(probe.sequence, IDS[1])
    assert probes.of(IDS[0]) is probe


def test_an_unanswered_probe_is_overdue_until_it_is_closed() -> None:
    probes = make_probes()
    late = probes.open(IDS[0], deadline=5.0)
    probes.open(IDS[1], deadline=6.0)
    probes.cancel(IDS[1])
    assert list(probes.overdue(4.9)) == []
    assert list(probes.overdue(6.0)) == [late]
    probes.close(late)
    assert list(probes.overdue(6.0)) == []


def test_postponing_gives_open_probes_more_time() -> None:
    probes = make_probes()
    probes.open(IDS[0], deadline=5.0)
    probes.postpone(2.0)
    assert probes.next_deadline() == 7.0
