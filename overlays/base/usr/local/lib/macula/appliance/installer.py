"""The installer's decisions: which disk may be overwritten, in which order; facts in, steps out.

An installation that is cut never leaves a disk that starts half a system. What could start from
the disk is erased first, and the second copy of its table last, so that a cut meanwhile can be told
from a disk of somebody else. Then comes a table whose slots have no mark; firmware finds boot code
only after both slots were read back. The boot mark of slot A is the last write: a disk with slots
and without it is an installation that did not end, and the next run begins anew. Pure; what is
looked at and written is the matter of ``appliance.installing``.

The order of partitions is that of docs/image-format.md, so that updates find what they know.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from appliance.slots import SECTOR_BYTES, Mark, Slot, set_argv, tables_with
from jails.freebsd import gpart
from maculaos.errors import UsageError

MIB: Final = 1 << 20
# Names of the partitions of the installer's own disk. They differ from those of an appliance, so
# that a machine that has one already does not take the root of the one for that of the other.
INSTALLER_LABEL: Final = "installer"
SYSTEM_LABEL: Final = "system"
ESP_INDEX: Final = 2
FAT_LABEL: Final = "seed"
# Whatever begins a disk or ends it, of any table, lies within so much.
EDGE_BYTES: Final = MIB
CFG_BYTES: Final = 32 * MIB
# As in image/image.toml: what a machine needs to begin with.
DATA_BYTES_MIN: Final = 300 * MIB
ANSWERS_BYTES_MAX: Final = 4096
SLOT_A_INDEX: Final = 3
_ALIGNMENT: Final = 4 * MIB // SECTOR_BYTES
_BOOT_START: Final = 40
_BOOT_SECTORS: Final = 1024
_ESP_START: Final = MIB // SECTOR_BYTES
# The second copy of the table, rounded up to what disks write at once.
_TAIL_SECTORS: Final = 40
_SLOT: Final = "freebsd-ufs"
# The type of what is neither slot nor boot code; gptboot takes only freebsd-ufs for slots.
_OTHER: Final = "freebsd-swap"
_NAME: Final = re.compile(r"(da|ada|vtbd|nda|nvd|mmcsd)\d{1,3}")
_DISK_NAME: Final = re.compile(r"^Geom name: (\S+)$", re.MULTILINE)
_FIELD: Final = re.compile(r"^   (Mediasize|Sectorsize|Mode|descr): (.*)$", re.MULTILINE)
# Index and label; a label with blanks is cut, and is none of ours.
_ENTRY: Final = re.compile(r"^ +\d+ +\d+ +\d+ +(\S+)", re.MULTILINE)
_SLOTS: Final = tuple(slot.label for slot in Slot)
_LABELS: Final = ("boot", "efi", *_SLOTS, "cfg", "data")
_MODE: Final = re.compile(r"r\d+w(\d+)e(\d+)")


class Refusal(UsageError):
    """Nothing was written, and this is why."""


class Contents(StrEnum):
    """What a disk holds, as far as the installer cares."""

    NOTHING = "nothing"
    SOMETHING = "something"
    UNFINISHED = "an installation that did not end"
    SYSTEM = "a whole MaculaOS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk of the machine."""

    name: str
    size_bytes: int
    sector_bytes: int = SECTOR_BYTES
    model: str = ""
    contents: Contents = Contents.NOTHING
    # Whether it has a partition table, of any kind.
    has_table: bool = False
    # Whether it has partitions by the names of slots.
    has_slots: bool = False
    # Whether anything has it open for writing, or for itself alone.
    is_in_use: bool = False

    def describe(self) -> str:
        """One line for people."""
        model = f"  {self.model}" if self.model else ""
        return f"{self.name}  {self.size_bytes / 1e9:.1f} GB{model}  holds {self.contents}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stick:
    """The disk that the installer runs from."""

    disk: str
    system_index: int
    slot_bytes: int
    esp_bytes: int
    fat_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The machine as it is."""

    stick: Stick
    disks: tuple[Disk, ...]
    # amd64 starts by BIOS too; others have no boot code but that of the EFI partition.
    has_bios_code: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """SHA-256 of what is copied, as the maker of the stick wrote them down."""

    system: str
    esp: str


class Ending(StrEnum):
    """What an installation that nobody watches does at its end."""

    POWEROFF = "poweroff"
    REBOOT = "reboot"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """``installer.toml``: what a person would have typed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, le=1, strict=True)]
    target: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    # Whether whatever lies on the disk may go; never a whole MaculaOS, which a person has to say.
    erase: Annotated[bool, Field(strict=True)] = False
    ending: Ending = Ending.POWEROFF


