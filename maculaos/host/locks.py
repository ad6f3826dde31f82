"""Locks that the kernel frees when the last holder dies, however that happens (``flock(2)``).

A lock belongs to an open file, so a child that inherits the file holds the lock too. This module
does not wait for anything by itself except in ``locked_directory``, and then with a deadline.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maculaos.host.files import AlreadyLocked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maculaos.host.clock import Clock

_RETRY_S = 0.02


def take_lock(path: Path) -> int:
    """Lock the file ``path``, made with mode 0600 if missing; return its descriptor, to be kept.

    Raises ``AlreadyLocked`` at once if another process has it. Closing every copy of the
    descriptor frees the lock; the file stays, since deleting it would let two hold "the" lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if not _try_lock(handle):
        os.close(handle)
        raise AlreadyLocked(f"{path} is locked", "stop the other one first")
    return handle


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock file ``path``. Looking takes the lock for a moment."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(handle)
    finally:
        os.close(handle)


@contextmanager
def locked_directory(path: Path, clock: Clock, timeout_s: float) -> Iterator[None]:
    """Hold the directory ``path`` against others that use this function, waiting up to that long.

    Raises ``FileNotFoundError`` if there is no such directory, or if it was deleted meanwhile,
    and ``AlreadyLocked`` when the time is over. A directory can be its own lock file because the
    path is compared with what was locked: one that was deleted and made anew is another lock.
    """
    deadline = clock.monotonic() + timeout_s
    while True:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if _try_lock(handle) and os.path.samestat(os.fstat(handle), path.lstat()):
                yield
                return
        finally:
            os.close(handle)
        if clock.monotonic() >= deadline:
            raise AlreadyLocked(f"{path} is locked", "another process works on it: try again")
        clock.sleep(_RETRY_S)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
