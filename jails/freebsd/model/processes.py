"""The processes of the model, ps(1) and kill(1), and daemon(8) that starts its child again."""

from __future__ import annotations

from dataclasses import dataclass, field

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused

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


@dataclass(slots=True, kw_only=True)
class Processes:
    """All processes of jails. Time passes by ``advance``."""

    next_pid: int = 778
    alive: dict[int, Process] = field(default_factory=dict)
    now: float = 0.0
    # When which supervisor starts its child again.
    due: dict[int, float] = field(default_factory=dict)
    # Jails whose program ends as soon as it is started.
    broken: set[str] = field(default_factory=set)

    def start(self, jail: str, words: tuple[str, ...], user: str = "root", parent: int = 1) -> int:
        """A process that goes on until it is killed; returns its id."""
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        self.alive[pid] = Process(pid=pid, parent=parent, jail=jail, user=user, words=words)
        return pid

    def start_daemon(self, jail: str, argv: tuple[str, ...]) -> tuple[int, dict[str, str]]:
        """daemon(8) with its child; returns its id and the files it writes, as the jail sees them.

        Raises ``UntaughtCommand`` for a flag that was never tried.
        """
        options, words = _daemon_options(argv)
        pid = self.start(jail, argv)
        supervisor = self.alive[pid]
        supervisor.supervises = words
        supervisor.title = options.get("-t", words[0].rpartition("/")[2])
        supervisor.restart_s = float(options.get("-R", "1")) if "-r" in options else None
        supervisor.user = "root"
        child = self.start(jail, words, options.get("-u", "root"), pid)
        if jail in self.broken:
            self.end(child)
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

    def end(self, pid: int, *, by_force: bool = True) -> None:
        """Let a process end; a daemon(8) that is asked, not killed, takes its child with it."""
        gone = self.alive.pop(pid)
        children = [each for each in self.alive.values() if each.parent == pid]
        for child in children:
            if gone.supervises and not by_force:
                del self.alive[child.pid]
            else:
                child.parent = 1
        supervisor = self.alive.get(gone.parent)
        if supervisor is not None and supervisor.restart_s is not None:
            self.due[supervisor.pid] = self.now + supervisor.restart_s
        elif supervisor is not None and supervisor.supervises:
            del self.alive[supervisor.pid]

    def end_all(self, jail: str) -> None:
        """Let every process of a jail end at once."""
        for pid in [each.pid for each in self.alive.values() if each.jail == jail]:
            del self.alive[pid]

    def advance(self, seconds: float) -> None:
        """Let time pass; children that are due start again."""
        self.now += seconds
        for pid in [pid for pid, due in self.due.items() if due <= self.now]:
            del self.due[pid]
            supervisor = self.alive.get(pid)
            if supervisor is not None:
                child = self.start(supervisor.jail, supervisor.supervises, parent=pid)
                if supervisor.jail in self.broken:
                    self.end(child)

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
