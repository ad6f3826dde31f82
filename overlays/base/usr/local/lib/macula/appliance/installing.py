"""``maculaos-install``: looks at the disks, asks for one, and carries out ``appliance.installer``.

It runs on every console of the installer in place of a login. Facts come from geom(8), gpart(8) and
mount(8); bytes are streamed and read back here. What may be written, and in which order, is not
decided here.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from appliance import installer
from appliance.device import RawDevice
from appliance.installer import Copy, Ending, Erase, PutSeed, Refusal, Run
from appliance.seed import BYTES_MAX, parse_seed
from appliance.slots import SECTOR_BYTES
from jails.freebsd import mount
from maculaos.errors import MaculaError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import CommandFailed, CommandRunner, SystemRunner
from maculaos.host.files import make_private_directory, write_atomically
from maculaos.host.locks import locked_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.device import SlotDevice
    from appliance.installer import Answers, Digests, Disk, Facts, Step

SUMS: Final = Path("/usr/local/share/macula/installer/SHA256SUMS")
BIOS_CODE: Final = Path("/boot/pmbr")
WORK: Final = Path("/var/run/maculaos-install")
CHUNK_BYTES: Final = 4 << 20
_SUMS_BYTES_MAX: Final = 4096
_SECRET: Final = 0o600
# Another console installs meanwhile; a slow stick takes ten minutes.
_LOCK_TIMEOUT_S: Final = 3600.0
_TRIES: Final = 100


class Devices(Protocol):
    """Where raw disks and partitions are opened."""

    def open(self, path: str, *, is_writable: bool) -> SlotDevice:
        """The device at ``path``; raises ``OSError``."""
        ...


class Folders(Protocol):
    """File systems that are mounted for a moment."""

    def read(self, device: str, name: str, limit: int) -> bytes | None:
        """A file of a FAT partition, at most ``limit`` bytes and one; None if there is none."""
        ...

    def put(self, device: str, name: str, content: bytes) -> None:
        """Write a secret file to a UFS partition; raises ``OSError``, ``CommandFailed``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """How the installer reaches the machine, and people."""

    runner: CommandRunner
    devices: Devices
    folders: Folders
    say: Callable[[str], None]
    lock: Callable[[], AbstractContextManager[None]]
    sums: Path = SUMS
    has_bios_code: bool = True
    chunk_bytes: int = CHUNK_BYTES


