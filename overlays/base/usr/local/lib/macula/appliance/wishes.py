"""What people ask of the slots: each wish becomes a new state, or is refused with the reason.

A wish only changes what is remembered; the steps that follow are those of ``appliance.decisions``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from appliance.decisions import disproved, ended, proved
from appliance.state import Bundle, Ending, Phase, State
from appliance.steps import Refusal

if TYPE_CHECKING:
    from appliance.bundle import BundleReader
    from appliance.slots import SlotsFacts

_FORCE = "give --force to install it all the same"
_JUDGED = {Phase.TRIAL, Phase.COMMITTING, Phase.REVERTING}


def bundle_of(reader: BundleReader) -> Bundle:
    """What is remembered of a bundle."""
    manifest = reader.manifest
    return Bundle(
        digest=reader.digest,
        name=manifest.name,
        version=manifest.version,
        created=manifest.created,
        slot_bytes=manifest.slot_bytes,
        slot_sha256=manifest.slot_sha256,
    )


def refuse_unfit(facts: SlotsFacts, arch: str, machine_arch: str, bundle: Bundle) -> None:
    """Raise ``Refusal`` for a bundle that this machine cannot run or hold, forced or not."""
    if arch != machine_arch:
        raise Refusal(
            f"the bundle is for {arch}, this machine is {machine_arch}", "fetch the one for it"
        )
    room = facts.slots[facts.spare].size_bytes
    if bundle.slot_bytes > room:
        raise Refusal(
            f"the bundle takes {bundle.slot_bytes} bytes, slot {facts.spare} has {room}",
            "write the image to the disk anew: its slots are larger",
        )


def install(facts: SlotsFacts, state: State, bundle: Bundle, *, is_forced: bool) -> State:
    """Begin to fill the spare slot; raises ``Refusal``.

    Forced: a bundle that failed here, one that runs already, or one older than what runs.
    """
    if state.phase in _JUDGED or facts.is_on_trial:
        raise Refusal(
            f"slot {facts.running} is on trial", "wait for the verdict, or commit or roll back"
        )
    if not is_forced:
        _refuse_known(facts, state, bundle)
    spare = facts.spare
    return replace(
        state,
        phase=Phase.WRITING,
        slot=spare,
        bundle=bundle,
        attempts=0,
        reason="",
        contents={slot: held for slot, held in state.contents.items() if slot is not spare},
        spoiled=tuple(sorted({*state.spoiled, spare})),
    )


def written(state: State) -> State:
    """The slot was read back and is whole; raises ``Refusal`` if nothing was being written."""
    if state.phase is not Phase.WRITING or state.slot is None or state.bundle is None:
        raise Refusal("nothing was being written", "begin with: maculaos-update install")
    return replace(
        state,
        phase=Phase.WRITTEN,
        contents={**state.contents, state.slot: state.bundle},
        spoiled=tuple(slot for slot in state.spoiled if slot is not state.slot),
    )


def commit(facts: SlotsFacts, state: State) -> State:
    """Take the word of a person for the health of the running slot; raises ``Refusal``."""
    if state.phase is not Phase.TRIAL or state.slot is not facts.running:
        raise Refusal("nothing is on trial", "see: maculaos-update status")
    return proved(state)


def roll_back(facts: SlotsFacts, state: State, now: float) -> State:
    """Leave what runs, or what was prepared; raises ``Refusal``.

    On trial: back at once. Before the trial: the update is dropped. Else: try the other slot,
    which has to prove its health like any update.
    """
    if state.phase is Phase.TRIAL and state.slot is facts.running:
        return disproved(state, "an operator asked to go back")
    if state.phase in _JUDGED:
        raise Refusal(f"the update is {state.phase}", "wait a moment, then: maculaos-update status")
    if state.phase is not Phase.IDLE:
        return ended(state, Ending.ABANDONED, "an operator dropped it", now)
    if facts.spare in state.spoiled:
        raise Refusal(f"slot {facts.spare} holds nothing that may boot", "install a bundle instead")
    held = state.contents.get(facts.spare)
    return replace(state, phase=Phase.WRITTEN, slot=facts.spare, bundle=held, attempts=0, reason="")


def forget(state: State, digest: str) -> State:
    """Let failed bundles be tried again: those whose digest begins so; raises ``Refusal``."""
    kept = tuple(each for each in state.failed if not each.digest.startswith(digest))
    if len(kept) == len(state.failed):
        raise Refusal("no such bundle failed here", "see: maculaos-update status")
    return replace(state, failed=kept)


def _refuse_known(facts: SlotsFacts, state: State, bundle: Bundle) -> None:
    for failure in state.failed:
        if failure.digest == bundle.digest:
            raise Refusal(f"{bundle.version} failed here before: {failure.reason}", _FORCE)
    running = state.contents.get(facts.running)
    if running is None:
        return
    if running.digest == bundle.digest:
        raise Refusal(f"{bundle.version} runs already, in slot {facts.running}", _FORCE)
    if datetime.fromisoformat(bundle.created) < datetime.fromisoformat(running.created):
        raise Refusal(f"{bundle.version} is older than {running.version}, which runs", _FORCE)
