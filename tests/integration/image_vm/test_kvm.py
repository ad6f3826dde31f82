"""The guest that has to answer before KVM is believed, tried on the translator."""

from __future__ import annotations

import shutil

import pytest

from imagebuilder.vm import kvm
from imagebuilder.vm.machine import PROGRAM, Accelerator
from maculaos.host.commands import SystemRunner

pytestmark = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"not installed: {PROGRAM}")


def test_guest_reaches_64_bits_and_answers() -> None:
    assert kvm.probe(SystemRunner(), Accelerator.TCG, 30) == ""


def test_a_guest_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp back to hlt
    monkeypatch.setattr(kvm, "PROBE_SECTOR", hang.ljust(510, b"\0") + b"\x55\xaa")
    failure = kvm.probe(SystemRunner(), Accelerator.TCG, 0.5)
    assert failure == "the guest did not answer within 0.5 s"
