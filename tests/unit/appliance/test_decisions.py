"""Decisions: the order of the marks, and a second try for what proved its health."""

from __future__ import annotations

import pytest

from appliance.decisions import CUT_IN_COMMIT, next_step, tidy
from appliance.slots import Mark, Slot, SlotFacts, SlotsFacts
from appliance.state import Bundle, Ending, Phase, State
from appliance.steps import Remember, SetMark, UnsetMark

BUNDLE = Bundle(digest="00", name="n", version="2", created="c", slot_bytes=512, slot_sha256="11")
ME, ONCE, FAILED = Mark.BOOTME, Mark.BOOTONCE, Mark.BOOTFAILED


def facts(a: set[Mark], b: set[Mark], running: Slot = Slot.A) -> SlotsFacts:
    marks = {Slot.A: a, Slot.B: b}
    slots = {
        slot: SlotFacts(index=index, size_bytes=512, marks=frozenset(marks[slot]))
        for slot, index in ((Slot.A, 3), (Slot.B, 4))
    }
    return SlotsFacts(disk="vtbd0", running=running, slots=slots)


def under_way(phase: Phase, attempts: int = 0) -> State:
    return State(phase=phase, slot=Slot.B, bundle=BUNDLE, attempts=attempts)


def test_spare_slot_loses_bootme_before_bootonce() -> None:
    assert tidy(facts({ME}, {ME, ONCE})) == UnsetMark(Slot.B, ME)
    assert tidy(facts({ME}, {ONCE})) == UnsetMark(Slot.B, ONCE)
    assert tidy(facts(set(), {ME})) == SetMark(Slot.A, ME)
    assert tidy(facts({ME}, set())) is None


@pytest.mark.parametrize(
    ("a", "b", "step"),
    [
        ({ME}, {ONCE}, UnsetMark(Slot.B, ONCE)),
        ({ME}, set(), SetMark(Slot.B, ME)),
        ({ME}, {ME}, UnsetMark(Slot.A, ME)),
    ],
)
def test_commit_takes_the_proved_order(a: set[Mark], b: set[Mark], step: object) -> None:
    assert next_step(facts(a, b, Slot.B), under_way(Phase.COMMITTING), 0.0) == step


def test_cut_before_the_first_mark_of_a_commit_earns_a_second_trial() -> None:
    fallen = facts({ME}, {FAILED})
    again = next_step(fallen, under_way(Phase.COMMITTING), 0.0)
    assert again == Remember(under_way(Phase.WRITTEN, attempts=1))
    assert isinstance(again, Remember)
    # The mark of the first try must not be taken for one of the second.
    assert next_step(fallen, again.state, 0.0) == UnsetMark(Slot.B, FAILED)


def test_second_cut_in_a_commit_ends_it_without_blame() -> None:
    ended = next_step(facts({ME}, {FAILED}), under_way(Phase.COMMITTING, attempts=1), 5.0)
    assert isinstance(ended, Remember)
    assert ended.state.failed == ()
    assert ended.state.last is not None
    assert (ended.state.last.ending, ended.state.last.reason) == (Ending.FELL_BACK, CUT_IN_COMMIT)
