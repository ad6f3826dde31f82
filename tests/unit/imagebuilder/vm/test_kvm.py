"""Which accelerator is chosen: KVM only after a guest answered on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.vm.kvm import ANSWER, choose_accelerator
from imagebuilder.vm.machine import PROGRAM, Accelerator
from maculaos.errors import UsageError
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed

if TYPE_CHECKING:
    from pathlib import Path


class _Qemu:
    """A QEMU that ends with the given status."""

    def __init__(self, status: int | None, stderr: str = "") -> None:
        self._status = status
        self._stderr = stderr
        self.argv: tuple[str, ...] = ()

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        del stdin, timeout_s
        self.argv = argv
        if self._status == 0:
            return ""
        raise CommandFailed(argv, self._status, self._stderr)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Something that can be opened as /dev/kvm is."""
    path = tmp_path / "kvm"
    path.touch()
    return path


def test_kvm_is_taken_when_the_guest_answered(device: Path) -> None:
    qemu = _Qemu(ANSWER)
    assert choose_accelerator(qemu, device).accelerator is Accelerator.KVM
    assert "q35,accel=kvm" in qemu.argv


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (None, "", "did not answer within"),
        (1, "failed to set MSR 0x10a\nmore", "failed to set MSR 0x10a"),
        (0, "", "ended without an answer"),
        (134, "", "status 134"),
    ],
)
def test_anything_else_means_the_translator(
    device: Path, status: int | None, stderr: str, reason: str
) -> None:
    choice = choose_accelerator(_Qemu(status, stderr), device)
    assert choice.accelerator is Accelerator.TCG
    assert reason in choice.reason
    assert "\n" not in choice.reason


def test_without_the_device_no_guest_is_started(tmp_path: Path) -> None:
    qemu = _Qemu(ANSWER)
    choice = choose_accelerator(qemu, tmp_path / "none")
    assert choice.accelerator is Accelerator.TCG
    assert "is not there" in choice.reason
    assert qemu.argv == ()


def test_missing_qemu_is_named_with_its_package(device: Path) -> None:
    with pytest.raises(UsageError, match=rf"{PROGRAM} is not installed.*qemu-system-x86"):
        choose_accelerator(_Qemu(127), device)
