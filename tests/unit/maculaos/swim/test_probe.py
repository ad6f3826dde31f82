"""Probes: answers count only from whom was asked."""

from __future__ import annotations

import math

from maculaos.identity import NodeId
from maculaos.swim.probe import Probes

IDS = [NodeId(bytes([number]) * 32) for number in range(9)]


def test_an_answer_counts_once_and_only_from_whom_was_asked() -> None:
    probes = Probes()
    probe = probes.open(IDS[0], deadline=5.0)
    assert probes.answer(probe.sequence, IDS[1]) is None
    assert probes.answer(probe.sequence, IDS[0]) is probe
    assert probes.answer(probe.sequence, IDS[0]) is None
    assert probes.next_deadline() == math.inf


def test_a_helper_answers_in_the_place_of_the_target() -> None:
    probes = Probes()
    probe = probes.open(IDS[0], deadline=5.0)
    probe.helpers = (IDS[1],)
    assert probes.answer(probe.sequence, IDS[2]) is None
    assert probes.answer(probe.sequence, IDS[1]) is probe
    assert probes.of(IDS[0]) is None


def test_a_denial_counts_once_and_leaves_the_probe_open() -> None:
    probes = Probes()
    probe = probes.open(IDS[0], deadline=5.0)
    probe.awaited = {IDS[1]: None}
    assert not probes.deny(probe.sequence, IDS[2])
    assert probes.deny(probe.sequence, IDS[1])
    assert not probes.deny(probe.sequence, IDS[1])
    assert probes.of(IDS[0]) is probe


def test_an_unanswered_probe_is_overdue_until_it_is_closed() -> None:
    probes = Probes()
    late = probes.open(IDS[0], deadline=5.0)
    probes.open(IDS[1], deadline=6.0)
    probes.cancel(IDS[1])
    assert list(probes.overdue(4.9)) == []
    assert list(probes.overdue(6.0)) == [late]
    probes.close(late)
    assert list(probes.overdue(6.0)) == []


def test_postponing_gives_open_probes_more_time() -> None:
    probes = Probes()
    probes.open(IDS[0], deadline=5.0)
    probes.postpone(2.0)
    assert probes.next_deadline() == 7.0
