"""The HTTP server: connections with bounds on their number, their size and their time.

It knows no routes and no users: a handler gets each ``Exchange``. There is no HTTP/2, no
compression, no file serving and no web framework on purpose.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import h11

from maculaos.errors import UsageError
from reconciler.web.exchange import ClientGone, Exchange, Request, Wire
from reconciler.web.listening import Certificate, Endpoint, check_privacy, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Handler = Callable[[Exchange], Awaitable[None]]

# After a refusal that did not read the whole request, this much of it is still taken, so that the
# client reads the answer instead of hearing that its connection was cut.
_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 256 * 1024
_PIECE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """Bounds of one server; times in seconds."""

    connections: int = 64
    head_bytes: int = 16 * 1024
    head_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    exchange_timeout_s: float = 30.0


@asynccontextmanager
async def serving_web(
    endpoint: Endpoint,
    handler: Handler,
    limits: WebLimits,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Endpoint]:
    """Serve while the context lasts; yields where. Raises ``UsageError`` if that is taken."""
    conversations: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(conversations) >= limits.connections:
            writer.transport.abort()
            return
        task = asyncio.create_task(_converse(reader, writer, handler, limits))
        conversations.add(task)
        task.add_done_callback(partial(_ended, conversations))

    timeout_s = None if tls is None else limits.head_timeout_s
    try:
        server = await asyncio.start_server(
            serve, endpoint.host, endpoint.port, ssl=tls, ssl_handshake_timeout=timeout_s
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen on {endpoint}: {reason}", "choose another port") from error
    try:
        yield Endpoint(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for task in tuple(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await server.wait_closed()


class Offer(Protocol):
    """The settings that every listener has."""

    @property
    def listen(self) -> str:
        """IP address and TCP port."""
        ...

    @property
    def certificate(self) -> Path | None:
        """The chain that it shows; None: plain text."""
        ...

    @property
    def key(self) -> Path | None:
        """The key of that certificate."""
        ...

    @property
    def behind_proxy(self) -> bool:
        """Whether plain text is fine beyond loopback."""
        ...


def prepared(offer: Offer) -> tuple[Endpoint, ssl.SSLContext | None]:
    """Where to listen and with which TLS; raises ``UsageError`` if that is of no use."""
    endpoint, tls = parse_endpoint(offer.listen), None
    if offer.certificate is not None and offer.key is not None:
        tls = tls_context(Certificate(chain=offer.certificate, key=offer.key))
    check_privacy(endpoint, has_tls=tls is not None, behind_proxy=offer.behind_proxy)
    return endpoint, tls


def tls_context(certificate: Certificate) -> ssl.SSLContext:
    """TLS 1.2 or newer with that certificate; raises ``UsageError`` if it cannot be used."""
    try:
        if certificate.key.stat().st_mode & 0o077:
            raise UsageError(
                f"{certificate.key} may be read by others", f"chmod 600 {certificate.key}"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate.chain, certificate.key)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or str(error)
        hint = "name a PEM certificate chain and its key"
        raise UsageError(f"{certificate.chain}, {certificate.key}: {reason}", hint) from error
    return context


def _ended(conversations: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    conversations.discard(task)
    # A bug in a handler goes to the loop's exception handler, and ends its connection only.
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "a web handler failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handler: Handler,
    limits: WebLimits,
) -> None:
    peer = str((writer.get_extra_info("peername") or ("",))[0])
    wire = Wire(reader, writer, head_bytes=limits.head_bytes, idle_timeout_s=limits.idle_timeout_s)
    try:
        while await _one_exchange(wire, handler, limits, peer):
            wire.machine.start_next_cycle()
        if wire.machine.their_state is h11.SEND_BODY:
            await _linger(reader, writer)
        await _close(writer, limits.idle_timeout_s)
    except (ClientGone, OSError):
        return
    finally:
        writer.transport.abort()


async def _one_exchange(wire: Wire, handler: Handler, limits: WebLimits, peer: str) -> bool:
    """Take and answer one request; return whether the connection can take another."""
    try:
        async with asyncio.timeout(limits.head_timeout_s):
            event = await wire.next_event()
    except TimeoutError:
        return False
    except h11.RemoteProtocolError as error:
        await _refuse(wire, error.error_status_hint)
        return False
    if not isinstance(event, h11.Request):
        return False
    exchange = Exchange(_request(event, peer), wire)
    try:
        async with asyncio.timeout(limits.exchange_timeout_s):
            await handler(exchange)
    except TimeoutError:
        if exchange.is_untouched:
            await exchange.answer(408)
        return False
    states = wire.machine.states
    return states[h11.CLIENT] is h11.DONE and states[h11.SERVER] is h11.DONE


async def _refuse(wire: Wire, status: int) -> None:
    """Answer a request that was not even understood."""
    if wire.machine.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
        headers = [("Content-Length", "0"), ("Connection", "close")]
        await wire.send(h11.Response(status_code=status, headers=headers))
        await wire.send(h11.EndOfMessage())


def _request(event: h11.Request, peer: str) -> Request:
    headers: dict[str, str] = {}
    for name, text in event.headers:
        known, said = name.decode("latin-1"), text.decode("latin-1")
        headers[known] = f"{headers[known]}, {said}" if known in headers else said
    return Request(
        method=event.method.decode("latin-1"),
        target=event.target.decode("latin-1"),
        headers=headers,
        peer=peer,
    )


async def _close(writer: asyncio.StreamWriter, timeout_s: float) -> None:
    """Let the end of an answer go out."""
    writer.close()
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(timeout_s):
            await writer.wait_closed()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof():
        writer.write_eof()
    taken = 0
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_LINGER_S):
            while taken < _LINGER_BYTES and (piece := await reader.read(_PIECE_BYTES)):
                taken += len(piece)
