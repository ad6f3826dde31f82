"""A model of a machine with a stick in it: disks, the commands that change them, and a plug.

A cut leaves what a disk would have: half of what was written, or one copy of a table changed and
the other not. ``firmware`` says what BIOS or UEFI would start then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from appliance.device import SlotDevice
from appliance.model import PowerCut
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
SECTOR = 512
SLOT_BYTES = 8 * SECTOR
NEW = (b"new" + bytes(range(256)) * 16)[:SLOT_BYTES]
OLD = NEW[::-1]
ESP = (b"gptboot.efi" * 200)[: 4 * SECTOR]
GPTBOOT = b"gptboot" * 100
TARGET_BYTES = 400 * MIB


@dataclass(slots=True)
class Part:
    """A row of a partition table; start and size in sectors."""

    label: str
    kind: str
    start: int
    size: int
    marks: frozenset[str] = frozenset()


Table = dict[int, Part]


@dataclass
class ModelDisk:
    """Sectors, kept where they are not zero, and a table in two copies at both ends."""

    size: int
    pages: dict[int, bytes] = field(default_factory=dict)
    primary: Table | None = None
    backup: Table | None = None
    # A table of another kind, which lies in the first sectors only.
    foreign: bool = False
    pmbr: bool = False
    files: dict[int, dict[str, bytes]] = field(default_factory=dict)
    mode: str = "r0w0e0"

    @property
    def table(self) -> Table | None:
        return self.backup if self.primary is None else self.primary

    def read(self, offset: int, size: int) -> bytes:
        content = bytearray(size)
        for sector, page in self.pages.items():
            at = sector * SECTOR - offset
            if 0 <= at < size:
                content[at : at + SECTOR] = page[: size - at]
        return bytes(content)

    def write(self, offset: int, content: bytes) -> None:
        if offset == 0:
            self.primary, self.foreign, self.pmbr = None, False, False
        if offset + len(content) == self.size:
            self.backup = None
        first, last = offset // SECTOR, (offset + len(content)) // SECTOR
        for sector in [each for each in self.pages if first <= each < last]:
            del self.pages[sector]
        if content != bytes(len(content)):
            for at in range(0, len(content), SECTOR):
                self.pages[first + at // SECTOR] = content[at : at + SECTOR].ljust(SECTOR, b"\0")

    def content(self, index: int, size: int) -> bytes:
        assert self.table is not None
        return self.read(self.table[index].start * SECTOR, size)

    def firmware(self) -> set[bytes]:
        """Every system that BIOS or UEFI would start; empty if neither finds boot code."""
        table = self.table
        if not table:
            return set()
        by_bios = self.pmbr and 1 in table and self.content(1, len(GPTBOOT)) == GPTBOOT
        by_uefi = 2 in table and self.content(2, len(ESP)) == ESP
        slots = [index for index, part in sorted(table.items()) if part.kind == "freebsd-ufs"]
        marked = [index for index in slots if "bootme" in table[index].marks]
        if not (by_bios or by_uefi) or not slots:
            return set()
        return {self.content((marked or slots)[0], SLOT_BYTES)}

    def shown(self, name: str) -> str:
        if self.foreign:
            return f"=>   63  {self.size // 512}  {name}  MBR  (1G)\n   63  9  1  My label  (4K)\n"
        if self.table is None:
            return ""
        corrupt = "" if self.primary == self.backup else " [CORRUPT]"
        lines = [f"=>  34  {self.size // SECTOR - 67}  {name}  GPT  (1G){corrupt}"]
        for index, part in sorted(self.table.items()):
            marks = f"[{','.join(part.marks)}]  " if part.marks else ""
            lines.append(f"  {part.start}  {part.size}  {index}  {part.label}  {marks}(1M)")
        return "\n".join(lines) + "\n"


@dataclass
class Machine:
    """Disks, gpart(8), geom(8), newfs(8), mounts and a plug; ``cut_after`` counts writes."""

    disks: dict[str, ModelDisk]
    cut_after: int | None = None
    writes: int = 0
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def put(self, done: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> None:
        if self.cut_after is not None and self.writes >= self.cut_after:
            half()
            raise PowerCut
        self.writes += 1
        done()

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        del stdin, timeout_s
        match argv:
            case ("gpart", "show", "-l"):
                return "\n".join(disk.shown(name) for name, disk in self.disks.items())
            case ("geom", "disk", "list"):
                return "".join(_geom(name, disk) for name, disk in self.disks.items())
            case ("newfs", "-O", "2", "-n", device):
                disk, index = self._disk(device[5:])
                self.put(lambda: disk.files.__setitem__(index, {}))
            case ("shutdown", *_):
                self.ran.append(argv)
            case ("gpart", verb, *words, name):
                assert name != "da0", "the stick itself"
                self._gpart(verb, dict(zip(words[::2], words[1::2], strict=False)), name, argv)
            case _:
                raise CommandFailed(argv, 64, "the model does not know this command")
        return ""

    def _gpart(self, verb: str, words: dict[str, str], name: str, argv: tuple[str, ...]) -> None:
        disk = self.disks[name]
        if verb == "destroy":
            if disk.table is None and not disk.foreign:
                raise CommandFailed(argv, 1, "gpart: Invalid argument")
            self._change(disk, None)
            return
        if verb == "create":
            assert disk.table is None
            assert not disk.foreign
            self._change(disk, {})
            return
        assert disk.table is not None
        assert disk.primary == disk.backup, "gpart refuses to change a corrupt table"
        match verb, words:
            case "add", {"-t": kind, "-l": label, "-b": start, "-s": size, "-i": index}:
                part = Part(label, kind, int(start), int(size))
                last = max((each.start + each.size for each in disk.table.values()), default=34)
                assert last <= part.start
                assert part.start + part.size <= disk.size // SECTOR - 33
                self._change(disk, {**disk.table, int(index): part})
            case "set", {"-a": mark, "-i": index}:
                part = replace(disk.table[int(index)], marks=frozenset({mark}))
                self._change(disk, {**disk.table, int(index): part})
            case "bootcode", {"-p": "/boot/gptboot", "-i": "1"}:
                at = disk.table[1].start * SECTOR
                self.put(lambda: disk.write(at, GPTBOOT), lambda: disk.write(at, GPTBOOT[:512]))
            case "bootcode", {"-b": "/boot/pmbr"}:
                self.put(lambda: setattr(disk, "pmbr", True))
            case _:
                raise CommandFailed(argv, 64, "the model does not know this command")

    def _change(self, disk: ModelDisk, table: Table | None) -> None:
        """Both copies, one after the other; a new table begins with an empty boot sector."""

        def first() -> None:
            disk.foreign = False
            disk.pmbr = disk.pmbr and bool(table)
            disk.primary = table

        self.put(first)
        self.put(lambda: setattr(disk, "backup", table))

    def _disk(self, device: str) -> tuple[ModelDisk, int]:
        name, _, index = device.partition("p")
        return self.disks[name], int(index or 0)

    def open(self, path: str, *, is_writable: bool) -> SlotDevice:
        name = path.removeprefix("/dev/")
        assert not (is_writable and name.startswith("da0")), "the stick itself"
        disk, index = self._disk(name)
        if index:
            assert disk.table is not None
            part = disk.table[index]
            return ModelDevice(self, disk, part.start * SECTOR, part.size * SECTOR)
        return ModelDevice(self, disk, 0, disk.size)

    def read(self, device: str, name: str, limit: int) -> bytes | None:
        disk, index = self._disk(device[5:])
        content = disk.files[index].get(name)
        return None if content is None else content[: limit + 1]

    # The seam names its verbs ``read`` and ``put``; this class has a ``put`` of its own.
    def folders(self) -> ModelFolders:
        return ModelFolders(self)


@dataclass
class ModelFolders:
    """See ``Folders``."""

    machine: Machine

    def read(self, device: str, name: str, limit: int) -> bytes | None:
        return self.machine.read(device, name, limit)

    def put(self, device: str, name: str, content: bytes) -> None:
        disk, index = self.machine._disk(device[5:])
        self.machine.put(lambda: disk.files[index].__setitem__(name, content))


@dataclass
class ModelDevice(SlotDevice):
    """The bytes of a disk or a partition; a cut leaves half of what was written."""

    machine: Machine
    disk: ModelDisk
    start: int
    size: int

    def read_at(self, offset: int, size: int) -> bytes:
        return self.disk.read(self.start + offset, size)

    def write_at(self, offset: int, content: bytes) -> None:
        assert offset + len(content) <= self.size
        at, half = self.start + offset, content[: len(content) // 2]
        self.machine.put(lambda: self.disk.write(at, content), lambda: self.disk.write(at, half))

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def _geom(name: str, disk: ModelDisk) -> str:
    return (
        f"Geom name: {name}\nProviders:\n1. Name: {name}\n   Mediasize: {disk.size} (1G)\n"
        f"   Sectorsize: 512\n   Mode: {disk.mode}\n   descr: QEMU HARDDISK\n   ident: (null)\n\n"
    )


def stick(**files: bytes) -> ModelDisk:
    """The installer's own disk; ``files`` lie on its FAT partition."""
    table = {
        1: Part("boot", "freebsd-boot", 40, 1024),
        2: Part("efi", "efi", 2048, len(ESP) // SECTOR),
        3: Part("installer", "freebsd-ufs", 8192, 4096, frozenset({"bootme"})),
        4: Part("system", "freebsd-ufs", 16384, SLOT_BYTES // SECTOR),
        5: Part("seed", "ms-basic-data", 24576, 2048),
    }
    disk = ModelDisk(64 * MIB, primary=table, backup=table, mode="r1w0e1")
    disk.write(2048 * SECTOR, ESP)
    disk.write(16384 * SECTOR, NEW)
    disk.files[5] = {name.replace("_", "."): content for name, content in files.items()}
    return disk


def foreign() -> ModelDisk:
    disk = ModelDisk(TARGET_BYTES, foreign=True)
    disk.write(3 * MIB, b"\x01" * SECTOR)
    disk.pages[0] = b"\x02" * SECTOR
    return disk


def blank() -> ModelDisk:
    return ModelDisk(TARGET_BYTES)
