"""The driver of virtual machines, against a guest of one sector in QEMU."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagebuilder.vm.console import Watch
from imagebuilder.vm.driver import Machine, Trial
from imagebuilder.vm.machine import Accelerator
from imagebuilder.vm.reader import MachineFailed
from imagebuilder.vm.seriallog import said
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from integration.image_vm.conftest import Start

# Times the patience of the translator: far more than the half second that it takes.
SOON_S = 2.0


def test_machine_starts_and_answers_what_is_typed(start: Start) -> None:
    machine = start()
    machine.wait_line(r"^tiny guest, start 1$", SOON_S)
    machine.wait_text("login: ", SOON_S)
    machine.send("echo\r")
    assert machine.wait_line(r"^said: (\w+)$", SOON_S).groups == ("echo",)
    assert machine.status() == "running"


def test_image_stays_clean_and_power_cuts_keep_what_was_written(start: Start, image: Path) -> None:
    before = hashlib.sha256(image.read_bytes()).digest()
    machine = start()
    for count in (1, 2, 3):
        machine.wait_line(rf"^tiny guest, start {count}$", SOON_S)
        first = machine.pid
        machine.power_cut()
        assert not machine.is_on
        assert not Path(f"/proc/{first}").exists()
        machine.power_on()
    machine.wait_line(r"^tiny guest, start 4$", SOON_S)
    assert hashlib.sha256(image.read_bytes()).digest() == before


def test_reset_starts_the_guest_anew_in_the_same_process(start: Start) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    process, port = machine.pid, machine.ssh_port
    machine.reset()
    machine.wait_line(r"^tiny guest, start 2$", SOON_S)
    machine.wait_text("login: ", SOON_S)
    machine.send("reboot\r")
    machine.wait_line(r"^tiny guest, start 3$", SOON_S)
    assert (machine.pid, machine.ssh_port) == (process, port)


def test_panic_ends_a_wait_at_once_and_is_told_until_the_machine_starts_over(start: Start) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    machine.check()
    machine.send("panic\r")
    with pytest.raises(MachineFailed, match=r"the kernel panicked: 'panic:'.*serial\.log"):
        machine.wait_line("^never$", 3600)
    with pytest.raises(MachineFailed, match="the kernel panicked"):
        machine.check()
    machine.reset()
    machine.wait_line(r"^tiny guest, start 2$", SOON_S)
    machine.check()


def test_a_shell_that_nobody_asked_for_ends_a_wait(start: Start) -> None:
    machine = start(watch=Watch(prompt_quiet_s=0.02))
    machine.wait_text("login: ", SOON_S)
    machine.send("shell\r")
    with pytest.raises(MachineFailed, match="a shell that nobody asked for"):
        machine.wait_line("^never$", 3600)


def test_silence_ends_a_wait_and_says_what_came_last(start: Start) -> None:
    machine = start(watch=Watch(silence_s=0.05))
    machine.wait_text("login: ", SOON_S)
    machine.send("halt\r")
    with pytest.raises(MachineFailed, match=r"it said nothing for .* it said last: 'login: halt'"):
        machine.wait_line("^never$", 3600)
    machine.check()


def test_end_of_qemu_ends_a_wait(start: Start) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    os.kill(machine.pid, 9)
    with pytest.raises(MachineFailed, match="it ended"):
        machine.wait_line("^never$", 3600)


def test_what_does_not_come_in_time_is_named(start: Start) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    with pytest.raises(MachineFailed, match=r"waited for 'never': not within 0\.5 s"):
        machine.wait_line("never", 0.05)


def test_log_keeps_every_line_with_its_time_and_what_was_done(start: Start, image: Path) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    machine.power_cut()
    machine.close()
    log = machine.log_path.read_text()
    assert log.startswith("--- power on, bios\n")
    assert re.search(r"^ +\d+\.\d{3} tiny guest, start 1$", log, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d{3} --- power cut$", log, re.MULTILINE)
    assert list(said(machine.log_path))[-2:] == ["tiny guest, start 1", "login: "]


def test_nothing_is_left_of_a_machine_but_its_log(start: Start) -> None:
    machine = start()
    machine.wait_text("login: ", SOON_S)
    process, folder = machine.pid, machine.folder
    assert not list(folder.glob("serial")), "the socket is gone as soon as QEMU is connected"
    machine.close()
    assert not Path(f"/proc/{process}").exists()
    assert not folder.exists()
    assert machine.log_path.exists()
    machine.close()


def test_machine_off_says_so(start: Start) -> None:
    machine = start()
    machine.power_cut()
    for ask in (machine.reset, machine.status, lambda: machine.wait_text("x", 1)):
        with pytest.raises(MachineFailed, match="tiny is off"):
            ask()


def test_qemu_that_refuses_its_arguments_is_quoted(image: Path, tmp_path: Path) -> None:
    trial = Trial(
        image=image,
        accelerator=Accelerator.TCG,
        log=tmp_path / "serial.log",
        more_disks=(tmp_path / "missing",),
    )
    with Machine(trial) as machine, pytest.raises(MachineFailed, match=r"did not start.*missing"):
        machine.power_on()
    assert not machine.folder.exists()


def test_missing_image_leaves_no_folder_behind(tmp_path: Path) -> None:
    trial = Trial(
        image=tmp_path / "no",
        accelerator=Accelerator.TCG,
        log=tmp_path / "serial.log",
        scratch=tmp_path / "scratch",
    )
    (tmp_path / "scratch").mkdir()
    with pytest.raises(UsageError, match=r"no image at .*make image"):
        Machine(trial)
    assert not list((tmp_path / "scratch").iterdir())
