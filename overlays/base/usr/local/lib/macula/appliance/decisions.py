"""What to do about the slots, from how they stand and what is remembered; pure.

    idle -> writing -> written -> armed -> (reboot) -> trial -> committing -> idle
                                    |                   |
                                    |                   +-> reverting -> (reboot) -> idle
                                    +-> (it never came up) -------------------------> idle

``next_step`` gives one step at a time and is asked anew, with fresh facts, after each. Three laws
hold at every point, so that a power cut after any write is harmless: some slot can boot; a slot
that is not whole carries no mark; and a slot stays without *bootonce* and with *bootme* only after
it has proved its health. The order of the marks is the one of gptboot(8), and was proved on a disk.

The wishes of people are in ``appliance.wishes``; ``appliance.update`` carries steps out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from appliance.slots import Mark, SlotsFacts
from appliance.state import (
    FAILURES_MAX,
    REASON_CHARACTERS_MAX,
    Ending,
    Failure,
    Outcome,
    Phase,
    State,
)
from appliance.steps import CheckHealth, Reboot, Recover, Remember, Rest, SetMark, UnsetMark, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.steps import Step

# A bundle that proved its health is armed once more if a cut came before it was committed.
ATTEMPTS_MAX: Final = 2
NEVER_CAME_UP: Final = (
    "it did not come up: it stopped in the loader, the kernel or early start, or was reset there"
)
RESTARTED: Final = "the machine restarted before it had proved its health"
CUT_IN_COMMIT: Final = "the machine restarted each time while it was being committed"
RECORD_LOST: Final = "the record of the update could not be read"
HALF_BOOTED: Final = "it was booted by hand before it was whole"
PROVED: Final = "it proved its health"
MARKED: Final = "its marks were set already"


def next_step(facts: SlotsFacts, state: State, now: float) -> Step:
    """The one thing to do now; ``now`` in seconds since the epoch, for the records."""
    if facts.is_corrupt:
        # The kernel refuses to change marks while the copies of the table differ.
        return Recover()
    if state.is_lost:
        return Remember(_found_again(facts, now))
    if facts.is_on_trial and state.slot is not facts.running:
        return Remember(_on_trial(facts, state))
    return _RULES[state.phase](facts, state, now)


def tidy(facts: SlotsFacts) -> Step | None:
    """What makes the running slot the only one that boots; None if it is. It is not on trial.

    *bootme* goes before *bootonce*: the spare slot, which may be half written, could otherwise
    boot without a fallback if the power went in between.
    """
    running, spare = facts.running, facts.spare
    if facts.has(running, Mark.BOOTONCE):
        return UnsetMark(running, Mark.BOOTONCE)
    if not facts.has(running, Mark.BOOTME):
        return SetMark(running, Mark.BOOTME)
    for slot, mark in (
        (spare, Mark.BOOTME),
        (spare, Mark.BOOTONCE),
        (spare, Mark.BOOTFAILED),
        (running, Mark.BOOTFAILED),
    ):
        if facts.has(slot, mark):
            return UnsetMark(slot, mark)
    return None


def proved(state: State) -> State:
    """The running slot proved its health: it is to stay."""
    return replace(state, phase=Phase.COMMITTING, reason="")


def disproved(state: State, reason: str) -> State:
    """The running slot did not prove its health, or people do not want it: back to the other."""
    return replace(state, phase=Phase.REVERTING, reason=_short(reason))


def ended(state: State, ending: Ending, reason: str, now: float) -> State:
    """No update is under way any more, and this is how it ended; IDLE keeps its old record."""
    if state.slot is None:
        return state
    version = state.bundle.version if state.bundle else ""
    return replace(
        state,
        phase=Phase.IDLE,
        slot=None,
        bundle=None,
        attempts=0,
        reason="",
        last=Outcome(
            ending=ending, slot=state.slot, version=version, reason=_short(reason), at=now
        ),
    )


def _idle(facts: SlotsFacts, _state: State, _now: float) -> Step:
    return tidy(facts) or Rest()


def _writing(facts: SlotsFacts, state: State, now: float) -> Step:
    if state.slot is facts.running:
        return Remember(ended(state, Ending.ABANDONED, HALF_BOOTED, now))
    return tidy(facts) or Write(facts.spare)


def _written(facts: SlotsFacts, state: State, now: float) -> Step:
    if state.slot is facts.running:
        return _judge(facts, state, now)
    # An old bootfailed goes before the arming, so that one found later means this update.
    return tidy(facts) or Remember(replace(state, phase=Phase.ARMED))


def _armed(facts: SlotsFacts, state: State, now: float) -> Step:
    if state.slot is facts.running:
        return _judge(facts, state, now)
    if facts.has(facts.spare, Mark.BOOTFAILED):
        return Remember(_fell_back(state, NEVER_CAME_UP, now))
    if not facts.has(facts.running, Mark.BOOTME):
        return SetMark(facts.running, Mark.BOOTME)
    marks = facts.slots[facts.spare].marks
    if marks == {Mark.BOOTME, Mark.BOOTONCE}:
        return Reboot(f"to try slot {facts.spare}")
    if marks:
        # bootme first, as in tidy: the least word of the two.
        return UnsetMark(facts.spare, min(marks))
    return SetMark(facts.spare, Mark.BOOTONCE)


def _trial(facts: SlotsFacts, state: State, now: float) -> Step:
    if state.slot is facts.running:
        return _judge(facts, state, now)
    return Remember(_fell_back(state, state.reason or RESTARTED, now))


def _judge(facts: SlotsFacts, state: State, now: float) -> Step:
    """The slot of the update runs."""
    if facts.has(facts.running, Mark.BOOTME) and not facts.has(facts.running, Mark.BOOTONCE):
        return Remember(_committed(state, MARKED, now))
    if state.phase is not Phase.TRIAL:
        return Remember(replace(state, phase=Phase.TRIAL, reason=""))
    return CheckHealth(facts.running)


def _committing(facts: SlotsFacts, state: State, now: float) -> Step:
    running = facts.running
    if state.slot is not running:
        if state.attempts + 1 < ATTEMPTS_MAX:
            return Remember(replace(state, phase=Phase.WRITTEN, attempts=state.attempts + 1))
        return Remember(ended(state, Ending.FELL_BACK, CUT_IN_COMMIT, now))
    # Each of these leaves a table that boots: the old slot, then either, then the new one.
    if facts.has(running, Mark.BOOTONCE):
        return UnsetMark(running, Mark.BOOTONCE)
    if not facts.has(running, Mark.BOOTME):
        return SetMark(running, Mark.BOOTME)
    if facts.has(facts.spare, Mark.BOOTME):
        return UnsetMark(facts.spare, Mark.BOOTME)
    return Remember(_committed(state, PROVED, now))


def _reverting(facts: SlotsFacts, state: State, now: float) -> Step:
    old, new = facts.spare, facts.running
    if state.slot is not new:
        return Remember(_fell_back(state, state.reason, now))
    if facts.has(old, Mark.BOOTONCE):
        return UnsetMark(old, Mark.BOOTONCE)
    if not facts.has(old, Mark.BOOTME):
        return SetMark(old, Mark.BOOTME)
    if facts.has(new, Mark.BOOTME):
        return UnsetMark(new, Mark.BOOTME)
    return Reboot(f"back to slot {old}: {state.reason}")


_RULES: Final[Mapping[Phase, Callable[[SlotsFacts, State, float], Step]]] = {
    Phase.IDLE: _idle,
    Phase.WRITING: _writing,
    Phase.WRITTEN: _written,
    Phase.ARMED: _armed,
    Phase.TRIAL: _trial,
    Phase.COMMITTING: _committing,
    Phase.REVERTING: _reverting,
}


def _committed(state: State, reason: str, now: float) -> State:
    done = ended(state, Ending.COMMITTED, reason, now)
    digest = state.bundle.digest if state.bundle else ""
    return replace(
        done,
        failed=tuple(each for each in state.failed if each.digest != digest),
        spoiled=tuple(slot for slot in state.spoiled if slot is not state.slot),
    )


def _fell_back(state: State, reason: str, now: float) -> State:
    back = ended(state, Ending.FELL_BACK, reason, now)
    spoiled = {*state.spoiled, *filter(None, [state.slot])}
    failed = state.failed
    if state.bundle is not None:
        digest = state.bundle.digest
        others = tuple(each for each in failed if each.digest != digest)
        failure = Failure(
            digest=digest, version=state.bundle.version, reason=_short(reason), at=now
        )
        failed = (*others, failure)[-FAILURES_MAX:]
    return replace(back, spoiled=tuple(sorted(spoiled)), failed=failed)


def _on_trial(facts: SlotsFacts, state: State) -> State:
    """The running slot is tried, and it is not the one that the record speaks of."""
    return replace(
        state,
        phase=Phase.TRIAL,
        slot=facts.running,
        bundle=state.contents.get(facts.running),
        attempts=0,
        reason="",
    )


def _found_again(facts: SlotsFacts, now: float) -> State:
    """What can be known without the record: the spare slot is not to be trusted."""
    if facts.is_on_trial:
        return _on_trial(facts, State())
    tried = facts.has(facts.spare, Mark.BOOTFAILED)
    last = Outcome(
        ending=Ending.FELL_BACK if tried else Ending.ABANDONED,
        slot=facts.spare,
        version="",
        reason=RECORD_LOST,
        at=now,
    )
    return State(spoiled=(facts.spare,), last=last)


def _short(reason: str) -> str:
    return " ".join(reason.split())[:REASON_CHARACTERS_MAX]
