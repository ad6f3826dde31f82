"""Whether KVM truly works here: a guest of 512 bytes has to say so.

A device that opens proves little. On nested hosts QEMU may fail to set a register, or the guest may
hang at its first instruction of one kind. So a guest is started that goes the way of a real one,
through the BIOS and 16 bits to 64 bits with paging, and ends QEMU with a status that nothing else
gives. Whatever else happens within seconds means: no KVM, and the translator is used.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.vm.machine import PROGRAM, Accelerator
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from maculaos.host.commands import CommandRunner

# The translator takes half a second. A nested KVM was seen that took seven: each touch of a device
# is so slow there that a whole system would never come up.
ANSWER_WITHIN_S: Final = 3.0
DEVICE: Final = Path("/dev/kvm")
# The device isa-debug-exit ends QEMU with twice the written byte plus one.
_WRITTEN: Final = 0x3D
ANSWER: Final = 2 * _WRITTEN + 1
_NOT_FOUND: Final = 127
_SECTOR_BYTES: Final = 512
# The BIOS reads no disk that is smaller than one of its cylinders.
_DISK_BYTES: Final = 1 << 20

# Intel SDM volume 3, 10.8.5, "Initializing IA-32e Mode"; loaded by the BIOS at 0x7c00.
_CODE: Final = (
    b"\xfa"  # cli
    b"\x31\xc0"  # xor ax, ax
    b"\x8e\xd8"  # mov ds, ax
    b"\x8e\xc0"  # mov es, ax
    b"\xfc"  # cld
    b"\xbf\x00\x10"  # mov di, 0x1000     three pages of tables, cleared
    b"\xb9\x00\x18"  # mov cx, 0x1800
    b"\xf3\xab"  # rep stosw
    b"\xc7\x06\x00\x10\x03\x20"  # mov word [0x1000], 0x2003    level 4 to 3
    b"\xc7\x06\x00\x20\x03\x30"  # mov word [0x2000], 0x3003    level 3 to 2
    b"\xc7\x06\x00\x30\x83\x00"  # mov word [0x3000], 0x0083    2 MiB, mapped to themselves
    b"\x0f\x20\xe0"  # mov eax, cr4
    b"\x66\x83\xc8\x20"  # or eax, 0x20       physical address extension
    b"\x0f\x22\xe0"  # mov cr4, eax
    b"\x66\xb8\x00\x10\x00\x00"  # mov eax, 0x1000
    b"\x0f\x22\xd8"  # mov cr3, eax
    b"\x66\xb9\x80\x00\x00\xc0"  # mov ecx, 0xc0000080
    b"\x0f\x32"  # rdmsr
    b"\x66\x0d\x00\x01\x00\x00"  # or eax, 0x100      long mode
    b"\x0f\x30"  # wrmsr
    b"\x0f\x20\xc0"  # mov eax, cr0
    b"\x66\x0d\x01\x00\x00\x80"  # or eax, 0x80000001 protection and paging
    b"\x0f\x22\xc0"  # mov cr0, eax
    b"\x0f\x01\x16\x72\x7c"  # lgdt [0x7c72]
    b"\xea\x5b\x7c\x08\x00"  # jmp 8:0x7c5b       64 bits from here
    b"\xb0\x3d"  # mov al, 0x3d
    b"\xe6\xf4"  # out 0xf4, al       ends QEMU
    b"\xf4"  # hlt
    b"\xeb\xfd"  # jmp back to hlt
)
# At 0x7c62: no segment, then one of 64-bit code; at 0x7c72: how large the table is, and where.
_TABLE: Final = bytes(8) + (0x00209A0000000000).to_bytes(8, "little")
_POINTER: Final = (len(_TABLE) - 1).to_bytes(2, "little") + (0x7C62).to_bytes(4, "little")
PROBE_SECTOR: Final = (_CODE + _TABLE + _POINTER).ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which accelerator to use, and why, for people."""

    accelerator: Accelerator
    reason: str


def choose_accelerator(runner: CommandRunner, device: Path = DEVICE) -> Choice:
    """KVM if a guest answered on it, else TCG. Raises ``UsageError`` when QEMU is not installed."""
    if not os.access(device, os.R_OK | os.W_OK):
        why = "may not be used by you" if device.exists() else "is not there"
        return Choice(Accelerator.TCG, f"{device} {why}")
    failure = probe(runner, Accelerator.KVM, ANSWER_WITHIN_S)
    if failure:
        return Choice(Accelerator.TCG, f"KVM does not work here: {failure}")
    return Choice(Accelerator.KVM, "a guest answered on KVM")


def probe(runner: CommandRunner, accelerator: Accelerator, timeout_s: float) -> str:
    """Start the guest; why it did not answer in time, or nothing if it did."""
    with tempfile.TemporaryDirectory(prefix="maculaos-probe-") as folder:
        disk = Path(folder, "disk")
        disk.write_bytes(PROBE_SECTOR.ljust(_DISK_BYTES, b"\0"))
        try:
            runner.run(*probe_argv(accelerator, disk), timeout_s=timeout_s)
        except CommandFailed as error:
            return _failure(error, timeout_s)
    return "the guest ended without an answer"


def probe_argv(accelerator: Accelerator, disk: Path) -> tuple[str, ...]:
    """The command that starts the guest."""
    return (
        *(PROGRAM, "-machine", f"q35,accel={accelerator}", "-m", "64M"),
        *("-cpu", "host" if accelerator is Accelerator.KVM else "max"),
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x01"),
        *("-drive", f"if=virtio,format=raw,readonly=on,file={disk}"),
    )


def _failure(error: CommandFailed, timeout_s: float) -> str:
    if error.exit_status == ANSWER:
        return ""
    if error.exit_status == _NOT_FOUND:
        hint = "install Debian's qemu-system-x86 and qemu-utils"
        raise UsageError(f"{PROGRAM} is not installed", hint) from error
    if error.exit_status is None:
        return f"the guest did not answer within {timeout_s:g} s"
    said = error.stderr.strip().splitlines() or [f"QEMU ended with status {error.exit_status}"]
    return said[0][:200]
