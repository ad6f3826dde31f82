"""A guest of one sector: it talks on COM1, counts its starts on its disk, and fails on command.

16-bit code by hand, so that the driver of virtual machines is tried without any download. Typed
lines are echoed; a line that begins with ``p`` panics, ``s`` shows a shell's prompt, ``r`` reboots,
``h`` halts in silence. It is what a FreeBSD machine looks like to the watcher, and nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ORIGIN: Final = 0x7C00
_SECTOR_BYTES: Final = 512
DISK_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class _At:
    """A place that others name."""

    name: str


@dataclass(frozen=True)
class _To:
    """An operand: the place ``name``, relative with 1 or 2 bytes, or absolute."""

    name: str
    size: int
    is_relative: bool = True


def _near(name: str) -> _To:
    return _To(name, 1)


def _call(name: str) -> tuple[bytes, _To]:
    return b"\xe8", _To(name, 2)


def _address(name: str) -> _To:
    return _To(name, 2, is_relative=False)


_Part = bytes | _At | _To

_PROGRAM: Final[tuple[_Part, ...]] = (
    b"\x31\xc0",  # xor ax, ax
    b"\x8e\xd8",  # mov ds, ax
    b"\x8e\xc0",  # mov es, ax
    b"\x8e\xd0",  # mov ss, ax
    b"\xbc\x00\x7c",  # mov sp, 0x7c00
    b"\xfc",  # cld
    *(b"\x88\x16", _address("drive")),  # mov [drive], dl
    b"\xb8\x01\x02",  # mov ax, 0x0201          read one sector
    *_call("disk"),
    b"\xfe\x06\x00\x7e",  # inc byte [0x7e00]
    b"\xb8\x01\x03",  # mov ax, 0x0301          write it back
    *_call("disk"),
    *(b"\xbe", _address("greeting")),  # mov si, greeting
    *_call("print"),
    b"\xa0\x00\x7e",  # mov al, [0x7e00]
    b"\x04\x30",  # add al, '0'
    *_call("put"),
    _At("prompt"),
    *(b"\xbe", _address("login")),  # mov si, login
    *_call("print"),
    b"\xbf\x00\x80",  # mov di, 0x8000
    _At("read"),
    *_call("get"),
    *_call("put"),
    b"\x3c\x0d",  # cmp al, 13
    *(b"\x74", _near("obey")),  # je obey
    b"\xaa",  # stosb
    *(b"\xeb", _near("read")),  # jmp read
    _At("obey"),
    b"\xc6\x05\x00",  # mov byte [di], 0
    b"\xa0\x00\x80",  # mov al, [0x8000]
    *(b"\x3cp\x74", _near("panic")),  # cmp al, 'p'; je panic
    *(b"\x3cs\x74", _near("shell")),  # cmp al, 's'; je shell
    *(b"\x3cr\x74", _near("reboot")),  # cmp al, 'r'; je reboot
    *(b"\x3ch\x74", _near("halt")),  # cmp al, 'h'; je halt
    *(b"\xbe", _address("said")),  # mov si, said
    *_call("print"),
    b"\xbe\x00\x80",  # mov si, 0x8000
    *_call("print"),
    *(b"\xeb", _near("prompt")),  # jmp prompt
    _At("panic"),
    *(b"\xbe", _address("panicked")),  # mov si, panicked
    *_call("print"),
    *(b"\xeb", _near("halt")),  # jmp halt
    _At("shell"),
    *(b"\xbe", _address("hash")),  # mov si, hash
    *_call("print"),
    _At("halt"),
    b"\xfa\xf4\xeb\xfd",  # cli; hlt; jmp back to hlt
    _At("reboot"),
    b"\xb0\xfe\xe6\x64",  # mov al, 0xfe; out 0x64, al     keyboard controller: reset
    *(b"\xeb", _near("halt")),  # jmp halt
    # print: the text at si, up to a zero
    _At("print"),
    b"\xac",  # lodsb
    b"\x84\xc0",  # test al, al
    *(b"\x74", _near("printed")),  # je printed
    *_call("put"),
    *(b"\xeb", _near("print")),  # jmp print
    _At("printed"),
    b"\xc3",  # ret
    # put: the character al, when the line is free
    _At("put"),
    b"\x50",  # push ax
    b"\xba\xfd\x03",  # mov dx, 0x3fd
    _At("busy"),
    b"\xec\xa8\x20",  # in al, dx; test al, 0x20
    *(b"\x74", _near("busy")),  # je busy
    b"\x58",  # pop ax
    b"\xba\xf8\x03\xee\xc3",  # mov dx, 0x3f8; out dx, al; ret
    # get: the next character, to al
    _At("get"),
    b"\xba\xfd\x03",  # mov dx, 0x3fd
    _At("empty"),
    b"\xec\xa8\x01",  # in al, dx; test al, 1
    *(b"\x74", _near("empty")),  # je empty
    b"\xba\xf8\x03\xec\xc3",  # mov dx, 0x3f8; in al, dx; ret
    # disk: function and count in ax, the second sector at 0x7e00
    _At("disk"),
    b"\xbb\x00\x7e",  # mov bx, 0x7e00
    b"\xb9\x02\x00",  # mov cx, 2
    b"\xb6\x00",  # mov dh, 0
    *(b"\x8a\x16", _address("drive")),  # mov dl, [drive]
    b"\xcd\x13\xc3",  # int 0x13; ret
    _At("drive"),
    b"\x00",
    *(_At("greeting"), b"\r\ntiny guest, start \0"),
    *(_At("login"), b"\r\nlogin: \0"),
    *(_At("said"), b"\r\nsaid: \0"),
    *(_At("panicked"), b"\r\npanic: test\r\n\0"),
    *(_At("hash"), b"\r\n# \0"),
)


def boot_sector() -> bytes:
    """The guest, 512 bytes."""
    places = _places()
    code = bytearray()
    for part in _PROGRAM:
        if isinstance(part, bytes):
            code += part
        elif isinstance(part, _To):
            end = _ORIGIN + len(code) + part.size
            value = places[part.name] - (end if part.is_relative else 0)
            code += value.to_bytes(part.size, "little", signed=part.is_relative)
    return bytes(code).ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def write_image(path: Path) -> Path:
    """A disk with the guest on it."""
    path.write_bytes(boot_sector().ljust(DISK_BYTES, b"\0"))
    return path


def _places() -> dict[str, int]:
    places: dict[str, int] = {}
    here = _ORIGIN
    for part in _PROGRAM:
        if isinstance(part, _At):
            places[part.name] = here
        else:
            here += len(part) if isinstance(part, bytes) else part.size
    return places