@dataclass(frozen=True, slots=True)
class Erase:
    """Fill a part of a disk with zeros, in bytes."""

    device: str
    offset: int
    size: int

    def describe(self) -> str:
        """One line for people."""
        return f"erase {self.size // MIB} MiB of {self.device}"


@dataclass(frozen=True, slots=True)
class Run:
    """A command, and what it is for."""

    argv: tuple[str, ...]
    reason: str
    timeout_s: float = 60.0
    # Whether it may fail because there is nothing left to do.
    is_optional: bool = False

    def describe(self) -> str:
        """One line for people."""
        return self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Copy a partition, and read it back: it must have that SHA-256, before and after."""

    source: str
    target: str
    size: int
    sha256: str

    def describe(self) -> str:
        """One line for people."""
        return f"copy {self.size // MIB} MiB to {self.target}, and read it back"


@dataclass(frozen=True, slots=True)
class PutSeed:
    """Put the seed onto the partition of settings."""

    device: str
    content: bytes = field(repr=False)

    def describe(self) -> str:
        """One line for people."""
        return f"put seed.toml onto {self.device}"


Step = Erase | Run | Copy | PutSeed


def parse_answers(content: bytes) -> Answers:
    """``installer.toml``; raises ``UsageError`` with the first thing to mend."""
    hint = "see docs/fleet.md for its keys"
    if len(content) > ANSWERS_BYTES_MAX:
        raise UsageError(f"installer.toml has more than {ANSWERS_BYTES_MAX} bytes", hint)
    try:
        # Windows' editors begin a file with a mark, and end lines with two characters.
        tree = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
        return _ANSWERS.validate_json(json.dumps(tree))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"installer.toml: {key}: {first['msg']}", hint) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"installer.toml: {error}", hint) from error


_ANSWERS: Final = TypeAdapter(Answers)


def parse_digests(content: str) -> Digests:
    """The list on the stick, in the form of sha256sum(1); raises ``UsageError``."""
    found = dict(re.findall(r"^([0-9a-f]{64})  (\w+)$", content, re.MULTILINE))
    by_name = {name: digest for digest, name in found.items()}
    try:
        return Digests(system=by_name[SYSTEM_LABEL], esp=by_name["efi"])
    except KeyError as error:
        raise UsageError(
            f"the stick's list of checksums lacks {error.args[0]}", "write the stick anew"
        ) from error


def find_stick(tables: str) -> Stick:
    """The installer's own disk, in an answer of ``gpart show -l``; raises ``UsageError``."""
    found = tables_with(tables, INSTALLER_LABEL)
    if len(found) != 1:
        names = " and ".join(table.disk for table in found) or "no disk"
        raise UsageError(f"{names} holds an installer", "plug in one, and start from it")
    parts = {part.what: part for part in found[0].partitions}
    esp = next((part for part in found[0].partitions if part.index == ESP_INDEX), None)
    if SYSTEM_LABEL not in parts or esp is None:
        raise UsageError(f"the installer on {found[0].disk} is not whole", "write the stick anew")
    return Stick(
        disk=found[0].disk,
        system_index=parts[SYSTEM_LABEL].index,
        slot_bytes=parts[SYSTEM_LABEL].size * SECTOR_BYTES,
        esp_bytes=esp.size * SECTOR_BYTES,
        fat_index=parts[FAT_LABEL].index if FAT_LABEL in parts else None,
    )


def parse_disks(geoms: str, tables: str, blank: frozenset[str]) -> tuple[Disk, ...]:
    """Disks in an answer of ``geom disk list``, joined with one of ``gpart show -l``.

    ``blank`` names disks that begin with zeros.
    """
    names = _DISK_NAME.split(geoms)[1:]
    pairs = zip(names[::2], names[1::2], strict=True)
    disks = [_disk(name, text, tables, blank) for name, text in pairs if _NAME.fullmatch(name)]
    # A card reader without a card.
    return tuple(disk for disk in disks if disk.size_bytes)


