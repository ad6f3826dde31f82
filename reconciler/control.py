"""The reconciler's control socket: how ``reconciler sync|status|down`` talk to a running one.

A Unix socket of mode 0600. A client writes one JSON object in one line, ``{"do": "status"}``,
``{"do": "sync", "timeout_s": 60}``, ``{"do": "sync", "wait": false}`` or ``{"do": "stop"}``, and
reads one JSON object in one line; then the connection ends. What the words mean is decided by
whoever answers (the daemon).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory
from reconciler.settings import SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Answering: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

# The folders beside it are named like nodes, and no node has a dot in its name.
SOCKET_NAME: Final = "reconciler.control"
REQUEST_BYTES: Final = 4096
ANSWER_BYTES: Final = 16 * 1024 * 1024
# More at once are turned away.
CLIENTS: Final = 64
REQUEST_TIMEOUT_S: Final = 5.0
# How long answers may still go out once the reconciler has stopped.
LAST_ANSWERS_S: Final = 1.0
# What connecting and a quick answer may take, on top of what a request itself asks for.
ANSWER_TIMEOUT_S: Final = 10.0


class NoReconciler(UsageError):
    """Nobody answers on the control socket."""


@asynccontextmanager
async def serving(path: Path, answer: Answering) -> AsyncIterator[None]:
    """Serve the control socket at ``path`` while the context lasts; remove it afterwards.

    A socket file that a dead reconciler left is replaced; one that answers raises ``UsageError``.
    """
    make_private_directory(path.parent)
    await _refuse_living(path)
    conversations: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(conversations) >= CLIENTS:
            writer.close()
            return
        task = asyncio.create_task(_converse(reader, writer, answer))
        conversations.add(task)
        task.add_done_callback(conversations.discard)

    server = await asyncio.start_unix_server(serve, sock=_bound(path), limit=REQUEST_BYTES)
    try:
        yield
    finally:
        _remove(path)
        server.close()
        await _end(conversations)
        await server.wait_closed()


async def _end(conversations: set[asyncio.Task[None]]) -> None:
    """Let answers go out that are on their way; end the rest."""
    if conversations:
        _, late = await asyncio.wait(set(conversations), timeout=LAST_ANSWERS_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def ask(path: Path, request: dict[str, Any], timeout_s: float = 0.0) -> dict[str, Any]:
    """Ask the reconciler at ``path``; ``timeout_s`` is what the request itself may take.

    Raises ``NoReconciler`` if nobody listens there, ``UsageError`` if it does not answer or
    answers that the request failed.
    """
    try:
        async with asyncio.timeout(timeout_s + ANSWER_TIMEOUT_S):
            said = await _exchange(path, request)
    except TimeoutError:
        raise UsageError(
            "the reconciler did not answer in time", "look at its log, or ask again"
        ) from None
    if not said:
        raise NoReconciler("the reconciler ended before it answered", "look at its log")
    answer = _parsed(said)
    if "error" in answer:
        raise UsageError(str(answer["error"]), str(answer.get("hint", "")))
    return answer


async def _exchange(path: Path, request: dict[str, Any]) -> bytes:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES)
    except OSError as error:
        raise NoReconciler(
            f"no reconciler runs here ({path}: {error.strerror})", "start it: reconciler run"
        ) from error
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        await _close(writer)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answering
) -> None:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            line = await reader.readline()
        said = await _answered(line, answer)
        writer.write(json.dumps(said).encode() + b"\n")
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await writer.drain()
    except (TimeoutError, ConnectionError, ValueError):
        # The client went away, stays silent, or sends a line without an end: its loss.
        return
    finally:
        await _close(writer)


async def _answered(line: bytes, answer: Answering) -> dict[str, Any]:
    try:
        return await answer(_parsed(line))
    except UsageError as error:
        return {"error": error.what, "hint": error.hint}


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError("expected one JSON object in one line", 'for example {"do": "status"}')
    return found


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _refuse_living(path: Path) -> None:
    if not _is_socket(path):
        return
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return
    await _close(writer)
    raise UsageError(f"a reconciler already answers at {path}", "stop it: reconciler down")


def _is_socket(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is no socket", "remove it, or choose another run_dir")
    return True


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A listening socket that has mode 0600 before it has its name."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise UsageError(f"{path} is too long for a socket", "choose a shorter path for run_dir")
    temporary = path.with_name(f".{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(temporary))
        temporary.chmod(0o600)
        # A client that connects before this one listens is refused, as if it came too early.
        temporary.rename(path)
    except OSError as error:
        listener.close()
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror or error}", "check run_dir") from error
    return listener
