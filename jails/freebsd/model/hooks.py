"""The commands in a jail.conf: run on the machine, or inside the jail, as jail(8) runs them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.model.loop import SCRIPT, STATUS, Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.freebsd.model.jails import Jail
    from jails.freebsd.model.machine import Machine

# With one of these jail(8) leaves a command to the shell.
_SHELL_MARKS = set("!\"$&'()*;<>?[\\]`{|}~")
_SIMPLE = {"true": 0, "false": 1, "chown": 0}


def words_of(command: str) -> tuple[str, ...]:
    """The argument vector that jail(8) makes of one hook."""
    if _SHELL_MARKS & set(command):
        return ("/bin/sh", "-c", command)
    return tuple(command.split())


class Inside:
    """Programs that run inside a jail."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        # Programs of the test by path inside the jail: what they answer to jexec(8).
        self.programs: dict[str, Callable[[tuple[str, ...]], Answer]] = {}

    def exists(self, jail: Jail, path: str) -> bool:
        """Whether a file is there, as the jail sees it."""
        return self._machine.files.exists(self._machine.mounts.inside(jail.path + path))

    def hook(self, jail: Jail, command: str, timeout_s: float) -> Answer:
        """One ``exec.start`` or ``exec.stop``, from root's home, as jail(8) reports it."""
        said = f"jail: {jail.name}: "
        argv = words_of(command)
        failed = f"{said}{' '.join(argv)}: failed"
        if not self.exists(jail, "/root"):
            return refused(f"{said}chdir /root: No such file or directory\n{failed}")
        if argv[0].startswith("/") and not self.exists(jail, argv[0]):
            return refused(f"{said}exec {argv[0]}: No such file or directory\n{failed}")
        if argv[0] == "/bin/sleep":
            is_late = 0 < timeout_s < float(argv[1])
            return refused(f"{said}{' '.join(argv)}: timed out") if is_late else Answer()
        answer = self.run(jail, argv)
        return answer if answer.status == 0 else answer + refused(failed)

    def run(self, jail: Jail, argv: tuple[str, ...]) -> Answer:
        """One program inside ``jail``."""
        if argv[0] in self.programs:
            return self.programs[argv[0]](argv)
        match (argv[0].rpartition("/")[2], *argv[1:]):
            case ("true" | "false" | "chown" as name, *_):
                return Answer(status=_SIMPLE[name])
            case ("sh", "-c", text):
                return self._shell(jail, text)
            case ("daemon", *_):
                return self._daemon(jail, argv)
            case ("pgrep", "-x", name):
                return self._pgrep(jail, name)
        return self._network(jail, argv)

    def _network(self, jail: Jail, argv: tuple[str, ...]) -> Answer:
        match (argv[0].rpartition("/")[2], *argv[1:]):
            case ("ifconfig", *_):
                stack = jail.name if jail.has_stack else ""
                return self._machine.network.ifconfig(argv, stack)
            case ("route", "add", "default", gateway) if jail.has_stack:
                return Answer(f"add net default: gateway {gateway}\n")
            case ("sysctl", *_):
                return self._machine.tunables.sysctl(argv)
        raise UntaughtCommand(argv)

    def _shell(self, jail: Jail, text: str) -> Answer:
        answer = Answer()
        for command in text.split(";"):
            answer += self.run(jail, tuple(shlex.split(command)))
        return answer

    def _daemon(self, jail: Jail, argv: tuple[str, ...]) -> Answer:
        for flag in ("-P", "-p"):
            path = argv[argv.index(flag) + 1] if flag in argv else "/"
            folder = path.rpartition("/")[0]
            if folder and not self.exists(jail, folder):
                return refused(f"daemon: ppidfile ``{path}'': No such file or directory")
        loop = self._loop(jail) if argv[-2:] == ("/bin/sh", SCRIPT) else None
        _, written = self._machine.processes.start_daemon(jail.name, argv, loop)
        for path, content in written.items():
            self._machine.files.write(
                self._machine.mounts.inside(jail.path + path), content.encode()
            )
        return Answer()

    def _loop(self, jail: Jail) -> Loop | None:
        """The loop that the jail's script is; None without one."""
        script = self._machine.files.read(self._machine.mounts.inside(jail.path + SCRIPT))

        def write(status: bytes) -> None:
            path = self._machine.mounts.inside(jail.path + STATUS)
            # As a shell whose folder is gone: what cannot be written is not.
            if self._machine.files.exists(path.rpartition("/")[0]):
                self._machine.files.write(path, status)

        return None if script is None else Loop(script.decode(), write)

    def _pgrep(self, jail: Jail, name: str) -> Answer:
        found = [
            each.pid
            for each in self._machine.processes.of(jail.name)
            if not each.supervises and each.words[0].rpartition("/")[2] == name
        ]
        return Answer("".join(f"{pid}\n" for pid in found), status=0 if found else 1)
