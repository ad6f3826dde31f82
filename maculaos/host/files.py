"""Files written so that a crash or a power cut leaves the old content or the new, never half."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``content``: temporary file beside it, fsync, rename, fsync of folder.

    The file has ``mode`` before any content is in it, so a secret is never readable by others.
    """
    # A name of our own making, not tempfile's, which would load a dozen modules into every keeper.
    temporary = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def remove_leftovers(path: Path) -> None:
    """Delete what killed writers of ``path`` left beside it; only when none is at work."""
    leftover = re.compile(re.escape(f".{path.name}.") + r"\d+\.[0-9a-f]{8}")
    for name in os.listdir(path.parent):
        if leftover.fullmatch(name):
            (path.parent / name).unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make renames and creations in that folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_directory(path: Path) -> Path:
    """Create ``path`` and the parents that are missing, each with mode 0700; return ``path``."""
    for missing in reversed([parent for parent in path.parents if not parent.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


class AlreadyLocked(UsageError):
    """Somebody else holds the lock."""


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; raises ``AlreadyLocked`` at once if another process has it.

    The kernel frees it when the holder dies, however that happens. The file stays: deleting a
    lock file while another process opens it would let two hold "the" lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            who = f" (process {holder})" if holder else ""
            raise AlreadyLocked(f"{path} is locked{who}", "stop the other one first") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)
