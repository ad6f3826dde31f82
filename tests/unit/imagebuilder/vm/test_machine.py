"""The words for QEMU: what a machine is made of."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.vm.machine import (
    Accelerator,
    Disk,
    DiskFormat,
    Firmware,
    Forward,
    MachineSpec,
    Ovmf,
    Protocol,
    SerialSocket,
    SerialTerminal,
    qemu_argv,
)
from maculaos.errors import UsageError

OVMF = Ovmf(Path("code.fd"), Path("vars.fd"))
SSH = Forward(Protocol.TCP, 2222, 22)
QUIC = Forward(Protocol.UDP, 5555, 4433)


def _spec(**more: Any) -> MachineSpec:
    given: dict[str, Any] = {
        "name": "edge",
        "accelerator": Accelerator.TCG,
        "disks": (Disk(Path("disk.qcow2")),),
        "serial": SerialSocket(Path("serial")),
    }
    return MachineSpec(**(given | more))


def _after(argv: tuple[str, ...], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(argv) if word == option]


def test_ports_lead_from_loopback_alone_to_ssh_and_the_first_node() -> None:
    (netdev,) = _after(qemu_argv(_spec(forwards=(SSH, QUIC))), "-netdev")
    assert netdev == ("user,id=net,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp:127.0.0.1:5555-:4433")


def test_bios_machine_has_no_flash_and_uefi_machine_writes_only_its_variables() -> None:
    assert _spec().firmware is Firmware.BIOS
    assert not [word for word in qemu_argv(_spec()) if "pflash" in word]
    spec = _spec(ovmf=OVMF)
    assert spec.firmware is Firmware.UEFI
    code, variables = [word for word in qemu_argv(spec) if "pflash" in word]
    assert "readonly=on" in code
    assert "code.fd" in code
    assert "readonly" not in variables
    assert "vars.fd" in variables


def test_first_disk_boots_and_a_seed_is_read_only() -> None:
    seed = Disk(Path("seed.img"), DiskFormat.RAW, is_read_only=True)
    argv = qemu_argv(_spec(disks=(Disk(Path("disk.qcow2")), seed)))
    first, second = _after(argv, "-drive")
    assert "format=qcow2,file=disk.qcow2" in first
    assert second.endswith("format=raw,file=seed.img,readonly=on")
    assert "virtio-blk-pci,drive=disk0,bootindex=1" in argv


def test_accelerators_differ_in_processor_and_patience() -> None:
    assert "q35,accel=tcg" in qemu_argv(_spec())
    assert _after(qemu_argv(_spec()), "-cpu") == ["max"]
    assert _after(qemu_argv(_spec(accelerator=Accelerator.KVM)), "-cpu") == ["host"]
    assert Accelerator.TCG.patience > Accelerator.KVM.patience == 1


def test_qemu_is_the_client_of_console_and_control() -> None:
    argv = qemu_argv(_spec(qmp=Path("qmp")))
    assert all("server=off" in word for word in _after(argv, "-chardev"))
    assert "chardev=qmp,mode=control" in argv
    assert "-mon" not in qemu_argv(_spec())


def test_terminal_gets_the_console_and_a_log_and_keeps_its_interrupts() -> None:
    (chardev,) = _after(qemu_argv(_spec(serial=SerialTerminal(Path("log")))), "-chardev")
    assert chardev == "stdio,id=serial,mux=on,signal=off,logfile=log,logappend=on"


def test_commas_in_names_are_not_options() -> None:
    argv = qemu_argv(_spec(name="a,b", disks=(Disk(Path("x,readonly=on")),)))
    assert _after(argv, "-name") == ["a,,b"]
    assert _after(argv, "-drive")[0].endswith("file=x,,readonly=on")


@pytest.mark.parametrize(
    "wrong",
    [
        {"disks": ()},
        {"memory_mib": 1},
        {"cpus": 0},
        {"serial": SerialSocket(Path("/" + "x" * 103))},
        {"qmp": Path("/" + "x" * 103)},
    ],
)
def test_what_qemu_would_refuse_is_refused_before(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        _spec(**wrong)


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(UsageError, match="no port"):
        Forward(Protocol.TCP, port, 22)
