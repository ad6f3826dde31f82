"""The updater: nothing is written that was not checked, and never the slot that runs."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from appliance import wishes
from appliance.bundle import BadBundle
from appliance.keys import NotSigned
from appliance.model import Bricked, Fate
from appliance.slots import Slot, UnclearSlots
from appliance.state import Ending, Phase
from appliance.steps import Reboot, Refusal
from appliance.update import SlotUnsound, Updater
from unit.appliance.bundleyard import KEYRING, STRANGER, Making
from unit.appliance.machineyard import Life

if TYPE_CHECKING:
    from appliance.health import Report


def put(life: Life, content: bytes) -> None:
    life.updater.install(io.BytesIO(content), KEYRING)


def test_nothing_is_changed_by_a_bundle_that_is_refused() -> None:
    life = Life()
    refused = [
        (Making(life.new, key=STRANGER).encode(), NotSigned),
        (b"rubbish", BadBundle),
        (Making(life.new, changes={"arch": "aarch64"}).encode(), Refusal),
        (Making(life.new + bytes(512)).encode(), Refusal),
    ]
    begun = life.disk.writes
    for content, error in refused:
        with pytest.raises(error):
            put(life, content)
    assert (life.disk.writes, life.state.phase) == (begun, Phase.IDLE)


def test_running_slot_is_not_written_when_the_machine_is_in_doubt() -> None:
    life = Life()
    life.machine.running = Slot.B
    # The table still boots A; only mount and loader say what runs.
    put(life, life.bundle)
    assert bytes(life.disk.content[Slot.B]) == life.old
    with pytest.raises(Bricked):
        life.machine.open(Slot.B)


def test_unclear_slots_stop_everything() -> None:
    life = Life()
    life.machine.run = lambda *_argv, **_how: ""  # type: ignore[method-assign]  # an empty machine
    with pytest.raises(UnclearSlots):
        put(life, life.bundle)


def test_disk_that_gives_back_other_bytes_is_not_booted() -> None:
    life = Life()
    wrong = Making(life.new, changes={"slot_sha256": "ab" * 32}).encode()
    with pytest.raises(SlotUnsound):
        put(life, wrong)
    assert life.state.spoiled == (Slot.B,)
    life.start()
    assert life.machine.running is Slot.A
    life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))
    with pytest.raises(Refusal, match="nothing that may boot"):
        life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))


def test_older_and_running_bundles_are_refused_unless_forced() -> None:
    life = Life()
    life.install()
    with pytest.raises(Refusal, match="runs already"):
        put(life, life.bundle)
    with pytest.raises(Refusal, match="older than"):
        put(life, Making(life.old, version="1.0", created="2025-01-01T00:00:00Z").encode())
    life.install(is_forced=True)
    assert life.machine.running is Slot.A


def test_second_call_of_boot_does_not_reboot_an_armed_machine() -> None:
    life = Life()
    put(life, life.bundle)
    assert life.state.phase is Phase.ARMED
    assert isinstance(life.updater.boot(), Reboot)
    assert not life.machine.is_rebooting


def test_rollback_of_an_armed_update_disarms_it() -> None:
    life = Life()
    put(life, life.bundle)
    life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))
    life.start()
    assert life.machine.booted == [Slot.A, Slot.A]
    assert life.state.last is not None
    assert life.state.last.ending is Ending.ABANDONED


def test_forgotten_failure_may_be_tried_again() -> None:
    life = Life(Fate.PANICS)
    life.install()
    with pytest.raises(Refusal, match="no such"):
        life.updater.wish(lambda _facts, state: wishes.forget(state, "xyz"))
    digest = life.state.failed[0].digest[:8]
    life.updater.wish(lambda _facts, state: wishes.forget(state, digest))
    put(life, life.bundle)


def test_judge_that_breaks_is_ill_health() -> None:
    class Broken:
        def look(self) -> Report:
            raise RuntimeError("no such library")

    life = Life()
    put(life, life.bundle)
    life.machine.boot()
    Updater(replace(life.updater._tools, health=Broken())).boot()
    assert life.machine.is_rebooting
    life.start()
    assert life.machine.running is Slot.A
    assert life.state.failed[0].reason.endswith("no such library")


@pytest.mark.parametrize("word", ["commit", "rollback"])
def test_people_may_end_a_trial(word: str) -> None:
    life = Life(Fate.UNHEALTHY)
    put(life, life.bundle)

    class Operator:
        def look(self) -> Report:
            report = life.machine.look()
            if life.state.phase is Phase.TRIAL and life.clock.monotonic() > 60:
                if word == "commit":
                    life.updater.wish(wishes.commit)
                else:
                    life.updater.wish(lambda facts, state: wishes.roll_back(facts, state, 0.0))
            return report

    life.machine.boot()
    Updater(replace(life.updater._tools, health=Operator())).boot()
    life.start()
    assert life.runs_new == (word == "commit")
    assert life.clock.monotonic() < 600


def test_commit_without_a_trial_is_refused() -> None:
    with pytest.raises(Refusal, match="nothing is on trial"):
        Life().updater.wish(wishes.commit)