class Installer:
    """One stick in one machine."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def look(self) -> Facts:
        """The disks as they are; raises ``UsageError`` for what is no installer."""
        tables = self._tools.runner.run(*installer.TABLES)
        geoms = self._tools.runner.run(*installer.GEOMS)
        disks = installer.parse_disks(geoms, tables, frozenset())
        blank = frozenset(disk.name for disk in disks if self._is_blank(disk))
        return installer.Facts(
            stick=installer.find_stick(tables),
            disks=installer.parse_disks(geoms, tables, blank),
            has_bios_code=self._tools.has_bios_code,
        )

    def answers(self) -> Answers | None:
        """What ``installer.toml`` on the stick says; None without one; raises ``UsageError``.

        Waits while another console installs.
        """
        with self._tools.lock():
            limit = installer.ANSWERS_BYTES_MAX
            content = self._on_stick(self.look(), "installer.toml", limit)
        return None if content is None else installer.parse_answers(content)

    def install(self, choose: Callable[[Facts], Disk]) -> Disk:
        """Look, let ``choose`` say which disk, and write it; returns when it is whole.

        Raises what ``choose`` raises and ``UsageError`` before anything is written;
        ``MaculaError`` and ``OSError`` after.
        """
        with self._tools.lock():
            facts = self.look()
            target = choose(facts)
            digests = self._digests()
            seed = self._seed(facts)
            self._check_source(facts, digests)
            for step in installer.plan(facts, target, digests, seed):
                self._tools.say(step.describe())
                self._carry_out(step)
            return target

    def end(self, ending: Ending) -> None:
        """Stop the machine, or start it anew, as was asked for."""
        argv = {
            Ending.POWEROFF: ("shutdown", "-p", "now"),
            Ending.REBOOT: ("shutdown", "-r", "now"),
        }
        if ending in argv:
            self._tools.runner.run(*argv[ending])

    def _on_stick(self, facts: Facts, name: str, limit: int) -> bytes | None:
        stick = facts.stick
        if stick.fat_index is None:
            return None
        return self._tools.folders.read(f"/dev/{stick.disk}p{stick.fat_index}", name, limit)

    def _seed(self, facts: Facts) -> bytes | None:
        content = self._on_stick(facts, "seed.toml", BYTES_MAX)
        if content is not None:
            parse_seed(content)
        return content

    def _digests(self) -> Digests:
        with self._tools.sums.open(encoding="ascii", errors="replace") as opened:
            return installer.parse_digests(opened.read(_SUMS_BYTES_MAX))

    def _check_source(self, facts: Facts, digests: Digests) -> None:
        """A stick that was written badly is found before a disk is touched."""
        stick = facts.stick
        for index, size, wanted in (
            (installer.ESP_INDEX, stick.esp_bytes, digests.esp),
            (stick.system_index, stick.slot_bytes, digests.system),
        ):
            device = f"/dev/{stick.disk}p{index}"
            self._tools.say(f"check {device}")
            if self._digest(device, size) != wanted:
                raise Refusal(f"{device} is not as it was made", "write the stick anew")

    def _is_blank(self, disk: Disk) -> bool:
        # Disks that are not for us are not even read.
        if disk.is_in_use or disk.sector_bytes != SECTOR_BYTES:
            return False
        try:
            with self._opened(f"/dev/{disk.name}", is_writable=False) as device:
                return device.read_at(0, installer.EDGE_BYTES) == bytes(installer.EDGE_BYTES)
        except OSError:
            return False

    def _carry_out(self, step: Step) -> None:
        match step:
            case Erase():
                self._erase(step)
            case Run():
                self._run(step)
            case Copy():
                self._copy(step)
            case PutSeed():
                self._tools.folders.put(step.device, "seed.toml", step.content)

    def _run(self, step: Run) -> None:
        try:
            self._tools.runner.run(*step.argv, timeout_s=step.timeout_s)
        except CommandFailed:
            if not step.is_optional:
                raise

    def _erase(self, step: Erase) -> None:
        with self._opened(step.device, is_writable=True) as device:
            for offset, size in self._pieces(step.size):
                device.write_at(step.offset + offset, bytes(size))
            device.sync()

    def _copy(self, step: Copy) -> None:
        with (
            self._opened(step.source, is_writable=False) as source,
            self._opened(step.target, is_writable=True) as target,
        ):
            for offset, size in self._pieces(step.size):
                target.write_at(offset, source.read_at(offset, size))
            target.sync()
        if self._digest(step.target, step.size) != step.sha256:
            raise MaculaError(f"{step.target} does not keep what is written to it: another disk?")

    def _digest(self, path: str, size: int) -> str:
        digest = hashlib.sha256()
        with self._opened(path, is_writable=False) as device:
            for offset, length in self._pieces(size):
                digest.update(device.read_at(offset, length))
        return digest.hexdigest()

    def _pieces(self, size: int) -> Iterator[tuple[int, int]]:
        chunk = self._tools.chunk_bytes
        for offset in range(0, size, chunk):
            yield offset, min(chunk, size - offset)

    @contextmanager
    def _opened(self, path: str, *, is_writable: bool) -> Iterator[SlotDevice]:
        device = self._tools.devices.open(path, is_writable=is_writable)
        try:
            yield device
        finally:
            device.close()


class Conversation:
    """What people see on a console, and what they type."""

    def __init__(
        self, machine: Installer, say: Callable[[str], None], ask: Callable[[str], str]
    ) -> None:
        self._machine = machine
        self._say = say
        self._ask = ask

    def hold(self) -> None:
        """Install by ``installer.toml``, else by what is typed; returns when all was said."""
        self._say("MaculaOS installer: it writes this system to a disk of this machine.")
        try:
            answers = self._machine.answers()
            if answers is not None:
                self._unattended(answers)
                return
        except (MaculaError, OSError) as error:
            self._say(_line(error))
        self._attended()

    def _unattended(self, answers: Answers) -> None:
        disk = self._machine.install(lambda facts: installer.check_unattended(facts, answers))
        self._say(f"{disk.name} is done ({answers.ending})")
        self._machine.end(answers.ending)

    def _attended(self) -> None:
        for _ in range(_TRIES):
            facts = self._machine.look()
            for each in facts.disks:
                here = "  (the installer)" if each.name == facts.stick.disk else ""
                self._say(f"  {each.describe()}{here}")
            name = self._ask("Everything on the disk will be lost. Its name in full, or nothing: ")
            if not name:
                continue
            try:
                disk = self._machine.install(functools.partial(installer.check, name=name))
            except (MaculaError, OSError) as error:
                self._say(_line(error))
                continue
            self._say(f"{disk.name} is done: the next start from it is its first.")
            self._ask("Remove the stick and press Enter: the machine restarts. ")
            self._machine.end(Ending.REBOOT)
            return


class MountedFolders:
    """Mounts a partition below ``work`` for as long as a file is read or written."""

    def __init__(self, runner: CommandRunner, work: Path = WORK) -> None:
        self._runner = runner
        self._work = work

    def read(self, device: str, name: str, limit: int) -> bytes | None:
        """See ``Folders.read``."""
        try:
            with (
                self._mounted("msdosfs", "ro,noexec,nosuid", device) as folder,
                (folder / name).open("rb") as opened,
            ):
                # One byte more than may be there, so that too much is noticed.
                return opened.read(limit + 1)
        except FileNotFoundError:
            return None

    def put(self, device: str, name: str, content: bytes) -> None:
        """See ``Folders.put``."""
        with self._mounted("ufs", "rw,noatime", device) as folder:
            write_atomically(folder / name, content, mode=_SECRET)

    @contextmanager
    def _mounted(self, kind: str, options: str, device: str) -> Iterator[Path]:
        make_private_directory(self._work)
        folder = self._work / "mounted"
        make_private_directory(folder)
        # One that was killed leaves its mount behind.
        with suppress(CommandFailed):
            self._runner.run(*mount.unmount_argv(str(folder), by_force=True))
        self._runner.run("mount", "-t", kind, "-o", options, device, str(folder))
        try:
            yield folder
        finally:
            self._runner.run(*mount.unmount_argv(str(folder)))


class RawDevices:
    """The devices of this machine."""

    def open(self, path: str, *, is_writable: bool) -> RawDevice:
        """See ``Devices.open``."""
        return RawDevice(Path(path), is_writable=is_writable)


def main() -> None:
    """Run on this console; what people can mend becomes one line, never a traceback."""
    clock, runner = SystemClock(), SystemRunner()
    make_private_directory(WORK)
    machine = Installer(
        Tools(
            runner=runner,
            devices=RawDevices(),
            folders=MountedFolders(runner),
            say=_print,
            lock=functools.partial(locked_directory, WORK, clock, _LOCK_TIMEOUT_S),
            has_bios_code=BIOS_CODE.exists(),
        )
    )
    try:
        Conversation(machine, _print, _type).hold()
    except (MaculaError, OSError) as error:
        _print(_line(error))
        # The console is given to a new one; a person has to read this before.
        with suppress(EOFError):
            _type("Press Enter to begin again. ")
    except (EOFError, KeyboardInterrupt):
        sys.exit(1)


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'a disk'}: {error.strerror or error}"
    return " ".join(str(error).split())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _type(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = sys.stdin.readline(256)
    if not line:
        raise EOFError
    return line.strip()


if __name__ == "__main__":
    main()
