"""ps(1): the processes of one jail. An unknown jail is an error of the tool, not an empty list."""

from __future__ import annotations

from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_COLUMNS = ("PID", "PPID", "JID", "USER", "COMMAND")


@dataclass(frozen=True, slots=True, kw_only=True)
class JailProcess:
    """One process; ``command`` is what it calls itself, and nothing to trust."""

    pid: int
    parent: int
    jid: int
    user: str
    command: str


def list_argv(jail: str) -> tuple[str, ...]:
    """The processes of ``jail``, the eldest first."""
    return ("ps", "-J", jail, "-o", "pid,ppid,jid,user,command")


def parse_processes(text: str) -> tuple[JailProcess, ...]:
    """Answer of ``list_argv``; raises ``UnreadableAnswer``."""
    header, *lines = text.splitlines() or [""]
    if tuple(header.split()) != _COLUMNS:
        raise UnreadableAnswer("ps", header)
    return tuple(_process(line) for line in lines if line)


def _process(line: str) -> JailProcess:
    fields = line.split(maxsplit=len(_COLUMNS) - 1)
    try:
        pid, parent, jid = (int(field) for field in fields[:3])
        return JailProcess(pid=pid, parent=parent, jid=jid, user=fields[3], command=fields[4])
    except (ValueError, IndexError) as error:
        raise UnreadableAnswer("ps", line) from error
