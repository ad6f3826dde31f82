"""A machine under test: started, watched, spoken to, cut off its power, and never left behind.

A thread of its own reads the console all the time, so the guest never waits for a reader and a
panic is seen whatever is being done. Deadlines are those of a machine on KVM; on the translator
they are multiplied. What to wait for is said by the caller; what a console means is decided in
``imagebuilder.vm.console``.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from imagebuilder.vm.console import Console, Matched, Text, Watch, WholeLine, Wish
from imagebuilder.vm.folder import MachineFolder
from imagebuilder.vm.listener import Listener
from imagebuilder.vm.machine import (
    LOOPBACK,
    QUIC_PORT,
    SSH_PORT,
    Accelerator,
    Disk,
    DiskFormat,
    Firmware,
    Forward,
    MachineSpec,
    Protocol,
    SerialSocket,
    qemu_argv,
)
from imagebuilder.vm.process import Process
from imagebuilder.vm.qmp import QmpClient, QmpError
from imagebuilder.vm.reader import MachineFailed, SerialReader
from imagebuilder.vm.seriallog import SerialLog
from maculaos.host.clock import Clock, SystemClock
from maculaos.host.commands import CommandRunner, SystemRunner

if TYPE_CHECKING:
    from types import TracebackType

# QEMU connects to its sockets at once when it starts; a busy host may take a while.
_START_S: Final = 30.0
_QUIT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: an image on a machine."""

    image: Path
    accelerator: Accelerator
    # Where the serial log goes; it stays.
    log: Path
    firmware: Firmware = Firmware.BIOS
    memory_mib: int = 1024
    cpus: int = 2
    # Larger than the image, as disks of machines are; 0: as large as the image.
    disk_mib: int = 0
    # More disks, raw and read-only: a seed.
    more_disks: tuple[Path, ...] = ()
    watch: Watch = field(default_factory=Watch)
    # Where the disk lies meanwhile; not deep in the tree, since sockets lie there too.
    scratch: Path = Path("/tmp")  # noqa: S108  # a folder of its own is made there


class Machine:
    """One machine, from its first power on to ``close``; use it as a context manager."""

    def __init__(
        self, trial: Trial, runner: CommandRunner | None = None, clock: Clock | None = None
    ) -> None:
        """Prepare the disk; the power is still off. Raises as ``MachineFolder.prepare`` does."""
        self._clock = clock or SystemClock()
        self._trial = trial
        self._patience = trial.accelerator.patience
        self.folder = Path(tempfile.mkdtemp(prefix="maculaos-vm-", dir=trial.scratch))
        self._log = SerialLog(trial.log)
        self._powered: _Powered | None = None
        try:
            self._spec = self._describe(runner or SystemRunner())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def ssh_port(self) -> int:
        """The TCP port of this host's loopback address that leads to the guest's sshd."""
        return self._spec.forwards[0].host_port

    @property
    def quic_port(self) -> int:
        """The UDP port of this host's loopback address that leads to the guest's first node."""
        return self._spec.forwards[1].host_port

    @property
    def overlay(self) -> Path:
        """The disk that the guest writes to."""
        return self._spec.disks[0].path

    @property
    def log_path(self) -> Path:
        """The serial log."""
        return self._trial.log

    @property
    def is_on(self) -> bool:
        """Whether QEMU runs."""
        return self._powered is not None and not self._powered.process.has_ended()

    @property
    def pid(self) -> int:
        """The process id of QEMU; raises ``MachineFailed`` when the power is off."""
        return self._power().process.pid

    def patience(self, seconds: float) -> float:
        """How long to wait here for what takes ``seconds`` on KVM."""
        return seconds * self._patience

    def power_on(self) -> None:
        """Start QEMU; raises ``MachineFailed`` if it does not start."""
        if self._powered is not None:
            raise MachineFailed(f"{self._spec.name} is on already")
        self._log.begin(f"power on, {self._trial.firmware}", self._clock.monotonic())
        watch = self._trial.watch
        patient = replace(
            watch,
            silence_s=self.patience(watch.silence_s),
            prompt_quiet_s=self.patience(watch.prompt_quiet_s),
        )
        self._powered = _Powered(self._spec, patient, self._log, self._clock)

    def power_cut(self) -> None:
        """End the machine as if its plug were pulled: nothing is asked of the guest.

        What the guest had handed to its disk is there at the next power on; what it still held in
        memory is gone.
        """
        powered, self._powered = self._powered, None
        if powered is not None:
            self._log.note("power cut", self._clock.monotonic())
            powered.end()

    def reset(self) -> None:
        """Press the reset button; QEMU and its ports go on."""
        self._log.note("reset", self._clock.monotonic())
        powered = self._power()
        powered.qmp.execute("system_reset")
        powered.reader.start_over()

    def start_over(self) -> None:
        """Forget what was said, signs of the end too, before the guest is made to restart."""
        self._power().reader.start_over()

    def status(self) -> str:
        """How QEMU itself sees the machine, such as ``running`` or ``shutdown``."""
        return str(self._power().qmp.execute("query-status")["status"])

    def send(self, text: str) -> None:
        """Type on the console."""
        self._power().reader.send(text.encode())

    def wait_text(self, text: str, timeout_s: float) -> None:
        """Wait for these characters, as of a prompt; raises ``MachineFailed``."""
        self._wait(Text(text), timeout_s)

    def wait_line(self, expression: str, timeout_s: float) -> Matched:
        """Wait for a finished line with that expression in it; raises ``MachineFailed``."""
        return self._wait(WholeLine(re.compile(expression)), timeout_s)

    def wait_off(self, timeout_s: float) -> None:
        """Wait until the guest turns the power off; raises ``MachineFailed``."""
        if not self._power().process.wait_end(self.patience(timeout_s)):
            raise MachineFailed(self._about(f"it is still on after {timeout_s:g} s"))
        powered, self._powered = self._powered, None
        if powered is not None:
            powered.end()

    def check(self) -> None:
        """Raise ``MachineFailed`` if the console showed a sign of the end."""
        if self._powered is not None:
            self._complain(self._powered.reader.failure())

    def close(self) -> None:
        """End QEMU and delete the folder of the machine; the log stays."""
        powered, self._powered = self._powered, None
        if powered is not None:
            powered.quit()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, wish: Wish, timeout_s: float) -> Matched:
        reader = self._power().reader
        matched = reader.wait(wish, self.patience(timeout_s))
        if matched is None:
            self._complain(reader.failure() or reader.silence())
            wanted = wish.text if isinstance(wish, Text) else wish.expression.pattern
            why = "it ended" if reader.has_ended() else f"not within {self.patience(timeout_s):g} s"
            raise MachineFailed(self._about(f"waited for {wanted!r}: {why}"))
        return matched

    def _complain(self, failure: str) -> None:
        if failure:
            raise MachineFailed(self._about(failure))

    def _about(self, what: str) -> str:
        last = f"; it said last: {self._powered.reader.last_line()!r}" if self._powered else ""
        return f"{self._spec.name}: {what}{last}; see {self._trial.log}"

    def _power(self) -> _Powered:
        if self._powered is None:
            raise MachineFailed(f"{self._spec.name} is off")
        return self._powered

    def _describe(self, runner: CommandRunner) -> MachineSpec:
        trial, folder = self._trial, MachineFolder(self.folder)
        disk = folder.prepare(runner, trial.image, trial.disk_mib)
        more = (Disk(path, DiskFormat.RAW, is_read_only=True) for path in trial.more_disks)
        return MachineSpec(
            name=trial.image.stem,
            accelerator=trial.accelerator,
            disks=(disk, *more),
            serial=SerialSocket(self.folder / "serial"),
            ovmf=folder.firmware(trial.firmware),
            memory_mib=trial.memory_mib,
            cpus=trial.cpus,
            forwards=appliance_forwards(),
            qmp=self.folder / "qmp",
        )


