"""One HTTP request to somebody else's server: asked, answered, and closed.

It speaks HTTP/1.1 through h11, over TLS with the usual checks. Redirects are not followed, no proxy
is asked, nothing is tried again and no connection is kept: that is for its callers, who know what
they ask for. Cancelled, it lets go at once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11

from maculaos.errors import UsageError
from maculaos.host.threads import in_thread
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import SplitResult

MOST_ANSWER_BYTES: Final = 64 * 1024
MOST_HEAD_BYTES: Final = 32 * 1024
_PIECE_BYTES: Final = 16 * 1024


class NoAnswer(UsageError):
    """The server could not be reached, is not whom it says, or speaks no HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked; the URL is https, or http where the caller says that it may be."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered; names of headers in lower case, and no more of the body than is kept."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(question: Question, timeout_s: float, authorities: Path | None = None) -> Answer:
    """The answer to ``question``, within ``timeout_s`` in all; raises ``NoAnswer``.

    ``authorities`` is a file of certificates to believe, instead of those of the system.
    """
    parts = urlsplit(question.url)
    try:
        async with asyncio.timeout(timeout_s):
            return await _asked(question, parts, authorities)
    except TimeoutError:
        raise NoAnswer(f"{parts.hostname} does not answer within {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {parts.hostname} is not trusted: {error.verify_message}"
        raise NoAnswer(what, "name the authority that signed it: ca_file") from error
    except (OSError, h11.ProtocolError, UnicodeError) as error:
        reason = one_line(getattr(error, "strerror", "") or str(error) or type(error).__name__)
        raise NoAnswer(f"{parts.hostname} cannot be asked: {reason}") from error


async def _asked(question: Question, parts: SplitResult, authorities: Path | None) -> Answer:
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    tls = await in_thread(_tls, authorities) if parts.scheme == "https" else None
    # Names are looked up in a thread that nobody waits for at the end.
    found = await in_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    reader, writer = await _connected([str(one[4][0]) for one in found], port, tls, host)
    try:
        machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD_BYTES)
        writer.write(_request(machine, question, parts))
        await writer.drain()
        return await _answer(machine, reader)
    finally:
        writer.transport.abort()


async def _connected(
    addresses: list[str], port: int, tls: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if tls is None else host
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
        except ssl.SSLError:
            raise
        except OSError:
            continue
    return await asyncio.open_connection(addresses[-1], port, ssl=tls, server_hostname=name)


def _tls(authorities: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _request(machine: h11.Connection, question: Question, parts: SplitResult) -> bytes:
    headers = [
        ("Host", parts.netloc),
        ("Content-Length", str(len(question.body))),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        *question.headers.items(),
    ]
    request = h11.Request(
        method=question.method,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers=[(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers],
    )
    sent = machine.send(request) or b""
    if question.body:
        sent += machine.send(h11.Data(data=question.body)) or b""
    return sent + (machine.send(h11.EndOfMessage()) or b"")


async def _answer(machine: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    """The answer; what of its body is beyond the bound nobody reads."""
    head: h11.Response | None = None
    body = bytearray()
    while len(body) < MOST_ANSWER_BYTES:
        event = machine.next_event()
        if event is h11.NEED_DATA:
            machine.receive_data(await reader.read(_PIECE_BYTES))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            break
    if head is None:
        raise ConnectionResetError("it hung up without an answer")
    headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in head.headers}
    return Answer(status=head.status_code, headers=headers, body=bytes(body[:MOST_ANSWER_BYTES]))
