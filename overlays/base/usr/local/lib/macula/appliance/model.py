"""A model of the machine that updates run on: disk, boot program, record, and a plug to pull.

Every write counts: sectors of the partition table, chunks of a slot, files of the record. The power
can be cut at any of them (``cut_after``), and what a cut leaves is what a disk would: a copy of the
table with a wrong checksum, half a chunk, a file with its old content or, if ``is_torn``, garbage.
``boot`` selects a slot as gptboot does (facts: gptboot(8), stand/libsa/gpt.c). It is a fake for
tests: nothing of it runs on a machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from appliance.device import SlotDevice
from appliance.health import Check, Report
from appliance.slots import Mark, Slot
from appliance.state import choose, encode
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.state import State

DISK: Final = "vtbd0"
RESETS_MAX: Final = 8
_FIRST_SECTOR: Final = 16384


class PowerCut(BaseException):
    """The plug was pulled; no handler of errors may catch it."""


class Bricked(AssertionError):
    """What must never happen: nothing boots, or half a system was booted."""


class Fate(StrEnum):
    """What becomes of a machine that boots a certain system."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    PANICS = "panics"
    HANGS = "hangs until the watchdog"
    NO_LOADER = "no loader"


@dataclass(slots=True)
class TableCopy:
    """One copy of the partition table: the marks of each slot, and whether its checksum holds."""

    marks: dict[Slot, frozenset[Mark]]
    is_valid: bool = True


@dataclass(slots=True)
class ModelDisk:
    """Two slots and their marks in two copies, with gptboot's selection; answers as gpart does."""

    slot_bytes: int
    # Slot A need not come first on the disk.
    indices: dict[Slot, int] = field(default_factory=lambda: {Slot.A: 3, Slot.B: 4})
    content: dict[Slot, bytearray] = field(default_factory=dict)
    primary: TableCopy = field(default_factory=lambda: TableCopy({}))
    backup: TableCopy = field(default_factory=lambda: TableCopy({}))
    writes: int = 0
    cut_after: int | None = None

    def __post_init__(self) -> None:
        """Slot A boots, slot B has no mark."""
        marks = {Slot.A: frozenset({Mark.BOOTME}), Slot.B: frozenset[Mark]()}
        self.primary, self.backup = TableCopy(dict(marks)), TableCopy(dict(marks))
        for slot in Slot:
            self.content.setdefault(slot, bytearray(self.slot_bytes))

    @property
    def table(self) -> TableCopy:
        """The copy that gptboot and the kernel believe."""
        return self.primary if self.primary.is_valid else self.backup

    @property
    def is_corrupt(self) -> bool:
        """Whether the copies differ, or one of them is not valid."""
        return self.primary != self.backup

    def write(self, done: Callable[[], None], half: Callable[[], None] = lambda: None) -> None:
        """Let one write happen, or half of it and then no more."""
        if self.cut_after is not None and self.writes >= self.cut_after:
            half()
            raise PowerCut
        self.writes += 1
        done()

    def put(self, copy: TableCopy, marks: dict[Slot, frozenset[Mark]]) -> None:
        """Write one copy: first the entries, whose checksum is wrong until the header follows.

        Not modelled: a cut between these two while the other copy is broken from a cut before.
        That breaks any GPT, and no program of ours runs in between.
        """
        other = self.backup if copy is self.primary else self.primary

        def entries() -> None:
            copy.is_valid = copy.is_valid and copy.marks == marks
            copy.marks = dict(marks)

        def header() -> None:
            copy.is_valid = True

        def both() -> None:
            entries()
            header()

        if other.is_valid:
            self.write(entries)
            self.write(header)
        else:
            self.write(both)

    def select(self, tried: set[Slot]) -> Slot:
        """The slot that gptboot loads now; ``tried`` are those without a loader in this run."""
        self._convert()
        marks = self.table.marks
        order = sorted(Slot, key=lambda slot: self.indices[slot])
        once = [s for s in order if marks[s] >= {Mark.BOOTME, Mark.BOOTONCE}]
        always = [s for s in order if Mark.BOOTME in marks[s] and Mark.BOOTONCE not in marks[s]]
        first = [] if tried else order
        found = next((s for s in (*once, *always, *first) if s not in tried), None)
        if found is None:
            raise Bricked(f"no slot boots: {marks}")
        if Mark.BOOTONCE in marks[found]:
            self._change_valid(found, lambda held: held - {Mark.BOOTME})
        return found

    def fail(self, slot: Slot) -> None:
        """gptboot found no loader in that slot."""
        if Mark.BOOTONCE in self.table.marks[slot]:
            self._change_valid(slot, lambda held: (held - {Mark.BOOTONCE}) | {Mark.BOOTFAILED})

    def _convert(self) -> None:
        for slot in Slot:
            marks = self.table.marks[slot]
            if Mark.BOOTONCE in marks and Mark.BOOTME not in marks:
                self.fail(slot)

    def _change_valid(
        self, slot: Slot, change: Callable[[frozenset[Mark]], frozenset[Mark]]
    ) -> None:
        for copy in (self.primary, self.backup):
            if copy.is_valid:
                self.put(copy, {**copy.marks, slot: change(copy.marks[slot])})

    def gpart(self, argv: tuple[str, ...]) -> str:
        """Answer one command of gpart(8)."""
        match argv:
            case ("gpart", "show", "-l"):
                return self.shown()
            case ("gpart", "recover", disk):
                self._write_both(dict(self.table.marks))
                return f"{disk} recovered\n"
            case ("gpart", ("set" | "unset") as verb, "-a", mark, "-i", index, disk):
                if self.is_corrupt:
                    raise CommandFailed(argv, 1, f"gpart: table '{disk}' is corrupt")
                self._write_both(self._marked(verb, Mark(mark), int(index)))
                return f"{mark} {verb} on {disk}p{index}\n"
        raise CommandFailed(argv, 64, "the model does not know this command")

    def shown(self) -> str:
        """As ``gpart show -l`` prints it."""
        sectors = self.slot_bytes // 512
        size = f"({self.slot_bytes >> 20}M)"
        corrupt = " [CORRUPT]" if self.is_corrupt else ""
        lines = [f"=>     34  2457533  {DISK}  GPT  (1.2G){corrupt}"]
        lines.append("       40     1024      1  boot  (512K)")
        for slot in sorted(Slot, key=lambda slot: self.indices[slot]):
            # The kernel prints them in this order.
            marks = ",".join(sorted(map(str, self.table.marks[slot]), key=_KERNEL_ORDER.index))
            start = _FIRST_SECTOR + self.indices[slot] * sectors
            shown = f"[{marks}]  " if marks else ""
            lines.append(
                f"{start:9} {sectors:8} {self.indices[slot]:6}  {slot.label}  {shown}{size}"
            )
        return "\n".join(lines) + "\n"

    def _marked(self, verb: str, mark: Mark, index: int) -> dict[Slot, frozenset[Mark]]:
        slot = next(slot for slot in Slot if self.indices[slot] == index)
        held = self.table.marks[slot]
        if verb == "unset":
            return {**self.table.marks, slot: held - {mark}}
        brought = {Mark.BOOTME} if mark is Mark.BOOTONCE else set()
        return {**self.table.marks, slot: held | {mark} | brought}

    def _write_both(self, marks: dict[Slot, frozenset[Mark]]) -> None:
        self.put(self.primary, marks)
        self.put(self.backup, marks)


