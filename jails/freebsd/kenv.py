"""kenv(1): what the loader told the kernel, such as the slot that was booted."""

from __future__ import annotations

import re

from jails.freebsd.unreadable import UnreadableAnswer

_LINE = re.compile(r'([^=\s]+)="(.*)"')


def read_argv() -> tuple[str, ...]:
    """The whole kernel environment."""
    return ("kenv",)


def parse_environment(text: str) -> dict[str, str]:
    """Answer of ``read_argv``; raises ``UnreadableAnswer``."""
    found = {}
    for line in filter(None, text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UnreadableAnswer("kenv", line)
        found[match[1]] = match[2]
    return found