def _disk(name: str, text: str, tables: str, blank: frozenset[str]) -> Disk:
    fields = {key: value.strip() for key, value in _FIELD.findall(text)}
    mode = _MODE.fullmatch(fields.get("Mode", ""))
    table = _block(tables, name)
    model = fields.get("descr", "")
    return Disk(
        name=name,
        size_bytes=int(fields["Mediasize"].split()[0]),
        sector_bytes=int(fields["Sectorsize"]),
        model="" if model == "(null)" else _printable(model),
        contents=_contents(table, is_blank=name in blank),
        has_table=bool(table),
        has_slots=bool(set(_SLOTS) & set(_ENTRY.findall(table))),
        # What cannot be read counts as used: it costs a question, not a disk.
        is_in_use=mode is None or mode[1] != "0" or mode[2] != "0",
    )


def _block(tables: str, name: str) -> str:
    """The text of the table of one disk, as ``gpart show`` has it, or nothing."""
    blocks = (f"=>{block}" for block in tables.split("=>")[1:])
    return next((block for block in blocks if block.split()[3:4] == [name]), "")


def _contents(table: str, *, is_blank: bool) -> Contents:
    if not table:
        return Contents.NOTHING if is_blank else Contents.SOMETHING
    labels = _ENTRY.findall(table)
    if not labels:
        return Contents.NOTHING
    if not set(_SLOTS) & set(labels):
        # A table that was not finished; what another system has begins otherwise.
        is_ours = tuple(labels) == _LABELS[: len(labels)]
        return Contents.UNFINISHED if is_ours else Contents.SOMETHING
    # Other labels than ours may be anything, so only the lines of slots are read.
    lines = (line for line in table.splitlines() if "slot" in line)
    is_marked = any(str(mark) in line for line in lines for mark in Mark)
    return Contents.SYSTEM if is_marked else Contents.UNFINISHED


def bytes_wanted(stick: Stick) -> int:
    """The smallest disk that an appliance fits on."""
    return (_data_start(stick) + _TAIL_SECTORS) * SECTOR_BYTES + DATA_BYTES_MIN


def check(facts: Facts, name: str) -> Disk:
    """The disk that a person named, in full; raises ``Refusal`` if it must not be written to."""
    choices = ", ".join(disk.name for disk in facts.disks if disk.name != facts.stick.disk)
    disk = next((each for each in facts.disks if each.name == name), None)
    if disk is None:
        raise Refusal(f"there is no disk {_printable(name)!r}", f"choose from: {choices or 'none'}")
    if disk.name == facts.stick.disk:
        raise Refusal(f"the installer itself runs from {name}", f"choose from: {choices or 'none'}")
    if disk.is_in_use:
        raise Refusal(f"{name} is in use", "unmount what is on it, or choose another disk")
    if disk.sector_bytes != SECTOR_BYTES:
        raise Refusal(
            f"{name} has sectors of {disk.sector_bytes} bytes", f"choose one with {SECTOR_BYTES}"
        )
    wanted = bytes_wanted(facts.stick)
    if disk.size_bytes < wanted:
        raise Refusal(
            f"{name} has {disk.size_bytes // MIB} MiB, and {-(-wanted // MIB)} are needed",
            "choose a larger disk",
        )
    _check_others(facts, disk)
    return disk


def _check_others(facts: Facts, target: Disk) -> None:
    """Two disks with slots: the kernel would take the root of whichever it sees first."""
    for other in facts.disks:
        if other.has_slots and other.name not in {target.name, facts.stick.disk}:
            raise Refusal(f"{other.name} holds {other.contents}", "unplug it: only one may")


def check_unattended(facts: Facts, answers: Answers) -> Disk:
    """The disk that ``installer.toml`` names; stricter than with a person, who sees the list.

    A whole MaculaOS is never overwritten: a stick that is left in would install for ever.
    """
    disk = check(facts, answers.target)
    if disk.contents is Contents.SYSTEM:
        raise Refusal(f"{disk.name} holds {disk.contents} already", "remove the stick and restart")
    if disk.contents is Contents.SOMETHING and not answers.erase:
        raise Refusal(f"{disk.name} is not empty", "say erase = true in installer.toml")
    return disk


