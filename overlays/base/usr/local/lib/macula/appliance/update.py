"""The updater: carries out what is decided about the slots, and brings back what it finds.

Fills the spare slot from a stream, reads it back, arms it, and judges it after the reboot. It
remembers nothing itself: after a cut it looks at the disk and the record, and goes on. A chunk that
is in the slot already is not written again, so a cut install continues where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from appliance import slots, wishes
from appliance.bundle import CHUNK_BYTES_MIN, open_bundle
from appliance.decisions import RESTARTED, disproved, next_step, proved
from appliance.device import Devices
from appliance.health import DEADLINE_S, INTERVAL_S, HealthSource, Watch
from appliance.slots import Mark
from appliance.state import REASON_CHARACTERS_MAX, Phase
from appliance.steps import CheckHealth, Reboot, Recover, Remember, SetMark, UnsetMark, Write
from jails.freebsd import gpart, kenv, mount, sysctl
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import Clock
from maculaos.host.commands import CommandRunner

if TYPE_CHECKING:
    from appliance.bundle import BundleReader, Manifest, Stream
    from appliance.device import SlotDevice
    from appliance.health import Verdict
    from appliance.keys import Keyring
    from appliance.slots import Slot, SlotsFacts
    from appliance.state import State
    from appliance.steps import Step

# From the worst table and record to rest takes less than half of that.
STEPS_MAX: Final = 32
# How often the reasons of a trial are written down as they change.
NOTES_MAX: Final = 16
_ARCH: Final = "hw.machine_arch"


class SlotUnsound(UsageError):
    """The disk gave back other bytes than it was given."""


class Record(Protocol):
    """Where the state is kept: a ``StateFile``, or its model."""

    def load(self) -> State:
        """The newest readable state."""
        ...

    def save(self, state: State) -> None:
        """Return when it would survive a power cut."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the updater works with; ``say`` takes a line for people and the log."""

    runner: CommandRunner
    devices: Devices
    record: Record
    clock: Clock
    health: HealthSource
    say: Callable[[str], None]
    # Held while something is decided and done, so that two commands never do it at once.
    lock: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