_KERNEL_ORDER: Final = ["bootfailed", "bootonce", "bootme"]


class ModelRecord:
    """The two files of the state, written one after the other."""

    def __init__(self, disk: ModelDisk, *, is_torn: bool = False) -> None:
        self._disk = disk
        self._is_torn = is_torn
        self.current: bytes | None = None
        self.previous: bytes | None = None

    def load(self) -> State:
        """See ``StateFile.load``."""
        return choose(self.current, self.previous)

    def save(self, state: State) -> None:
        """See ``StateFile.save``."""
        before, after = self.current, encode(state)

        def keep() -> None:
            self.previous = before

        def replace() -> None:
            self.current = after

        def tear() -> None:
            if self._is_torn:
                self.current = after[: len(after) // 2]

        if before is not None and choose(before, None).is_lost is False:
            self._disk.write(keep)
        self._disk.write(replace, tear)


class ModelDevice(SlotDevice):
    """The bytes of one slot."""

    def __init__(self, disk: ModelDisk, slot: Slot) -> None:
        self._disk = disk
        self._slot = slot

    def read_at(self, offset: int, size: int) -> bytes:
        """See ``SlotDevice.read_at``."""
        return bytes(self._disk.content[self._slot][offset : offset + size])

    def write_at(self, offset: int, content: bytes) -> None:
        """See ``SlotDevice.write_at``."""
        held = self._disk.content[self._slot]

        def put(size: int) -> None:
            held[offset : offset + size] = content[:size]

        self._disk.write(lambda: put(len(content)), lambda: put(len(content) // 2))

    def sync(self) -> None:
        """See ``SlotDevice.sync``."""

    def close(self) -> None:
        """See ``SlotDevice.close``."""


class ModelMachine:
    """A machine with that disk: it boots, answers commands, and is as healthy as its system."""

    def __init__(self, disk: ModelDisk, fates: dict[str, Fate], *, is_torn: bool = False) -> None:
        self.disk = disk
        self.fates = fates
        self.record = ModelRecord(disk, is_torn=is_torn)
        self.running = Slot.A
        self.booted: list[Slot] = []
        self.is_rebooting = False

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        del stdin, timeout_s
        match argv:
            case ("mount", "-p"):
                return f"{self.running.device}\t/\tufs\tro\t1 1\ndevfs\t/dev\tdevfs\trw\t0 0\n"
            case ("kenv",):
                return f'macula.slot="{self.running}"\n'
            case ("sysctl", "hw.machine_arch"):
                return "hw.machine_arch: amd64\n"
            case ("shutdown", "-r", "now", *_):
                self.is_rebooting = True
                return ""
        return self.disk.gpart(argv)

    def open(self, slot: Slot) -> ModelDevice:
        """See ``Devices.open``; refuses what the real machine would not refuse."""
        if slot is self.running:
            raise Bricked("the running slot was opened for writing")
        return ModelDevice(self.disk, slot)

    def look(self) -> Report:
        """See ``HealthSource.look``."""
        is_well = self.fate(self.running) is Fate.HEALTHY
        return Report((Check("mesh", is_well, "" if is_well else "no node has a peer"),))

    def fate(self, slot: Slot) -> Fate:
        """What becomes of a machine that boots that slot; half a system is nobody's."""
        digest = hashlib.sha256(self.disk.content[slot]).hexdigest()
        if digest not in self.fates:
            raise Bricked(f"slot {slot} was booted half written")
        return self.fates[digest]

    def boot(self) -> Slot:
        """Start until a system runs; what panics or hangs is reset, a number of times."""
        self.is_rebooting = False
        tried: set[Slot] = set()
        for _ in range(RESETS_MAX):
            slot = self.disk.select(tried)
            fate = self.fate(slot)
            if fate is Fate.NO_LOADER:
                self.disk.fail(slot)
                tried.add(slot)
                continue
            self.booted.append(slot)
            if fate in {Fate.HEALTHY, Fate.UNHEALTHY}:
                self.running = slot
                return slot
            tried.clear()
        raise Bricked("it resets for ever")
