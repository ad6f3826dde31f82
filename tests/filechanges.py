"""Changes to files, counted as they happen, so that a test can end everything right before one."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Watch:
    """Python keeps an audit hook for good, so there is one, which does nothing unless told."""

    def __init__(self) -> None:
        self.left = 0
        self.end: Callable[[], None] | None = None
        self.is_counted: Callable[[str], bool] = lambda _path: True
        sys.addaudithook(self._see)

    def _see(self, event: str, words: tuple[Any, ...]) -> None:
        if self.end is None or not _is_change(event, words) or not self._is_watched(words):
            return
        self.left -= 1
        if self.left == 0:
            self.end()

    def _is_watched(self, words: tuple[Any, ...]) -> bool:
        return all(self.is_counted(os.fsdecode(each)) for each in words[:2] if _is_path(each))


_watches: list[_Watch] = []


@contextmanager
def end_before(
    change: int, end: Callable[[], None], is_counted: Callable[[str], bool] | None = None
) -> Iterator[None]:
    """Call ``end`` right before the change of that number, counted from 1.

    Changes of paths that are not ``is_counted`` count for nothing.
    """
    watch = _watches[0] if _watches else _Watch()
    _watches[:] = [watch]
    watch.left, watch.is_counted = change, is_counted or (lambda _path: True)
    watch.end = end
    try:
        yield
    finally:
        watch.end = None


def _is_change(event: str, words: tuple[Any, ...]) -> bool:
    is_written = event == "open" and isinstance(words[2], int) and bool(words[2] & _WRITES)
    return event in _CHANGES or is_written


def _is_path(word: object) -> bool:
    return isinstance(word, str | bytes | os.PathLike)
