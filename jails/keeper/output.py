"""What a program wrote: kept in a file of bounded size and one older one, never more.

A full disk loses output, not the program: what cannot be written is dropped.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINES = 10_000


class BoundedLog:
    """Appends to ``path``; before it would pass ``limit`` bytes it becomes ``path``.1."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit

    def write(self, data: bytes) -> None:
        """Append; of more than the limit at once only the end is kept."""
        with suppress(OSError):
            self._append(data[-self._limit :])

    def _append(self, data: bytes) -> None:
        handle = _open_to_append(self._path)
        try:
            if os.fstat(handle).st_size + len(data) > self._limit:
                self._path.replace(older_log(self._path))
                os.close(handle)
                handle = _open_to_append(self._path)
            os.write(handle, data)
        finally:
            os.close(handle)


def older_log(path: Path) -> Path:
    """Where the log goes when it is full."""
    return path.with_name(f"{path.name}.1")


def log_size(path: Path) -> int:
    """Bytes in the log now, so that ``last_lines`` can begin after them."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def last_lines(path: Path, lines: int, *, since: int = 0) -> list[str]:
    """The last lines of the log and the older one, oldest first; empty if there is none.

    ``since`` bytes, from an earlier ``log_size``, are left out unless the log rotated meanwhile.
    """
    if lines <= 0:
        return []
    older, newer = _content(older_log(path)), _content(path)
    text = newer[since:] if 0 < since <= len(newer) else older + newer
    return text.decode(errors="replace").splitlines()[-min(lines, _MOST_LINES) :]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _open_to_append(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)
