"""``imagebuilder boot``: the image in QEMU, its console on this terminal.

It parses, prepares and then becomes QEMU, so no process stays between the terminal and the machine.
What the guest writes is kept from one boot to the next, beside other things of this checkout that
are not sources; the image itself stays clean.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from imagebuilder.vm.driver import appliance_forwards
from imagebuilder.vm.folder import MachineFolder, find_image
from imagebuilder.vm.kvm import Choice, choose_accelerator
from imagebuilder.vm.machine import (
    Accelerator,
    Disk,
    DiskFormat,
    Firmware,
    Forward,
    MachineSpec,
    SerialTerminal,
    qemu_argv,
)
from imagebuilder.vm.seed import SEED_NAME, write_seed_disk
from maculaos.host.commands import CommandRunner, SystemRunner
from maculaos.host.files import make_private_directory
from maculaos.host.locks import take_lock

STATE: Final = Path("var/boot")
SERIAL_LOG: Final = "serial.log"
_SEED_DISK: Final = "seed.img"
_LOCK: Final = "lock"

app = typer.Typer(
    help="Try an image in QEMU.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def machines() -> None:
    """Try an image in QEMU."""


@app.command()
def boot(  # noqa: PLR0913  # typer takes one parameter per option
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A disk, or the folder of one.")],
    firmware: Annotated[Firmware, typer.Option(help="What starts the machine.")] = Firmware.BIOS,
    memory: Annotated[int, typer.Option(metavar="MIB", help="Memory of the machine.")] = 1024,
    cpus: Annotated[int, typer.Option(help="Processors of the machine.")] = 2,
    disk: Annotated[
        int, typer.Option(metavar="MIB", help="Size of its disk, if larger than the image.")
    ] = 0,
    accelerator: Annotated[
        Accelerator | None, typer.Option(help="What runs it; found out if not given.")
    ] = None,
    seed: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A seed.toml for the first boot.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what it wrote before.")] = False,
) -> None:
    """Run an image with its console on this terminal; Ctrl-A X ends it."""
    runner, image = SystemRunner(), find_image(image)
    folder = MachineFolder(STATE.resolve() / image.stem)
    make_private_directory(folder.path)
    # Held until QEMU ends: the descriptor goes on into it.
    os.set_inheritable(take_lock(folder.path / _LOCK), True)
    if fresh:
        folder.discard()
    is_kept = folder.is_kept_for(image, disk)
    choice = Choice(accelerator, "as asked") if accelerator else choose_accelerator(runner)
    spec = MachineSpec(
        name=image.stem,
        accelerator=choice.accelerator,
        disks=(folder.prepare(runner, image, disk), *_seed_disks(runner, seed, folder.path)),
        serial=SerialTerminal(folder.path / SERIAL_LOG),
        ovmf=folder.firmware(firmware),
        memory_mib=memory,
        cpus=cpus,
        forwards=appliance_forwards(),
    )
    for line in (*introduction(spec, choice), _about_disk(is_kept)):
        typer.echo(line, err=True)
    _become(qemu_argv(spec))


def introduction(spec: MachineSpec, choice: Choice) -> tuple[str, ...]:
    """What to know before the console takes the terminal."""
    ssh, quic = spec.forwards
    log = spec.serial.log if isinstance(spec.serial, SerialTerminal) else ""
    return (
        f"ssh       {ssh_command(ssh)}",
        f"node      udp {quic.host_port} on this host leads to {quic.guest_port} of the machine",
        f"machine   {spec.firmware}, {spec.memory_mib} MiB, {spec.cpus} processors, "
        f"{choice.accelerator}: {choice.reason}",
        f"console   this terminal, and {log}; Ctrl-A X ends the machine, Ctrl-A H lists more",
    )


def ssh_command(forward: Forward) -> str:
    """How to log in. Each machine has a host key of its own, so no known one is compared."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    return f"ssh -p {forward.host_port} {options} root@127.0.0.1"


def _about_disk(is_kept: bool) -> str:
    kept = "goes on with what the machine wrote before; --fresh forgets it"
    return f"disk      {kept if is_kept else 'as in the image, which stays clean'}"


def _seed_disks(runner: CommandRunner, seed: Path | None, folder: Path) -> tuple[Disk, ...]:
    if seed is None:
        return ()
    target = write_seed_disk(runner, {SEED_NAME: seed}, folder / _SEED_DISK)
    return (Disk(target, DiskFormat.RAW, is_read_only=True),)


def _become(argv: tuple[str, ...]) -> None:
    """Turn into QEMU, which then has the terminal to itself; never returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    # S606: a list of words, and no shell.
    os.execvp(argv[0], argv)  # noqa: S606