class Updater:
    """Installs, judges and reports; every method may raise ``MaculaError`` or ``OSError``."""

    def __init__(self, tools: Tools, deadline_s: float = DEADLINE_S) -> None:
        self._tools = tools
        self._deadline_s = deadline_s

    def facts(self) -> SlotsFacts:
        """How the slots stand; raises ``UnclearSlots``."""
        run = self._tools.runner.run
        return slots.read_facts(
            mount.parse_mounts(run(*mount.list_argv())),
            kenv.parse_environment(run(*kenv.read_argv())),
            run(*gpart.labels_argv()),
        )

    def state(self) -> State:
        """What is remembered."""
        return self._tools.record.load()

    def settle(self) -> Step:
        """Do what can be done at once; the step that takes time, a bundle or a reboot is left."""
        for _ in range(STEPS_MAX):
            facts = self.facts()
            step = next_step(facts, self.state(), self._tools.clock.now())
            if not self._carry_out(facts, step):
                return step
            self._tools.say(step.describe())
        raise MaculaError("the boot marks do not settle: does something else change them?")

    def install(
        self,
        stream: Stream,
        keyring: Keyring,
        *,
        is_forced: bool = False,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Step:
        """Fill the spare slot and arm it; the step that is left is a reboot.

        ``progress`` gets bytes done and bytes in all. Raises ``BadBundle``, ``NotSigned`` and
        ``Refusal`` before anything is written, and ``SlotUnsound`` if the disk cannot be believed.
        """
        tools = self._tools
        reader = open_bundle(stream, keyring)
        bundle = wishes.bundle_of(reader)
        with tools.lock():
            facts = self.facts()
            wishes.refuse_unfit(facts, reader.manifest.arch, self._arch(), bundle)
            tools.record.save(wishes.install(facts, self.state(), bundle, is_forced=is_forced))
            step = self.settle()
            if not isinstance(step, Write):
                raise MaculaError(f"instead of writing there is to do: {step.describe()}")
            self._fill(step.slot, reader, progress)
            self._read_back(step.slot, reader.manifest)
            tools.record.save(wishes.written(self.state()))
            return self.settle()

    def wish(self, change: Callable[[SlotsFacts, State], State]) -> Step:
        """Remember what somebody wants, and do what can be done at once."""
        with self._tools.lock():
            self._tools.record.save(change(self.facts(), self.state()))
            return self.settle()

    def reboot(self, reason: str) -> None:
        """Ask init(8) for it; it happens a moment later."""
        self._tools.say(f"reboot: {reason}")
        self._tools.runner.run("shutdown", "-r", "now", f"maculaos-update: {reason}")

    def boot(self) -> Step:
        """What is due after a start: finish, report, or judge the slot on trial and act on it."""
        with self._tools.lock():
            facts = self.facts()
            was_armed = facts.has(facts.spare, Mark.BOOTONCE)
            step = self.settle()
        if isinstance(step, CheckHealth):
            step = self._judge_or_go_back()
        # A real start would have tried the armed slot: this is a second call in the same run.
        if isinstance(step, Reboot) and not (was_armed and self.state().phase is Phase.ARMED):
            self.reboot(step.reason)
        return step

    def _carry_out(self, facts: SlotsFacts, step: Step) -> bool:
        """Whether it was one that is done at once."""
        run, disk = self._tools.runner.run, facts.disk
        match step:
            case Recover():
                run(*slots.recover_argv(disk))
            case SetMark(slot=slot, mark=mark):
                run(*slots.set_argv(disk, facts.slots[slot].index, mark))
            case UnsetMark(slot=slot, mark=mark):
                run(*slots.unset_argv(disk, facts.slots[slot].index, mark))
            case Remember(state=state):
                self._tools.record.save(state)
            case _:
                return False
        return True

    def _judge_or_go_back(self) -> Step:
        try:
            return self._judge()
        except Exception as error:  # noqa: BLE001  whatever stops the judge is ill health
            reason = f"the updater failed while it judged: {error}"
            with suppress(OSError):
                self._tools.record.save(disproved(self.state(), reason))
            return Reboot(reason)

    def _judge(self) -> Step:
        tools = self._tools
        watch = Watch(tools.clock.monotonic(), self._deadline_s)
        noted, notes = "", 0
        while True:
            report = tools.health.look()
            verdict = watch.see(report, tools.clock.monotonic())
            with tools.lock():
                state = self.state()
                if state.phase is not Phase.TRIAL or verdict is not None:
                    # Without a verdict somebody else decided, with a command of their own.
                    return self._conclude(state, verdict)
                if report.describe() != noted and notes < NOTES_MAX:
                    noted, notes = report.describe(), notes + 1
                    tools.say(f"on trial: {noted}")
                    reason = f"{RESTARTED}; last seen: {noted}"[:REASON_CHARACTERS_MAX]
                    tools.record.save(replace(state, reason=reason))
            tools.clock.sleep(INTERVAL_S)

    def _conclude(self, state: State, verdict: Verdict | None) -> Step:
        if state.phase is Phase.TRIAL and verdict is not None:
            after = proved(state) if verdict.is_well else disproved(state, verdict.reason)
            self._tools.record.save(after)
        return self.settle()

    def _fill(self, slot: Slot, reader: BundleReader, progress: Callable[[int, int], None]) -> None:
        device = self._open_spare(slot)
        try:
            for chunk in reader.chunks():
                held = device.read_at(chunk.offset, chunk.size)
                if hashlib.sha256(held).hexdigest() != chunk.sha256:
                    device.write_at(chunk.offset, chunk.unpack())
                progress(chunk.offset + chunk.size, reader.manifest.slot_bytes)
            device.sync()
        finally:
            device.close()

    def _open_spare(self, slot: Slot) -> SlotDevice:
        """The slot, once more asked for: nothing else protects the one that runs."""
        facts = self.facts()
        if slot is not facts.spare or facts.slots[slot].marks:
            raise MaculaError(f"slot {slot} runs or may boot: it is not written")
        return self._tools.devices.open(slot)

    def _read_back(self, slot: Slot, manifest: Manifest) -> None:
        found = hashlib.sha256()
        device = self._open_spare(slot)
        try:
            for offset in range(0, manifest.slot_bytes, CHUNK_BYTES_MIN):
                found.update(
                    device.read_at(offset, min(CHUNK_BYTES_MIN, manifest.slot_bytes - offset))
                )
        finally:
            device.close()
        if found.hexdigest() != manifest.slot_sha256:
            raise SlotUnsound(
                f"slot {slot} does not hold what was written to it, or the manifest is wrong",
                "try again; if it happens again, the disk fails",
            )

    def _arch(self) -> str:
        return sysctl.parse_tunables(self._tools.runner.run(*sysctl.read_argv(_ARCH)))[_ARCH]
