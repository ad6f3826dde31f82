"""The file of the control socket: where it may lie, who owns it, and who is at the other end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import stat
import struct
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# sun_path has 104 bytes on FreeBSD and macOS, 108 on Linux, with a zero byte at the end; the
# smallest holds everywhere, so that a configuration works on every system.
MAX_PATH_BYTES: Final = 103
# What the kernel may hold of what a program has not read yet. With its own default, which large
# events fill at once, a node could write no more than that in one turn of its loop.
_SEND_BUFFER_BYTES: Final = 1024 * 1024
_LOCK_WAIT_S: Final = 5.0
_LOCK_RETRY_S: Final = 0.02
# sys/un.h of FreeBSD and macOS: level and option that give a struct xucred.
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_XUCRED_SIZE: Final = 128


class AlreadyRunning(UsageError):
    """A living node answers on that socket."""


async def listen(path: Path, backlog: int) -> socket.socket:
    """A listening socket at ``path``, mode 0600; the socket of a dead node is replaced.

    Raises ``AlreadyRunning`` if a node listens there, ``UsageError`` for a path that is too long
    or lies where others could put a socket in its place.
    """
    check_path(path)
    folder = _check_folder(path)
    # Two nodes that start at once would both find the same dead socket; one at a time looks.
    async with _locked(folder):
        refuse_if_running(path)
        try:
            remove(path)
        except OSError as error:
            what = f"control_socket: {path} cannot be replaced: {error.strerror}"
            raise UsageError(what, "see whose it is, or name another socket") from error
        return _bind(path, backlog)


def remove(path: Path) -> None:
    """Delete the socket file, if it is there."""
    with suppress(FileNotFoundError):
        path.unlink()


def check_path(path: Path) -> None:
    """Raise ``UsageError`` if the path does not fit into a socket address."""
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise UsageError(
            f"control_socket: {path} has {size} bytes, a socket path has at most {MAX_PATH_BYTES}",
            "use a shorter path, such as /var/run/macula/n1.sock",
        )


def refuse_if_running(path: Path) -> None:
    """Raise ``AlreadyRunning`` if somebody listens at ``path``, ``UsageError`` if it is a file."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UsageError(f"control_socket: {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"control_socket: {path} exists and is no socket", "choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            pass  # its queue is full: somebody lives there, and is busy
        except OSError as error:
            raise UsageError(f"control_socket: {path}: {error.strerror}") from error
    raise AlreadyRunning(f"a node already runs on {path}", "stop it first, or name another socket")


def peer_may_enter(connected: socket.socket) -> bool:
    """Whether the process at the other end runs as our user or as root.

    The kernel tells this on Linux, FreeBSD and macOS. On other systems the mode of the socket
    file (0600) is the only guard, and everybody who could connect may enter.
    """
    if sys.platform.startswith("linux"):
        size = struct.calcsize("3i")
        said = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _pid, user, _group = struct.unpack("3i", said)
    elif sys.platform.startswith(("freebsd", "darwin")):
        said = connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
        _version, user = struct.unpack_from("=II", said)
    else:
        return True
    return user in {0, os.geteuid()}


def widen(connected: socket.socket) -> None:
    """Let the kernel hold more of what is on its way to the other end, if it may."""
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _check_folder(path: Path) -> Path:
    folder = path.parent
    try:
        make_private_directory(folder)
        found = folder.stat()
    except OSError as error:
        what = f"control_socket: {folder}: {error.strerror}"
        raise UsageError(what, "create the folder, or name another socket") from error
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid not in {0, os.geteuid()} or (others_write and not found.st_mode & stat.S_ISVTX):
        raise UsageError(
            f"control_socket: others may write to {folder}", f"run: chmod go-w {folder}"
        )
    return folder


@asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    """Hold the lock of that folder; the kernel frees it with the file, whatever happens."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(round(_LOCK_WAIT_S / _LOCK_RETRY_S)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_RETRY_S)
        else:
            raise UsageError(f"control_socket: {folder} stays locked", "see who holds it: fstat")
        yield
    finally:
        os.close(handle)


def _bind(path: Path, backlog: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must be right from the first moment, and fchmod on a socket is not portable.
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        what = f"control_socket: {path}: {error.strerror}"
        raise UsageError(what, "name another socket") from error
    finally:
        os.umask(before)
    return listening
