"""sysctl(8): the kernel's tunables, read and set. Values that span lines are not read here."""

from __future__ import annotations

import re

from jails.freebsd.unreadable import UnreadableAnswer

_LINE = re.compile(r"([A-Za-z0-9_%]+(?:\.[A-Za-z0-9_%-]+)+): ?(.*)")


def read_argv(*names: str) -> tuple[str, ...]:
    """The named tunables; a name of a branch means all below it."""
    return ("sysctl", *names)


def value_argv(name: str) -> tuple[str, ...]:
    """The value of one tunable and nothing else; an unknown one is an error of the tool."""
    return ("sysctl", "-n", name)


def set_argv(name: str, value: str | int) -> tuple[str, ...]:
    """Set one tunable."""
    return ("sysctl", f"{name}={value}")


def parse_tunables(text: str) -> dict[str, str]:
    """Answer of ``read_argv``, by name; raises ``UnreadableAnswer``."""
    found = {}
    for line in filter(None, text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UnreadableAnswer("sysctl", line)
        found[match[1]] = match[2]
    return found


def parse_change(text: str) -> tuple[str, str]:
    """Old and new value, from an answer of ``set_argv``; raises ``UnreadableAnswer``."""
    lines = list(parse_tunables(text).values())
    old, arrow, new = lines[0].partition(" -> ") if len(lines) == 1 else ("", "", "")
    if not arrow:
        raise UnreadableAnswer("sysctl", text)
    return old, new
