"""The model of a FreeBSD machine as a ``CommandRunner``, and what can be made to go wrong on it."""

from __future__ import annotations

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.model.hooks import Inside
from jails.freebsd.model.jail import JailCommand
from jails.freebsd.model.machine import Machine
from maculaos.host.commands import DEFAULT_TIMEOUT_S, CommandFailed

# The recorded machine's only routes.
_ROUTES = """\
Routing tables

Internet:
Destination        Gateway            Flags     Netif Expire
default            10.0.2.2           UGS      vtnet0
10.0.2.0/24        link#1             U        vtnet0
10.0.2.15          link#1             UHS         lo0
127.0.0.1          link#2             UH          lo0
"""
_NO_ROUTES = "Routing tables\n"


class Crashed(BaseException):
    """Whoever drives the model died here. No ``Exception``: nothing that drives it may go on."""


class ModelHost(Machine):
    """A machine like the recorded one, fresh from boot, with one disk and one network card.

    What goes wrong is set by the test: ``crash_at`` (a moment), ``mounts.busy`` (a path and how
    often it is refused), ``jails.linger`` (a jail and for how many looks it is dying).
    """

    def __init__(self) -> None:
        super().__init__()
        self.inside = Inside(self)
        self._jail = JailCommand(self, self.inside, run=self._execute, stage=self._pass_moment)
        self.asked: list[tuple[str, ...]] = []
        # Moments: one before and one after each command, and one after each stage of jail(8).
        self.moments = 0
        self.crash_at: int | None = None
        self.system, self.user = "FreeBSD", "0"
        # Whether there is a default route.
        self.has_way_out = True

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``; raises ``Crashed`` at the moment ``crash_at``."""
        del timeout_s
        answer = self.answer(*argv, stdin=stdin)
        if answer.status != 0:
            raise CommandFailed(argv, answer.status, answer.stderr)
        return answer.stdout

    def answer(self, *argv: str, stdin: bytes = b"") -> Answer:
        """Everything that ``argv`` answers; raises ``UntaughtCommand``."""
        self._pass_moment()
        self.asked.append(argv)
        answer = self._execute(argv, stdin)
        self._pass_moment()
        return answer

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.processes.advance(seconds)

    def _execute(self, argv: tuple[str, ...], stdin: bytes = b"") -> Answer:
        """One command of the machine, whoever runs it."""
        argv = (argv[0].rpartition("/")[2], *argv[1:])
        match argv[0]:
            case "jail":
                return self._jail.jail(argv)
            case "jls":
                return self.jails.jls(argv)
            case "jexec":
                return self._jexec(argv)
            case "ifconfig":
                return self.network.ifconfig(argv)
            case "mount":
                return self.mounts.mount(argv)
            case "umount":
                return self.mounts.umount(argv)
        return self._execute_more(argv, stdin)

    def _execute_more(self, argv: tuple[str, ...], stdin: bytes) -> Answer:
        match argv:
            case ("rctl", *_):
                return self.limits.rctl(argv)
            case ("pfctl", *_):
                return self.firewall.pfctl(argv, stdin)
            case ("sysctl", *_):
                return self.tunables.sysctl(argv)
            case ("ps", *_):
                jids = {name: jail.jid for name, jail in self.jails.alive.items()}
                return self.processes.ps(argv, jids)
            case ("kill", *_):
                return self.processes.kill(argv)
            case ("netstat", *_):
                return self._netstat(argv)
            case ("zfs", *_):
                return self.pool.zfs(argv)
        return self._execute_plain(argv)

    def _netstat(self, argv: tuple[str, ...]) -> Answer:
        match argv[1:]:
            case ("-rn", "-f", "inet"):
                return Answer(_ROUTES if self.has_way_out else _NO_ROUTES)
            case ("-I", name, "-b", "-n", "--libxo", "json"):
                return self.network.traffic(name)
        raise UntaughtCommand(argv)

    def _execute_plain(self, argv: tuple[str, ...]) -> Answer:
        """Commands that know nothing of jails."""
        match argv:
            case ("sh", "-c", text):
                answer = Answer()
                for command in text.split(";"):
                    answer += self._execute(tuple(command.split()))
                return answer
            case ("mkdir", "-p", *paths):
                return self.files.mkdir(*paths)
            case ("cp", *sources, folder):
                return self.files.copy(*sources, folder=folder)
            case ("cat", path):
                return self.files.cat(path)
            case ("uname" | "id" as name, "-s" | "-u"):
                return Answer(f"{self.system if name == 'uname' else self.user}\n")
            case ("sleep", seconds):
                self.advance(float(seconds))
                return Answer()
        raise UntaughtCommand(argv)

    def _jexec(self, argv: tuple[str, ...]) -> Answer:
        # An account of the jail; the model knows of no rights.
        name, *command = argv[3:] if argv[1] == "-U" else argv[1:]
        jail = self.jails.alive.get(name)
        if jail is None:
            return refused(f'jexec: jail "{name}" not found')
        return self.inside.run(jail, tuple(command))

    def _pass_moment(self) -> None:
        self.moments += 1
        if self.moments == self.crash_at:
            raise Crashed