class _Powered:
    """A machine whose power is on: QEMU, what is read of it, and its control."""

    def __init__(self, spec: MachineSpec, watch: Watch, log: SerialLog, clock: Clock) -> None:
        assert isinstance(spec.serial, SerialSocket)  # noqa: S101  # as ``Machine`` made it
        assert spec.qmp is not None  # noqa: S101  # as ``Machine`` made it
        with ExitStack() as undo:
            serial = undo.enter_context(Listener(spec.serial.path))
            qmp = undo.enter_context(Listener(spec.qmp))
            said = spec.serial.path.with_name("qemu.log")
            self.process = Process(qemu_argv(spec), said, clock)
            undo.callback(self.process.kill)
            try:
                connection = serial.accept(self.process, clock, _START_S)
                self.reader = SerialReader(
                    connection, Console(watch, clock.monotonic()), log, clock
                )
                undo.callback(self.reader.close)
                self.qmp = QmpClient(qmp.accept(self.process, clock, _START_S), clock, _START_S)
            except (OSError, QmpError) as error:
                self.process.kill()
                what = f"QEMU did not start: {self.process.complaint() or error}"
                raise MachineFailed(what) from error
            # The listeners are closed as well when all went well: one connection each is all.
            undo.pop_all()
            serial.close()
            qmp.close()

    def quit(self) -> None:
        """Ask QEMU to end, so that it writes what it holds; then as ``end``."""
        with suppress(QmpError):
            self.qmp.execute("quit")
            self.process.wait_end(_QUIT_S)
        self.end()

    def end(self) -> None:
        """Kill QEMU and close what leads to it."""
        self.process.kill()
        self.qmp.close()
        self.reader.close()


def appliance_forwards() -> tuple[Forward, ...]:
    """Free ports of this host that lead to the guest's sshd and to its first node."""
    return (
        Forward(Protocol.TCP, _free_port(socket.SOCK_STREAM), SSH_PORT),
        Forward(Protocol.UDP, _free_port(socket.SOCK_DGRAM), QUIC_PORT),
    )


def _free_port(kind: socket.SocketKind) -> int:
    """A port that nobody has now; QEMU takes it a moment later."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
