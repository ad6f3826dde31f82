"""Programs as filters, awaited: bytes in, bytes out, with a bound on time and output.

For who has an event loop, and may give up: a program that nobody waits for any more ends at once,
with all it started. It runs in a session of its own. How many run at once is for the caller to
bound; without a loop, see ``maculaos.host.filters``.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.host.filters import NOT_FOUND_STATUS, Bound, Filtered

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_SAID: Final = 16_384
_CHUNK: Final = 65_536


async def run_filter(
    argv: tuple[str, ...], given: bytes, bound: Bound, variables: Mapping[str, str] | None = None
) -> Filtered:
    """Run ``argv`` on ``given``; never raises for what it does. Cancelled, it is ended by force.

    ``variables`` are added to the environment of this process.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        )
    except OSError as error:
        return Filtered(NOT_FOUND_STATUS, bytearray(), f"{argv[0]}: {error.strerror}")
    try:
        async with asyncio.timeout(bound.timeout_s):
            return await _serve(process, given, bound.output_bytes)
    except TimeoutError:
        return Filtered(None, bytearray(), f"stopped after {bound.timeout_s:g} s")
    finally:
        await _end(process)


async def _serve(process: asyncio.subprocess.Process, given: bytes, most: int) -> Filtered:
    """Serve the three streams at once, until both outputs end and the program too."""
    assert process.stdout is not None  # noqa: S101  # all three are pipes
    assert process.stderr is not None  # noqa: S101
    said = asyncio.create_task(_read_on(process.stderr, _MOST_SAID))
    fed = asyncio.create_task(_feed(process, given))
    try:
        output = await _read(process.stdout, most)
        if output is None:
            return Filtered(None, bytearray(), f"it says more than {most} bytes")
        words = await said
        status = await process.wait()
        return Filtered(status, output, words.decode(errors="replace"))
    finally:
        for task in (said, fed):
            task.cancel()
        await asyncio.gather(said, fed, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, given: bytes) -> None:
    assert process.stdin is not None  # noqa: S101  # it is a pipe
    # A program need not read what it is given.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()


async def _read(stream: asyncio.StreamReader, most: int) -> bytearray | None:
    """All of it; None if that is more than ``most`` bytes."""
    content = bytearray()
    while chunk := await stream.read(_CHUNK):
        content += chunk
        if len(content) > most:
            return None
    return content


async def _read_on(stream: asyncio.StreamReader, most: int) -> bytearray:
    """The first ``most`` bytes; the rest is read and forgotten, so that nobody is stuck."""
    content = bytearray()
    while chunk := await stream.read(_CHUNK):
        content += chunk[: most - len(content)]
    return content


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what still runs, with all that it started, and wait for it even if cancelled again."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    # The loop does not see the end of a program while one of its outputs is full and unread.
    unread = [_read_on(each, 0) for each in (process.stdout, process.stderr) if each is not None]
    await asyncio.shield(asyncio.gather(process.wait(), *unread))
