"""What a machine and the authority say to each other: one question, one answer, over TLS 1.3.

Each is ``Length(4) Body``, big-endian; the body is a MessagePack array that begins with its
number. It is not the protocol of the mesh (``maculaos.wire``): whoever asks is no node yet.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from maculaos.errors import RemoteProtocolError
from maculaos.security.revocations import MAX_LIST_SIZE

if TYPE_CHECKING:
    from asyncio import StreamReader

ALPN: Final = "macula-enrolment/1"
MAX_QUESTION_SIZE: Final = 16 * 1024
# An answer holds a revocation list.
MAX_ANSWER_SIZE: Final = MAX_LIST_SIZE + 64 * 1024
_LENGTH: Final = struct.Struct(">I")


class AskAuthority(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Which authority is this? Whoever asks compares its certificate with the pin of a token."""


class Join(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Make me a node: a token, and a signing request in PEM."""

    token: str
    request: bytes


class Renew(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Sign the key of the certificate that I showed in the TLS handshake once more."""


class AuthorityIs(msgspec.Struct, frozen=True, array_like=True, tag=0x81):
    """The authority's certificate in PEM."""

    certificate: bytes


class Granted(msgspec.Struct, frozen=True, array_like=True, tag=0x82):
    """A grant in PEM; see ``maculaos.security.enrolment.grant``."""

    grant: bytes


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=0x83):
    """Why not, and what to do next, for people."""

    what: str
    hint: str = ""


Question: TypeAlias = AskAuthority | Join | Renew
Answer: TypeAlias = AuthorityIs | Granted | Refused

_ENCODER: Final = msgspec.msgpack.Encoder()
_QUESTION: Final = msgspec.msgpack.Decoder(Question)
_ANSWER: Final = msgspec.msgpack.Decoder(Answer)


def write(said: Question | Answer) -> bytes:
    """The bytes of a question or an answer."""
    body = _ENCODER.encode(said)
    return _LENGTH.pack(len(body)) + body


def decode_question(body: bytes) -> Question:
    """The question in ``body``; raises ``RemoteProtocolError`` if it is none."""
    try:
        question: Question = _QUESTION.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"no question: {error}") from error
    return question


def decode_answer(body: bytes) -> Answer:
    """The answer in ``body``; raises ``RemoteProtocolError`` if it is none."""
    try:
        answer: Answer = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"no answer: {error}") from error
    return answer


async def read_body(reader: StreamReader, limit: int) -> bytes:
    """The next body; raises ``RemoteProtocolError`` above ``limit`` bytes, told by the length.

    Raises ``asyncio.IncompleteReadError`` when the other side ends first.
    """
    (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if size > limit:
        raise RemoteProtocolError(f"{size} bytes announced, at most {limit} are taken")
    return await reader.readexactly(size)
