"""Programs whose input and output are streamed, or handed on: nothing is kept whole in memory.

For programs that wait until they end and say little, see ``maculaos.host.commands``. Each leads
a session of its own, so that whatever it started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

PIECE_BYTES = 64 * 1024
SAID_BYTES = 4096


class PipedProgram:
    """A running program: pieces in, pieces out, and the start of what it says on stderr."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._source = source
        self._sink = sink
        self.said = ""

    async def write(self, piece: bytes) -> bool:
        """Hand ``piece`` to its input; return whether it still takes any."""
        try:
            self._sink.write(piece)
            await self._sink.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def close_input(self) -> None:
        """Let its input end."""
        self._sink.close()

    async def read(self) -> bytes:
        """The next piece of its output; empty at the end."""
        return await self._source.read(PIECE_BYTES)

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Its output up to the first ``mark`` or the end, and what came with it.

        Raises ``ValueError`` if there is no mark within ``limit`` bytes.
        """
        found = b""
        while mark not in found:
            if len(found) > limit:
                raise ValueError(f"no {mark!r} within {limit} bytes")
            piece = await self.read()
            if not piece:
                return found
            found += piece
        return found

    def kill(self) -> None:
        """End it, and what it started in its session."""
        if self._process.returncode is None:
            _kill_group(self._process.pid)

    async def ended(self) -> int:
        """Wait for the end: the exit status, or the negative number of the signal."""
        return await self._process.wait()


@asynccontextmanager
async def piped(
    *argv: str, environment: Mapping[str, str], directory: Path
) -> AsyncIterator[PipedProgram]:
    """Run a program while the context lasts; whatever is left of it then is killed.

    Raises ``CommandFailed`` with status 127 if there is no such program.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise CommandFailed(argv, 127, f"{argv[0]}: not found") from error
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise CommandFailed(argv, None, "no pipes")
    program = PipedProgram(process, process.stdout, process.stdin)
    listening = asyncio.create_task(_listen(process.stderr, program))
    try:
        yield program
    finally:
        # The group is signalled before its leader is reaped, so the number is still its own.
        program.kill()
        process.stdin.close()
        await process.wait()
        # What the leader left behind may hold its output open; it gets no second chance.
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]


async def _listen(stream: asyncio.StreamReader, program: PipedProgram) -> None:
    """Take all that it says, so that it never waits, and keep the start."""
    kept = b""
    while piece := await stream.read(PIECE_BYTES):
        kept = (kept + piece)[:SAID_BYTES]
        program.said = kept.decode(errors="replace").strip()


def run_attached(*argv: str, environment: Mapping[str, str], timeout_s: float) -> int:
    """Run a program on our own standard streams; its exit status, 124 if it took too long.

    Raises ``CommandFailed`` with status 127 if there is no such program.
    """
    try:
        process = subprocess.Popen(argv, env=dict(environment), start_new_session=True)
    except FileNotFoundError as error:
        raise CommandFailed(argv, 127, f"{argv[0]}: not found") from error
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        if process.returncode is None:
            _kill_group(process.pid)
            process.wait()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
