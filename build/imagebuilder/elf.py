"""What a program or library says of itself, read from its ELF headers.

After the System V ABI, chapters 4 and 5: machine, brand, interpreter, needed libraries and search
paths, for 32 and 64 bits of either byte order. Pure; sections, symbols and relocations are not
looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

MAGIC: Final = b"\x7fELF"
SYSTEM_V_ABI: Final = 0
FREEBSD_ABI: Final = 9
# The machines of the appliance by their numbers, under the names that FreeBSD gives them.
MACHINES: Final = {62: "amd64", 183: "aarch64"}
SEGMENTS_MAX: Final = 256
DYNAMIC_ENTRIES_MAX: Final = 65_536
NAME_BYTES_MAX: Final = 4096
_SHARED_OBJECT: Final = 3
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_END, _NEEDED, _STRINGS, _SONAME, _RPATH, _RUNPATH = 0, 1, 5, 14, 15, 29
# FreeBSD's libc has a name that Linux's has not: it tells the system of an unbranded object.
_FREEBSD_LIBC: Final = "libc.so.7"


class BrokenElf(ValueError):
    """The bytes begin like ELF and are not."""


class NotElf(UsageError):
    """The bytes are no shared object for a machine of the appliance."""


@dataclass(frozen=True, slots=True)
class Elf:
    """What one program or library says; paths are as written, with ``$ORIGIN`` in them."""

    # Bits, byte order and machine: a library serves only what equals it in these.
    target: tuple[int, str, int]
    is_dynamic: bool
    # The brand of a system (EI_OSABI), and what the file is (e_type).
    abi: int = SYSTEM_V_ABI
    kind: int = _SHARED_OBJECT
    interpreter: str = ""
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()

    @property
    def machine(self) -> str:
        """FreeBSD's name of the machine; empty for one that no appliance is."""
        bits, order, number = self.target
        return MACHINES.get(number, "") if (bits, order) == (64, "<") else ""

    @property
    def is_for_freebsd(self) -> bool:
        """Whether FreeBSD's loader takes it: branded so, or unbranded and bound to its libc."""
        return self.abi == FREEBSD_ABI or (
            self.abi == SYSTEM_V_ABI and _FREEBSD_LIBC in self.needed
        )

    def __str__(self) -> str:
        """Machine, brand and needs, for people."""
        machine = self.machine or f"machine {self.target[2]}"
        return f"{machine}, ABI {self.abi}, needs {', '.join(self.needed) or 'no library'}"


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def parse_elf(data: bytes | mmap) -> Elf:
    """Read a whole file; raises ``BrokenElf``. Objects that are linked later need nothing."""
    try:
        return _parse(data)
    # Places beyond every file come as OverflowError.
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise BrokenElf(f"damaged: {error}") from None


def parse_shared_object(content: bytes, where: str) -> Elf:
    """Read a shared object for a machine of the appliance; raises ``NotElf`` with ``where``."""
    try:
        elf = parse_elf(content)
    except BrokenElf as error:
        raise NotElf(f"{where}: cut short or broken: {error}") from error
    if elf.kind != _SHARED_OBJECT or not elf.machine:
        raise NotElf(f"{where}: no shared object for {' or '.join(MACHINES.values())}")
    return elf


def _parse(data: bytes | mmap) -> Elf:
    if data[:4] != MAGIC or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise BrokenElf("neither 32 nor 64 bits, or no byte order")
    bits, order, abi = 32 * data[4], "<>"[data[5] - 1], data[7]
    kind, machine = struct.unpack_from(f"{order}HH", data, 16)
    segments = list(_segments(data, bits, order))
    interpreter = ""
    for segment in segments:
        if segment.kind == _INTERPRETER:
            interpreter = _text(data, segment.offset)
    dynamic = next((segment for segment in segments if segment.kind == _DYNAMIC), None)
    target = (bits, order, machine)
    if dynamic is None:
        return Elf(target, is_dynamic=False, abi=abi, kind=kind, interpreter=interpreter)
    entries = list(_dynamic(data, dynamic, bits, order))
    addresses = [value for tag, value in entries if tag == _STRINGS]
    if not addresses:
        raise BrokenElf("a dynamic section without strings")
    strings = _offset_of(addresses[0], segments)

    def texts(wanted: int) -> tuple[str, ...]:
        return tuple(_text(data, strings + value) for tag, value in entries if tag == wanted)

    return Elf(
        target,
        is_dynamic=True,
        abi=abi,
        kind=kind,
        interpreter=interpreter,
        soname="".join(texts(_SONAME)[:1]),
        needed=texts(_NEEDED),
        rpath=_search_path(texts(_RPATH)),
        runpath=_search_path(texts(_RUNPATH)),
    )


def _segments(data: bytes | mmap, bits: int, order: str) -> Iterator[_Segment]:
    if bits == 64:
        table = struct.unpack_from(f"{order}Q", data, 32)[0]
        step, count = struct.unpack_from(f"{order}HH", data, 54)
    else:
        table = struct.unpack_from(f"{order}I", data, 28)[0]
        step, count = struct.unpack_from(f"{order}HH", data, 42)
    if count > SEGMENTS_MAX:
        raise BrokenElf(f"more than {SEGMENTS_MAX} segments")
    for index in range(count):
        place = table + index * step
        if bits == 64:
            kind, _, offset, address, _, size = struct.unpack_from(f"{order}IIQQQQ", data, place)
        else:
            kind, offset, address, _, size = struct.unpack_from(f"{order}IIIII", data, place)
        yield _Segment(kind, offset, address, size)


def _dynamic(
    data: bytes | mmap, segment: _Segment, bits: int, order: str
) -> Iterator[tuple[int, int]]:
    entry = struct.Struct(f"{order}qQ" if bits == 64 else f"{order}iI")
    for index in range(min(segment.size // entry.size, DYNAMIC_ENTRIES_MAX)):
        tag, value = entry.unpack_from(data, segment.offset + index * entry.size)
        if tag == _END:
            return
        yield tag, value


def _offset_of(address: int, segments: list[_Segment]) -> int:
    for segment in segments:
        inside = segment.address <= address < segment.address + segment.size
        if segment.kind == _LOAD and inside:
            return address - segment.address + segment.offset
    raise BrokenElf("the strings lie in no segment of the file")


def _text(data: bytes | mmap, offset: int) -> str:
    raw = data[offset : offset + NAME_BYTES_MAX]
    end = raw.find(b"\0")
    if end < 0:
        raise BrokenElf("a text without end")
    return raw[:end].decode("utf-8")


def _search_path(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for text in texts for part in text.split(":") if part)
