"""The listener beside the authority: TLS 1.3, one question and one answer per connection.

It shows a certificate that the authority signed for nothing else: a node's certificate does not
pass for it, nor it for a node's. Connections are bounded in number, size, time and pace. What to
answer is the registrar's business.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maculaos.addresses import Address
from maculaos.errors import MaculaError, RemoteProtocolError, UsageError
from maculaos.host.files import write_atomically
from maculaos.security.authority import (
    ENROLMENT_HOST,
    certificate_of,
    key_usage,
    validity_of,
    write_key,
)
from maculaos.security.enrolment.messages import (
    ALPN,
    MAX_QUESTION_SIZE,
    Refused,
    decode_question,
    read_body,
    write,
)
from maculaos.security.enrolment.pace import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from maculaos.host.clock import Clock
    from maculaos.host.entropy import Entropy
    from maculaos.security.authority import Authority
    from maculaos.security.enrolment.messages import Answer
    from maculaos.security.enrolment.registrar import Registrar

_KEY_SIZE: Final = 32
# Signed anew at every start, and each day of a listener that runs for longer.
_CERTIFICATE_DAYS: Final = 7
_RENEWAL_S: Final = 86_400.0
_SWEEP_HINT: Final = "try again in a minute"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """Bounds of one listener; times in seconds, the pace per source address."""

    connections: int = 32
    exchange_s: float = 10.0
    burst: float = 10.0
    per_s: float = 0.5


@asynccontextmanager
async def listening(
    registrar: Registrar,
    host: str,
    port: int,
    clock: Clock,
    entropy: Entropy,
    limits: ListenerLimits | None = None,
) -> AsyncIterator[Address]:
    """Answer machines while the context lasts; yields where. Port 0 lets the system choose.

    Raises ``UsageError`` if the port cannot be had.
    """
    door = _Door(registrar, clock, limits or ListenerLimits())
    context = _context(registrar, clock, entropy)
    try:
        server = await asyncio.start_server(
            door.enter, host, port, ssl=context, ssl_handshake_timeout=5.0
        )
    except OSError as error:
        reason = error.strerror or str(error)
        what = f"cannot listen on {host}, port {port}: {reason}"
        raise UsageError(what, "choose another port") from error
    renewal = asyncio.create_task(_keep_fresh(context, registrar, clock, entropy))
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        renewal.cancel()
        server.close()
        await door.close()
        with suppress(asyncio.CancelledError):
            await renewal
        await server.wait_closed()


class _Door:
    """Lets machines in, within bounds, and passes on what they ask."""

    def __init__(self, registrar: Registrar, clock: Clock, limits: ListenerLimits) -> None:
        self._registrar = registrar
        self._clock = clock
        self._limits = limits
        self._pace = Pace(limits.burst, limits.per_s)
        self._guests: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._guests) >= self._limits.connections:
            writer.transport.abort()
            return
        guest = asyncio.create_task(self._converse(reader, writer))
        self._guests.add(guest)
        guest.add_done_callback(self._guests.discard)

    async def close(self) -> None:
        for guest in tuple(self._guests):
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._limits.exchange_s):
                writer.write(write(await self._answer(reader, writer)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # Whoever asked is gone, or too slow.
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        source = str((writer.get_extra_info("peername") or ("",))[0])
        if not self._pace.allows(source, self._clock.monotonic()):
            return Refused("you ask too often", _SWEEP_HINT)
        try:
            question = decode_question(await read_body(reader, MAX_QUESTION_SIZE))
        except RemoteProtocolError as error:
            return Refused(str(error)[:200], "use the same version of macula on both machines")
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        shown = None if der is None else x509.load_der_x509_certificate(der)
        # Signing writes to the disk: in a thread, and one at a time.
        async with self._turn:
            return await asyncio.to_thread(self._registrar.answer, question, shown)


def _context(registrar: Registrar, clock: Clock, entropy: Entropy) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    # Who renews shows a certificate; who joins has none.
    context.verify_mode = ssl.CERT_OPTIONAL
    ours = registrar.authority.certificate
    context.load_verify_locations(cadata=ours.public_bytes(Encoding.PEM).decode())
    _show_new_certificate(context, registrar, clock, entropy)
    return context


async def _keep_fresh(
    context: ssl.SSLContext, registrar: Registrar, clock: Clock, entropy: Entropy
) -> None:
    while True:
        await clock.wait(_RENEWAL_S)
        # A full disk today is no reason to stop: the certificate is good for some days.
        with suppress(OSError, MaculaError):
            _show_new_certificate(context, registrar, clock, entropy)
            await asyncio.to_thread(registrar.forget_expired)


def _show_new_certificate(
    context: ssl.SSLContext, registrar: Registrar, clock: Clock, entropy: Entropy
) -> None:
    """Make a key and a certificate for the listener; the library wants them in files."""
    chain, secret = _files(registrar.directory)
    key = Ed25519PrivateKey.from_private_bytes(entropy.draw(_KEY_SIZE))
    certificate = _sign_listener(registrar.authority, key, clock.now(), entropy)
    write_key(secret, key)
    write_atomically(chain, certificate.public_bytes(Encoding.PEM))
    context.load_cert_chain(chain, secret)


def _files(directory: Path) -> tuple[Path, Path]:
    return directory / "enrolment.crt", directory / "enrolment.key"


def _sign_listener(
    authority: Authority, key: Ed25519PrivateKey, now: float, entropy: Entropy
) -> x509.Certificate:
    """No node's: it has no URI of ours, and is for the server's end of TLS only."""
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        certificate_of(key.public_key(), validity_of(now, _CERTIFICATE_DAYS), entropy)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Macula enrolment")]))
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(ENROLMENT_HOST)]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, None)
    )