def plan(facts: Facts, target: Disk, digests: Digests, seed: bytes | None) -> tuple[Step, ...]:
    """All steps onto a disk that was checked, in order; a cut after any of them is harmless."""
    stick, disk = facts.stick, target.name
    system = f"/dev/{stick.disk}p{stick.system_index}"
    slots = (f"/dev/{disk}p{SLOT_A_INDEX}", f"/dev/{disk}p{SLOT_A_INDEX + 1}")
    return (
        # Boot code and EFI partition of whatever was there, then the second copy of its table.
        Erase(f"/dev/{disk}", 0, _first_slot(stick) * SECTOR_BYTES),
        Erase(f"/dev/{disk}", target.size_bytes - EDGE_BYTES, EDGE_BYTES),
        *_table(stick, target),
        *(
            Copy(source=system, target=slot, size=stick.slot_bytes, sha256=digests.system)
            for slot in slots
        ),
        Run(_newfs(f"/dev/{disk}p5"), "make an empty partition for settings"),
        Run(_newfs(f"/dev/{disk}p6"), "make an empty partition for data", 1800.0),
        *((PutSeed(f"/dev/{disk}p5", seed),) if seed is not None else ()),
        *_boot_code(facts, disk, digests),
        Run(set_argv(disk, SLOT_A_INDEX, Mark.BOOTME), "let slot A boot"),
    )


def _table(stick: Stick, target: Disk) -> tuple[Step, ...]:
    disk = target.name
    # The kernel may hold on to a table that is on the disk no more.
    argv = ("gpart", "destroy", "-F", disk)
    destroy = Run(argv, "remove the old partition table", is_optional=True)
    create = Run(("gpart", "create", "-s", "gpt", disk), "make a partition table")
    parts = zip(_LABELS, _partitions(stick, target), strict=True)
    adds = (
        Run(_add(disk, index, label, *part), f"make partition {label}")
        for index, (label, part) in enumerate(parts, 1)
    )
    return (*((destroy,) if target.has_table else ()), create, *adds)


def _partitions(stick: Stick, target: Disk) -> tuple[tuple[str, int, int], ...]:
    """Type, first sector, number of sectors; data takes what is left."""
    slot, first = stick.slot_bytes // SECTOR_BYTES, _first_slot(stick)
    second = _aligned(first + slot)
    cfg, data = _aligned(second + slot), _data_start(stick)
    rest = target.size_bytes // SECTOR_BYTES - _TAIL_SECTORS - data
    return (
        ("freebsd-boot", _BOOT_START, _BOOT_SECTORS),
        ("efi", _ESP_START, stick.esp_bytes // SECTOR_BYTES),
        (_SLOT, first, slot),
        (_SLOT, second, slot),
        (_OTHER, cfg, CFG_BYTES // SECTOR_BYTES),
        # Whole blocks of 4 KiB.
        (_OTHER, data, rest // 8 * 8),
    )


def _first_slot(stick: Stick) -> int:
    return _aligned(_ESP_START + stick.esp_bytes // SECTOR_BYTES)


def _data_start(stick: Stick) -> int:
    slot = stick.slot_bytes // SECTOR_BYTES
    cfg = _aligned(_aligned(_first_slot(stick) + slot) + slot)
    return _aligned(cfg + CFG_BYTES // SECTOR_BYTES)


def _aligned(sector: int) -> int:
    return -(-sector // _ALIGNMENT) * _ALIGNMENT


# One parameter for each property that a partition has.
def _add(disk: str, index: int, label: str, kind: str, start: int, size: int) -> tuple[str, ...]:
    place = ("-b", str(start), "-s", str(size), "-i", str(index))
    return ("gpart", "add", "-t", kind, "-l", label, *place, disk)


def _newfs(device: str) -> tuple[str, ...]:
    # UFS2 without soft updates and without snapshots, as the image's own.
    return ("newfs", "-O", "2", "-n", device)


def _boot_code(facts: Facts, disk: str, digests: Digests) -> tuple[Step, ...]:
    esp = Copy(
        source=f"/dev/{facts.stick.disk}p{ESP_INDEX}",
        target=f"/dev/{disk}p{ESP_INDEX}",
        size=facts.stick.esp_bytes,
        sha256=digests.esp,
    )
    if not facts.has_bios_code:
        return (esp,)
    program = ("gpart", "bootcode", "-p", "/boot/gptboot", "-i", "1", disk)
    return (
        Run(program, "write the boot program"),
        esp,
        Run(("gpart", "bootcode", "-b", "/boot/pmbr", disk), "let BIOS start it"),
    )


def _printable(text: str) -> str:
    """Text of a disk or a keyboard, fit for a console."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]


TABLES: Final = gpart.labels_argv()
GEOMS: Final = ("geom", "disk", "list")
