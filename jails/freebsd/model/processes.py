"""The processes of the model, ps(1) and kill(1), daemon(8) and the loop that it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.model.loop import Loop
from jails.spec import JailState

# What a clock for tests says at first, in seconds since the epoch.
_EPOCH = 1_800_000_000.0
_KILLED, _TERMINATED = 137, 143
_PROGRAM = ("/bin/sh", "/.launch/program")
_FLAGS_WITH_VALUE = ("-R", "-P", "-p", "-o", "-t", "-u", "-m")
_FLAGS = ("-f", "-r", "-c", "-S", "-H")


@dataclass(slots=True, kw_only=True)
class Process:
    """One process of a jail; with ``supervises`` it is a daemon(8), with that child's words."""

    pid: int
    parent: int
    jail: str
    user: str
    words: tuple[str, ...]
    supervises: tuple[str, ...] = ()
    title: str = ""
    # Seconds until daemon(8) starts an ended child again; None: never.
    restart_s: float | None = None
    # What a daemon(8) runs, and what its child is: the loop that keeps a program.
    loop: Loop | None = None


@dataclass(slots=True, kw_only=True)
class Processes:
    """All processes of jails. Time passes by ``advance``."""

    next_pid: int = 778
    alive: dict[int, Process] = field(default_factory=dict)
    now: float = 0.0
    # When which supervisor, daemon(8) or a loop, starts its child again.
    due: dict[int, float] = field(default_factory=dict)
    # Jails whose program ends as soon as it is started.
    broken: set[str] = field(default_factory=set)

    def start(self, jail: str, words: tuple[str, ...], user: str = "root", parent: int = 1) -> int:
        """A process that goes on until it is killed; returns its id."""
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        self.alive[pid] = Process(pid=pid, parent=parent, jail=jail, user=user, words=words)
        return pid

    def start_daemon(
        self, jail: str, argv: tuple[str, ...], loop: Loop | None = None
    ) -> tuple[int, dict[str, str]]:
        """daemon(8) with its child; returns its id and the files it writes, as the jail sees them.

        With a ``loop`` the child is one. Raises ``UntaughtCommand`` for a flag that was never
        tried.
        """
        options, words = _daemon_options(argv)
        pid = self.start(jail, argv)
        supervisor = self.alive[pid]
        supervisor.supervises, supervisor.loop = words, loop
        supervisor.title = options.get("-t", words[0].rpartition("/")[2])
        supervisor.restart_s = float(options.get("-R", "1")) if "-r" in options else None
        child = self._start_child(supervisor, options.get("-u", "root"))
        pids = {"-P": pid, "-p": child}
        return pid, {options[flag]: str(each) for flag, each in pids.items() if flag in options}

    def kill(self, argv: tuple[str, ...]) -> Answer:
        """kill(1) with a signal that ends: the process is gone, its supervisor waits."""
        if len(argv) != 3 or argv[1] not in ("-9", "-KILL", "-TERM"):
            raise UntaughtCommand(argv)
        pid = int(argv[2])
        if pid not in self.alive:
            return refused(f"kill: {pid}: No such process")
        self.end(pid, by_force=argv[1] != "-TERM")
        return Answer()

    def end(self, pid: int, *, by_force: bool = True, exit_status: int | None = None) -> None:
        """Let a process end, by a signal unless an ``exit_status`` is given.

        A daemon(8) or a loop that is asked, not killed, takes what it keeps with it.
        """
        gone = self.alive.pop(pid)
        self.due.pop(pid, None)
        keeper = self._keeper_of(pid)
        for child in [each for each in self.alive.values() if each.parent == pid]:
            child.parent = 1
            if gone.supervises and not by_force:
                self.end(child.pid, by_force=False)
        if _is_loop(gone) and not by_force:
            self._stop(gone)
        supervisor = self.alive.get(gone.parent)
        if keeper is not None:
            by_signal = _KILLED if by_force else _TERMINATED
            self._note_end(keeper, gone, by_signal if exit_status is None else exit_status)
        elif supervisor is not None and supervisor.restart_s is not None:
            self.due[supervisor.pid] = self.now + supervisor.restart_s
        elif supervisor is not None and supervisor.supervises:
            del self.alive[supervisor.pid]

    def end_all(self, jail: str) -> None:
        """Let every process of a jail end at once: each is asked, and does as it is asked."""
        of_jail = self.of(jail)
        for each in of_jail:
            del self.alive[each.pid]
            self.due.pop(each.pid, None)
        for each in of_jail:
            if _is_loop(each):
                self._stop(each)

    def advance(self, seconds: float) -> None:
        """Let time pass; whatever falls due in it happens at its moment."""
        until = self.now + seconds
        while due := min(((when, pid) for pid, when in self.due.items()), default=None):
            when, pid = due
            if when > until:
                break
            self.now = max(self.now, when)
            del self.due[pid]
            keeper = self.alive.get(pid)
            if keeper is not None and _is_loop(keeper):
                self._begin(keeper)
            elif keeper is not None:
                self._start_child(keeper, "root")
        self.now = until

    def _start_child(self, supervisor: Process, user: str) -> int:
        child = self.start(supervisor.jail, supervisor.supervises, user, supervisor.pid)
        if supervisor.loop is not None:
            self.alive[child].loop = supervisor.loop
            self._go_on(self.alive[child])
        elif supervisor.jail in self.broken:
            self.end(child)
        return child

    def _go_on(self, keeper: Process) -> None:
        """A loop that was just started does what the one before it left undone."""
        loop = keeper.loop
        if loop is None or loop.program in self.alive:
            return
        if loop.state is JailState.FAILED:
            self._finish(keeper)
        elif loop.state is JailState.RUNNING:
            self._note_end(keeper, None, _KILLED)
        elif loop.state is JailState.BACKING_OFF:
            self.due[keeper.pid] = max(self.now, loop.next_start - _EPOCH)
        else:
            self._begin(keeper)

    def _begin(self, keeper: Process) -> None:
        """A loop starts its program."""
        if keeper.loop is not None:
            program = self.start(keeper.jail, _PROGRAM, keeper.loop.user, keeper.pid)
            keeper.loop.started(program, _EPOCH + self.now)
            if keeper.jail in self.broken:
                self.end(program, exit_status=1)

    def _note_end(self, keeper: Process, program: Process | None, exit_status: int) -> None:
        """A loop sees, or finds, that its program is gone."""
        if keeper.loop is None:
            return
        is_seen = program is not None and program.parent == keeper.pid
        keeper.loop.ended(exit_status, _EPOCH + self.now, is_seen=is_seen)
        if keeper.loop.state is JailState.FAILED:
            self._finish(keeper)
        else:
            self.due[keeper.pid] = keeper.loop.next_start - _EPOCH

    def _finish(self, keeper: Process) -> None:
        """A loop ends for good, and its daemon(8) with it."""
        for pid in (keeper.parent, keeper.pid):
            self.alive.pop(pid, None)

    def _stop(self, gone: Process) -> None:
        """A loop that was asked to end has asked its program, and saw it end."""
        if gone.loop is not None:
            program = gone.loop.program
            gone.loop.stopped(_TERMINATED)
            if program is not None:
                self.alive.pop(program, None)

    def _keeper_of(self, program: int) -> Process | None:
        """The loop that keeps it, whichever started it."""
        loops = (each for each in self.alive.values() if each.loop and _is_loop(each))
        return next((each for each in loops if each.loop and each.loop.program == program), None)

    def of(self, jail: str) -> list[Process]:
        """The processes of a jail, by id."""
        return [each for _, each in sorted(self.alive.items()) if each.jail == jail]

    def ps(self, argv: tuple[str, ...], jids: dict[str, int]) -> Answer:
        """ps(1) of one jail with chosen columns."""
        if len(argv) != 5 or (argv[1], argv[3]) != ("-J", "-o"):
            raise UntaughtCommand(argv)
        jail, columns = argv[2], argv[4].split(",")
        if jail not in jids:
            return refused(f"ps: Invalid jail id: {jail}")
        rows = [[column.upper() for column in columns]]
        rows += [[self._cell(each, c, jids[jail]) for c in columns] for each in self.of(jail)]
        return Answer("".join(f"{' '.join(row)}\n" for row in _aligned(rows, columns)))

    def _cell(self, process: Process, column: str, jid: int) -> str:
        if column == "command":
            return self._title(process)
        return str(
            {"pid": process.pid, "ppid": process.parent, "jid": jid, "user": process.user}[column]
        )

    def _title(self, process: Process) -> str:
        if not process.supervises:
            return " ".join(process.words)
        child = next((e.pid for e in self.alive.values() if e.parent == process.pid), None)
        return f"daemon: {process.title}[{child or ''}] (daemon)"


def _is_loop(process: Process) -> bool:
    return process.loop is not None and not process.supervises


def _aligned(rows: list[list[str]], columns: list[str]) -> list[list[str]]:
    """Numbers to the right, words to the left, the last column as it is."""
    numbers = ("pid", "ppid", "jid")
    widths = [max(len(row[n]) for row in rows) for n in range(len(columns))]
    return [
        [
            cell.rjust(widths[n]) if columns[n] in numbers else cell.ljust(widths[n])
            for n, cell in enumerate(row[:-1])
        ]
        + [row[-1]]
        for row in rows
    ]


def _daemon_options(argv: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    options: dict[str, str] = {}
    words = list(argv[1:])
    while words and words[0].startswith("-"):
        flag = words.pop(0)
        if flag == "--":
            break
        if flag not in (*_FLAGS, *_FLAGS_WITH_VALUE):
            raise UntaughtCommand(argv)
        options[flag] = words.pop(0) if flag in _FLAGS_WITH_VALUE else ""
    if not words:
        raise UntaughtCommand(argv)
    return options, tuple(words)
