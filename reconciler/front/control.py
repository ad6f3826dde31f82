"""The front's control socket: whoever asks has what is new taken up first, and hears how it stands.

A Unix socket of mode 0600; a client writes one line and reads one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from reconciler.front.server import Front

# What a client writes to have every file looked at first, however quiet the folder seems.
LOOK: Final = b"look"
REQUEST_BYTES: Final = 256
REQUEST_S: Final = 2.0
ASKERS: Final = 8


@asynccontextmanager
async def answering(path: Path, front: Front) -> AsyncIterator[None]:
    """Answer at ``path`` while the context lasts; raises ``OSError``. What lay there is replaced:
    only one front runs here at a time."""
    askers: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(askers) >= ASKERS:
            writer.close()
            return
        task = asyncio.create_task(_answer(reader, writer, front))
        askers.add(task)
        task.add_done_callback(askers.discard)

    server = await asyncio.start_unix_server(serve, sock=_bound(path), limit=REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in askers:
            task.cancel()
        await asyncio.gather(*askers, return_exceptions=True)
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def _bound(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, front: Front) -> None:
    try:
        async with asyncio.timeout(REQUEST_S):
            asked = await reader.readline()
            if asked:
                await front.glance(is_asked=asked.strip() == LOOK)
                said = {**front.report(), "pid": os.getpid()}
                writer.write(json.dumps(said).encode() + b"\n")
                await writer.drain()
    except (OSError, ValueError):
        # Who asks is gone, late, or says too much.
        return
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
