"""A booted image as the tests see it: console, ssh, updates, and Git.

Deadlines are those of KVM; the driver multiplies them where QEMU translates.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from imagebuilder.vm.driver import Machine, Trial
from imagebuilder.vm.machine import Accelerator, Firmware
from imagebuilder.vm.reader import MachineFailed
from imagebuilder.vm.seed import SEED_NAME, write_seed_disk
from maculaos.host.commands import SystemRunner
from vm.ssh import Ssh, make_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# On KVM; on the translator a boot was seen to take 25 to 45 s, far below ten times this.
BOOT_S: Final = 30.0
_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all machines of one run share."""

    image: Path
    accelerator: Accelerator
    # Where serial logs go; they stay.
    logs: Path
    key: Path
    public_key: str

    @classmethod
    def set_up(cls, image: Path, accelerator: Accelerator, logs: Path, folder: Path) -> Self:
        """Make the key of the run in ``folder``."""
        key = folder / "id"
        public = make_key(key)
        return cls(image=image, accelerator=accelerator, logs=logs, key=key, public_key=public)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """How a test wants its machine."""

    name: str
    firmware: Firmware = Firmware.BIOS
    # More of seed.toml; the ssh key of the run is always in it.
    seed: str = ""
    # Larger than the image, as real disks are, so that the machine has something to grow into.
    disk_mib: int = 4096
    memory_mib: int = 1024


@dataclass(slots=True)
class Appliance:
    """One machine that was booted from the image; use it as a context manager."""

    bench: Bench
    wants: Wants
    folder: Path
    machine: Machine = field(init=False)
    ssh: Ssh = field(init=False)

    def __post_init__(self) -> None:
        """Make the seed disk and the machine; the power is still off."""
        seed = self.folder / SEED_NAME
        seed.write_text(
            f'version = 1\nhostname = "{self.wants.name}"\n'
            f'[ssh]\nauthorized_keys = ["{self.bench.public_key}"]\n{self.wants.seed}'
        )
        disk = write_seed_disk(SystemRunner(), {SEED_NAME: seed}, self.folder / "seed.img")
        self.machine = Machine(
            Trial(
                image=self.bench.image,
                accelerator=self.bench.accelerator,
                log=self.bench.logs / f"{self.wants.name}-{self.wants.firmware}.log",
                firmware=self.wants.firmware,
                memory_mib=self.wants.memory_mib,
                disk_mib=self.wants.disk_mib,
                more_disks=(disk,),
            )
        )
        self.ssh = Ssh(
            folder=self.machine.folder,
            port=self.machine.ssh_port,
            key=self.bench.key,
            patience=self.bench.accelerator.patience,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the machine, whatever state it is in."""
        if self.ssh.config.exists():
            self.ssh.hang_up()
        self.machine.close()

    def first_boot(self) -> None:
        """Turn the power on, and pin the host key that the console shows."""
        self.machine.power_on()
        shown = self.machine.wait_line(r"^ssh key\s.*\b(SHA256:[A-Za-z0-9+/]{43})", 2 * BOOT_S)
        self.ssh.pin(shown.groups[0])
        self.wait_ssh()

    def wait_boot(self) -> None:
        """Wait until a machine that starts again asks for a login, and answers."""
        self.machine.wait_text("login: ", BOOT_S)
        self.wait_ssh()

    def wait_ssh(self) -> None:
        """Wait until a command can be run."""
        self.eventually("ssh answers", lambda: self.ssh.succeeds("true"), BOOT_S)

    def power_cycle(self) -> None:
        """Pull the plug, put it back, and wait for the machine."""
        self.cut()
        self.machine.power_on()
        self.wait_boot()

    def cut(self) -> None:
        """Pull the plug."""
        self.machine.power_cut()
        self.ssh.hang_up()

    def expect_restart(self) -> None:
        """What was said counts no more: the machine is about to restart."""
        self.machine.start_over()

    def slot(self) -> str:
        """The slot that runs, as the loader told the kernel: A or B."""
        return self.ssh.run("kenv", "-q", "macula.slot").strip()

    def marks(self) -> dict[str, list[str]]:
        """The boot marks of each slot, sorted."""
        slots = self.update_status()["slots"]
        return {name: sorted(slot["marks"]) for name, slot in slots.items()}

    def update_status(self) -> Any:
        """What ``maculaos-update status`` says."""
        return json.loads(self.ssh.run("maculaos-update", "status", "--json"))

    def eventually(self, what: str, holds: Callable[[], bool], timeout_s: float) -> None:
        """Look again and again until ``holds``; a sign of the end on the console ends it."""
        limit = self.machine.patience(timeout_s)
        deadline = time.monotonic() + limit
        while not holds():
            self.machine.check()
            if time.monotonic() >= deadline:
                name, log = self.wants.name, self.machine.log_path
                raise MachineFailed(f"{name}: not within {limit:g} s: {what}; see {log}")
            time.sleep(_POLL_S)
