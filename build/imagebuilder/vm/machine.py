"""A virtual machine as a value, and the words that QEMU wants for it. Pure.

QEMU is the client of every socket here: whoever starts it listens first, so no byte of the console
is lost and nothing has to be waited for. A disk is always an overlay or a copy; that it is one is
the matter of ``imagebuilder.vm.folder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from maculaos.errors import UsageError

PROGRAM: Final = "qemu-system-x86_64"
SSH_PORT: Final = 22
# Where the first node of an appliance listens, by custom.
QUIC_PORT: Final = 4433
LOOPBACK: Final = "127.0.0.1"

# sun_path of the strictest system that runs QEMU, less the byte that ends it.
_SOCKET_PATH_BYTES: Final = 103
_MEMORY_MIB: Final = range(16, 256 * 1024 + 1)
_CPUS: Final = range(1, 65)
_PORTS: Final = range(1, 65536)


class Accelerator(StrEnum):
    """What carries out the guest's instructions."""

    KVM = "kvm"
    # QEMU's own translator: works everywhere, about ten times slower.
    TCG = "tcg"

    @property
    def patience(self) -> float:
        """By how much deadlines are multiplied."""
        return 1.0 if self is Accelerator.KVM else 10.0


class Firmware(StrEnum):
    """What the machine starts with."""

    BIOS = "bios"
    UEFI = "uefi"


class Protocol(StrEnum):
    """Of a forwarded port."""

    TCP = "tcp"
    UDP = "udp"


class DiskFormat(StrEnum):
    """By QEMU's names."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"


@dataclass(frozen=True, slots=True)
class Disk:
    """A virtio disk."""

    path: Path
    form: DiskFormat = DiskFormat.QCOW2
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of this host's loopback address that leads to one of the guest."""

    protocol: Protocol
    host_port: int
    guest_port: int

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for what is no port."""
        for port in (self.host_port, self.guest_port):
            if port not in _PORTS:
                raise UsageError(f"there is no port {port}", "choose one from 1 to 65535")


@dataclass(frozen=True, slots=True)
class Ovmf:
    """UEFI firmware: its code, shared, and its variables, a copy for each machine."""

    code: Path
    variables: Path


@dataclass(frozen=True, slots=True)
class SerialSocket:
    """The console goes to a Unix socket on which somebody listens."""

    path: Path


@dataclass(frozen=True, slots=True)
class SerialTerminal:
    """The console is the terminal; all of it is also written to ``log``. Ctrl-A X ends QEMU."""

    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """One machine: an x86 with the q35 chipset."""

    name: str
    accelerator: Accelerator
    # The first one boots.
    disks: tuple[Disk, ...]
    serial: SerialSocket | SerialTerminal
    # Without it: the BIOS that QEMU brings.
    ovmf: Ovmf | None = None
    memory_mib: int = 1024
    cpus: int = 2
    forwards: tuple[Forward, ...] = ()
    # Where somebody listens for QEMU's own protocol; None: nobody does.
    qmp: Path | None = None

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for a machine that QEMU would refuse."""
        if not self.disks:
            raise UsageError("a machine without a disk boots nothing", "give it an image")
        if self.memory_mib not in _MEMORY_MIB:
            raise UsageError(f"no machine has {self.memory_mib} MiB", "choose 512 or more")
        if self.cpus not in _CPUS:
            raise UsageError(f"no machine has {self.cpus} processors", "choose 1 to 64")
        for path in filter(None, (self.qmp, getattr(self.serial, "path", None))):
            if len(bytes(path)) > _SOCKET_PATH_BYTES:
                raise UsageError(f"{path} is too long for a socket", "choose a folder nearer to /")

    @property
    def firmware(self) -> Firmware:
        """What it starts with."""
        return Firmware.BIOS if self.ovmf is None else Firmware.UEFI


def qemu_argv(spec: MachineSpec) -> tuple[str, ...]:
    """The command that runs the machine; a power off ends it, a reboot does not."""
    return (
        *(PROGRAM, "-name", _escaped(spec.name)),
        *("-machine", f"q35,accel={spec.accelerator}"),
        *("-cpu", "host" if spec.accelerator is Accelerator.KVM else "max"),
        *("-smp", str(spec.cpus), "-m", f"{spec.memory_mib}M"),
        # No file of this host's settings, no devices that nobody asked for, no window. A graphics
        # card stays: without one, BIOS and loader would both write to the serial line.
        *("-no-user-config", "-nodefaults", "-display", "none", "-vga", "std"),
        *("-rtc", "base=utc"),
        *_firmware_words(spec.ovmf),
        *_disk_words(spec.disks),
        *_network_words(spec.forwards),
        # A guest without entropy would wait for it at its first key.
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=entropy"),
        *_serial_words(spec.serial),
        *_qmp_words(spec.qmp),
    )


def _firmware_words(ovmf: Ovmf | None) -> tuple[str, ...]:
    if ovmf is None:
        return ()
    code, variables = _escaped(str(ovmf.code)), _escaped(str(ovmf.variables))
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
    )


def _disk_words(disks: tuple[Disk, ...]) -> tuple[str, ...]:
    words: list[str] = []
    for index, disk in enumerate(disks):
        read_only = ",readonly=on" if disk.is_read_only else ""
        path = _escaped(str(disk.path))
        words += ("-drive", f"if=none,id=disk{index},format={disk.form},file={path}{read_only}")
        words += ("-device", f"virtio-blk-pci,drive=disk{index},bootindex={index + 1}")
    return tuple(words)


def _network_words(forwards: tuple[Forward, ...]) -> tuple[str, ...]:
    rules = (
        f",hostfwd={each.protocol}:{LOOPBACK}:{each.host_port}-:{each.guest_port}"
        for each in forwards
    )
    return (
        *("-netdev", f"user,id=net{''.join(rules)}"),
        # No boot ROM: nothing boots from the network, and it would ask for seconds.
        *("-device", "virtio-net-pci,netdev=net,romfile="),
    )


def _serial_words(serial: SerialSocket | SerialTerminal) -> tuple[str, ...]:
    if isinstance(serial, SerialSocket):
        backend = f"socket,id=serial,server=off,path={_escaped(str(serial.path))}"
        return ("-chardev", backend, "-serial", "chardev:serial")
    log = f"logfile={_escaped(str(serial.log))},logappend=on"
    # Signals stay off: Ctrl-C belongs to the guest, as on a real console.
    return (
        *("-chardev", f"stdio,id=serial,mux=on,signal=off,{log}"),
        *("-serial", "chardev:serial", "-mon", "chardev=serial,mode=readline"),
    )


def _qmp_words(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    backend = f"socket,id=qmp,server=off,path={_escaped(str(path))}"
    return ("-chardev", backend, "-mon", "chardev=qmp,mode=control")


def _escaped(value: str) -> str:
    """A comma in an option of QEMU is written twice."""
    return value.replace(",", ",,")
