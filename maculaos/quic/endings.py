"""Why a link ended: a word to count it under, and a line for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    from maculaos.quic.mutual_tls import MutualConnection

# A reason must fit into one packet with its headers, whatever the language.
MAX_REASON_SIZE: Final = 200


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link ended: ``cause`` to count it under, ``reason`` for people."""

    cause: str
    reason: str

    @property
    def raises_doubt(self) -> bool:
        """Whether the peer may be dead.

        It is not where one end gave up a link that topology needs no more, or that another one
        took the place of, nor where the peer says that it has no room.
        """
        return self.cause not in _SIGNS_OF_LIFE


def cause_of(code: ErrorCode) -> str:
    """The word under which an ending with that code is counted."""
    return code.name.lower().replace("_", " ")


def peers_cause_of(code: ErrorCode) -> str:
    """The same, of an ending that is the peer's word."""
    return f"peer: {cause_of(code)}"


_ON_PURPOSE: Final = (ErrorCode.SPARE_LINK, ErrorCode.DUPLICATE_LINK)
_SIGNS_OF_LIFE: Final = (
    *map(cause_of, _ON_PURPOSE),
    *map(peers_cause_of, (*_ON_PURPOSE, ErrorCode.LIMIT_EXCEEDED)),
)


def ending_of(quic: MutualConnection) -> Ending | None:
    """Why the connection ended, when it was not we who closed the link; ``None`` if it has not."""
    ending = quic.ending
    if ending is None:
        return None
    refusal = quic.refusal
    if refusal is not None:
        return Ending(refusal.cause, str(refusal))
    why = ending.reason_phrase or _name_of_error(ending.error_code)
    if not quic.is_ended_by_peer:
        return Ending("transport", why)
    if ending.frame_type is None:
        code = _known_code(ending.error_code)
        return Ending(peers_cause_of(code), phrase(code, ending.reason_phrase))
    return Ending("refused by peer", f"refused by the peer: {why}")


def phrase(code: ErrorCode, reason: str) -> str:
    """The code by name, and the reason."""
    return f"{code.name}: {reason}" if reason else code.name


def _known_code(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.INTERNAL


def _name_of_error(code: int) -> str:
    """A transport error in words; from 0x100 on it is a TLS alert (RFC 9001, 4.8)."""
    alert = code - QuicErrorCode.CRYPTO_ERROR
    try:
        name = QuicErrorCode(code).name if alert < 0 else AlertDescription(alert).name
    except ValueError:
        return f"QUIC error 0x{code:x}"
    return name.lower().replace("_", " ")


def shortened(reason: str) -> str:
    """As much of ``reason`` as a closing frame may carry."""
    return reason.encode()[:MAX_REASON_SIZE].decode(errors="ignore")
