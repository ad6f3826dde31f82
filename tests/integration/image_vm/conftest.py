"""Machines for tests: a tiny guest on QEMU's translator, skipped where there is no QEMU."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from imagebuilder.vm.driver import Machine, Trial
from imagebuilder.vm.machine import PROGRAM, Accelerator
from integration.image_vm import tinyguest

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Machine]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk image with the tiny guest; skips the test without QEMU."""
    missing = [tool for tool in (PROGRAM, "qemu-img") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return tinyguest.write_image(tmp_path / "tiny.raw")


@pytest.fixture
def start(image: Path, tmp_path: Path) -> Iterator[Start]:
    """``start(...)``: a machine with the tiny guest, its power on; given up at the end."""
    with ExitStack() as machines:

        def begin(**more: Any) -> Machine:
            given: dict[str, Any] = {
                "image": image,
                # The same on every host, and for so small a guest the quickest.
                "accelerator": Accelerator.TCG,
                "log": tmp_path / "serial.log",
                "memory_mib": 64,
                "cpus": 1,
            }
            machine = machines.enter_context(Machine(Trial(**(given | more))))
            machine.power_on()
            return machine

        yield begin
