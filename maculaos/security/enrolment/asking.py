"""Asking an authority: join with a token, renew with the certificate that is there.

Nothing that is secret or proves anything is sent before the other end has shown that it is the
authority that the token pins: its certificate is fetched first, compared with the pin, and then
TLS is begun anew with that certificate as the only one that is believed.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.errors import MaculaError, RemoteProtocolError, UsageError
from maculaos.security.authority import ENROLMENT_HOST
from maculaos.security.enrolment.grant import Grant, read_grant
from maculaos.security.enrolment.messages import (
    ALPN,
    MAX_ANSWER_SIZE,
    AskAuthority,
    AuthorityIs,
    Granted,
    Join,
    Refused,
    Renew,
    decode_answer,
    read_body,
    write,
)
from maculaos.security.tokens import pin_of

if TYPE_CHECKING:
    from maculaos.addresses import Address
    from maculaos.security.authority import IdentityFiles
    from maculaos.security.enrolment.messages import Answer, Question

_Wanted = TypeVar("_Wanted", AuthorityIs, Granted)
TIMEOUT_S: Final = 15.0


class EnrolmentFailed(MaculaError):
    """The authority was not reached, is another one, or said no."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a machine joins with: the token as text, the pin in it, and a signing request."""

    token: str
    pin: bytes
    request: bytes


async def join(address: Address, ticket: Ticket) -> Grant:
    """Ask for the certificate that a token promises; raises ``EnrolmentFailed``."""
    anybody = _context()
    anybody.check_hostname = False
    # The answer is compared with the pin, and nothing else is asked on this connection.
    anybody.verify_mode = ssl.CERT_NONE
    said = await _ask(address, AskAuthority(), anybody, AuthorityIs)
    try:
        authority = x509.load_pem_x509_certificate(said.certificate)
    except ValueError as error:
        raise EnrolmentFailed(f"{address} shows no authority's certificate") from error
    if pin_of(authority) != ticket.pin:
        raise EnrolmentFailed(f"{address} is not the authority that the token names")
    context = _context(authority)
    granted = await _ask(address, Join(ticket.token, ticket.request), context, Granted)
    return read_grant(granted.grant)


async def renew(address: Address, files: IdentityFiles) -> Grant:
    """Ask for a new certificate with the identity in ``files``; raises ``EnrolmentFailed``."""
    context = _context(x509.load_pem_x509_certificate(files.realm_ca.read_bytes()))
    context.load_cert_chain(files.certificate, files.key)
    return read_grant((await _ask(address, Renew(), context, Granted)).grant)


def _context(authority: x509.Certificate | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    if authority is not None:
        context.load_verify_locations(cadata=authority.public_bytes(Encoding.PEM).decode())
    return context


async def _ask(
    address: Address, question: Question, context: ssl.SSLContext, wanted: type[_Wanted]
) -> _Wanted:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            answer = await _exchange(address, question, context)
    except ssl.SSLCertVerificationError as error:
        what = f"{address} is not the realm's authority: {error.verify_message}"
        raise EnrolmentFailed(what) from error
    except TimeoutError as error:
        raise EnrolmentFailed(f"{address} did not answer in time") from error
    except (OSError, EOFError, RemoteProtocolError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise EnrolmentFailed(f"{address} gave no answer: {reason}") from error
    if isinstance(answer, Refused):
        raise EnrolmentFailed(str(UsageError(answer.what[:500], answer.hint[:500])))
    if not isinstance(answer, wanted):
        raise EnrolmentFailed(f"{address} answered something else")
    return answer


async def _exchange(address: Address, question: Question, context: ssl.SSLContext) -> Answer:
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=context, server_hostname=ENROLMENT_HOST
    )
    try:
        writer.write(write(question))
        await writer.drain()
        return decode_answer(await read_body(reader, MAX_ANSWER_SIZE))
    finally:
        writer.transport.abort()
