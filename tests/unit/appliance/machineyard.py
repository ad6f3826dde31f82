"""A model machine with an updater, that lives through installs, reboots and power cuts."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.model import Fate, ModelDisk, ModelMachine, PowerCut
from appliance.slots import Mark, Slot
from appliance.update import Tools, Updater
from maculaos.host.clock import FakeClock
from unit.appliance.bundleyard import KEYRING, Making, system

if TYPE_CHECKING:
    from appliance.state import State

REBOOTS_MAX = 12
IN_ORDER = {Slot.A: 3, Slot.B: 4}
SWAPPED = {Slot.A: 4, Slot.B: 3}


@dataclass
class Life:
    """One machine that runs ``old`` in slot A; ``new`` has the fate that is given."""

    fate: Fate = Fate.HEALTHY
    size: int = 1536
    indices: dict[Slot, int] = field(default_factory=lambda: dict(IN_ORDER))
    is_torn: bool = False
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.old, self.new = system("old", self.size), system("new", self.size)
        self.bundle = Making(self.new).encode()
        self.disk = ModelDisk(
            self.size,
            dict(self.indices),
            {slot: bytearray(self.old) for slot in Slot},
        )
        fates = {hashlib.sha256(self.old).hexdigest(): Fate.HEALTHY}
        fates[hashlib.sha256(self.new).hexdigest()] = self.fate
        self.machine = ModelMachine(self.disk, fates, is_torn=self.is_torn)
        self.clock = FakeClock()
        self.updater = Updater(
            Tools(
                runner=self.machine,
                devices=self.machine,
                record=self.machine.record,
                clock=self.clock,
                health=self.machine,
                say=self.said.append,
            )
        )
        self.start()

    @property
    def state(self) -> State:
        return self.machine.record.load()

    @property
    def runs_new(self) -> bool:
        return bytes(self.disk.content[self.machine.running]) == self.new

    @property
    def keeps_new(self) -> bool:
        """Whether the new system would boot for good."""
        marks = self.disk.table.marks
        return any(
            bytes(self.disk.content[slot]) == self.new
            and Mark.BOOTME in marks[slot]
            and Mark.BOOTONCE not in marks[slot]
            for slot in Slot
        )

    def start(self) -> None:
        """Boot, as often as the updater wants it."""
        for _ in range(REBOOTS_MAX):
            self.machine.boot()
            self.updater.boot()
            if not self.machine.is_rebooting:
                return
        raise AssertionError("it reboots for ever")

    def install(self, *, is_forced: bool = False) -> None:
        step = self.updater.install(io.BytesIO(self.bundle), KEYRING, is_forced=is_forced)
        self.updater.reboot(step.describe())
        self.start()

    def survive(self, work: object, cuts: list[int]) -> bool:
        """Do ``work`` (a method without arguments), cut after so many writes; whether it ended."""
        assert callable(work)
        ended = False
        for number, cut in enumerate(cuts):
            self.disk.cut_after = self.disk.writes + cut
            try:
                work() if number == 0 else self.start()
                ended = ended or number == 0
            except PowerCut:
                assert not self.keeps_new or self.fate is Fate.HEALTHY
        self.disk.cut_after = None
        self.start()
        return ended
