"""Whatever is cut and whatever the new system is worth: the machine runs a whole, healthy one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wishes
from appliance.decisions import NEVER_CAME_UP, RESTARTED
from appliance.model import Fate
from appliance.slots import Mark, Slot
from appliance.state import Ending, Phase
from appliance.steps import Refusal
from unit.appliance.bundleyard import MIB
from unit.appliance.machineyard import IN_ORDER, SWAPPED, Life

BAD = [fate for fate in Fate if fate is not Fate.HEALTHY]


def check(life: Life) -> None:
    """What holds after any history, once the machine has come to rest."""
    running = life.machine.running
    assert life.machine.fate(running) is Fate.HEALTHY
    state = life.state
    assert state.phase in {Phase.IDLE, Phase.WRITING}
    if life.runs_new:
        assert state.last is not None
        assert state.last.ending is Ending.COMMITTED
    assert not life.keeps_new or life.fate is Fate.HEALTHY
    marks = life.disk.table.marks
    assert marks[running] == {Mark.BOOTME}
    assert not marks[running.other]
    assert not life.disk.is_corrupt


def finish(life: Life) -> None:
    """Install again if need be; a bundle that failed is refused, any other ends as it deserves."""
    if not life.runs_new:
        tried_before = {each.digest for each in life.state.failed}
        try:
            life.install()
        except Refusal:
            assert tried_before
    check(life)
    state = life.state
    assert state.last is not None
    if life.fate is not Fate.HEALTHY:
        assert not life.runs_new
        assert state.last.ending is Ending.FELL_BACK
        assert state.last.reason
        assert len(state.failed) == 1
        with pytest.raises(Refusal, match="failed here before"):
            life.install()
    elif not state.failed:
        assert life.runs_new


def test_healthy_system_is_committed_and_kept_over_a_reboot() -> None:
    life = Life()
    life.install()
    assert (life.machine.running, life.state.describe()) == (
        Slot.B,
        "2.0 in slot B committed: it proved its health",
    )
    life.start()
    assert life.machine.booted == [Slot.A, Slot.B, Slot.B]
    check(life)


@pytest.mark.parametrize("fate", BAD)
def test_bad_system_falls_back_with_a_reason_and_is_refused_after(fate: Fate) -> None:
    life = Life(fate)
    life.install()
    reason = life.state.failed[0].reason
    assert life.machine.running is Slot.A
    if fate is Fate.UNHEALTHY:
        assert reason == "not healthy within 600 s: mesh: no node has a peer"
    else:
        assert reason == NEVER_CAME_UP
    finish(life)
    tries = life.machine.booted.count(Slot.B)
    with pytest.raises(Refusal):
        life.install()
    assert life.machine.booted.count(Slot.B) == tries
    life.install(is_forced=True)
    check(life)


@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
@pytest.mark.parametrize("indices", [IN_ORDER, SWAPPED], ids=["A-first", "B-first"])
@pytest.mark.parametrize("fate", Fate)
def test_cut_at_every_write_is_survived(
    fate: Fate, indices: dict[Slot, int], is_torn: bool
) -> None:
    whole = Life(fate, indices=indices)
    begun = whole.disk.writes
    whole.install()
    writes = whole.disk.writes - begun
    assert writes > 20
    for cut in range(writes + 1):
        life = Life(fate, indices=indices, is_torn=is_torn)
        ended = life.survive(life.install, [cut])
        assert ended == (cut == writes)
        check(life)
        finish(life)


@settings(max_examples=60, deadline=None)
@given(
    fate=st.sampled_from(Fate),
    indices=st.sampled_from([IN_ORDER, SWAPPED]),
    is_torn=st.booleans(),
    cuts=st.lists(st.integers(0, 60), min_size=1, max_size=5),
)
def test_any_number_of_cuts_is_survived(
    fate: Fate, indices: dict[Slot, int], is_torn: bool, cuts: list[int]
) -> None:
    life = Life(fate, indices=indices, is_torn=is_torn)
    life.survive(life.install, cuts)
    check(life)
    finish(life)


def test_cut_install_writes_only_what_is_missing() -> None:
    life = Life(size=3 * MIB + 512)
    begun = life.disk.writes
    life.install()
    usual = life.disk.writes - begun
    life = Life(size=3 * MIB + 512)
    # The record, then two chunks, then half a chunk.
    life.survive(life.install, [3])
    assert life.state.phase is Phase.WRITING
    begun = life.disk.writes
    life.install()
    # Two chunks less, and the record is kept twice from the first write on.
    assert life.disk.writes - begun == usual - 2 + 1
    assert life.runs_new


def test_reboot_in_a_trial_falls_back_and_says_what_was_seen_last() -> None:
    life = Life(Fate.UNHEALTHY)
    begun = life.disk.writes
    life.install()
    cuts = range(begun, life.disk.writes - begun)
    reasons = set()
    for cut in cuts:
        life = Life(Fate.UNHEALTHY)
        life.survive(life.install, [cut])
        if life.state.last:
            reasons.add(life.state.last.reason)
    assert f"{RESTARTED}; last seen: mesh: no node has a peer" in reasons


@pytest.mark.parametrize("fate", [Fate.HEALTHY, Fate.PANICS])
def test_rollback_after_a_commit_is_a_trial_of_its_own(fate: Fate) -> None:
    life = Life()
    life.install()
    life.machine.fates[hashlib.sha256(life.old).hexdigest()] = fate
    step = life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))
    life.updater.reboot(step.describe())
    life.start()
    assert life.runs_new == (fate is Fate.PANICS)
    assert life.disk.table.marks[life.machine.running] == {Mark.BOOTME}
    if fate is Fate.PANICS:
        with pytest.raises(Refusal, match="nothing that may boot"):
            life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))
