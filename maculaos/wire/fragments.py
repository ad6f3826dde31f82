"""Fragments: a long payload in several frames, so that others may travel between them.

Each fragment is a frame of the message's own type with the flag FRAGMENTED; its payload is
``Number(4) Total(4) Piece``, big-endian. A stream keeps its order, so the pieces of one number
simply follow each other; pieces of other numbers and whole frames may come in between. What a
peer has begun and not finished is bounded in bytes, in count and in time: it may wait behind what
is more urgent for as long as that lasts, but not for nothing. Pure: time comes in as an argument,
and nothing is known of what the payload says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError
from maculaos.wire.registry import ErrorCode, FrameFlag

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAGMENT_HEADER: Final = struct.Struct(">II")
# What one frame may keep a stream busy for: a few milliseconds on a line of 100 Mbit/s.
MAX_PIECE_SIZE: Final = 64 * 1024
# Smaller ones are only allowed at the end: a peer must not make much work of few bytes.
MIN_PIECE_SIZE: Final = 1024
MAX_UNFINISHED: Final = 64
MAX_HELD_SIZE: Final = 2 * MAX_PAYLOAD_SIZE
# Without a frame while a payload is not whole.
MAX_PAUSE_S: Final = 60.0
# A plain number: the arithmetic of enums is slow, and this runs for every fragment.
_FRAGMENTED: Final = int(FrameFlag.FRAGMENTED)


@dataclass(slots=True)
class _Unfinished:
    kind: int
    flags: int
    total: int
    held: bytearray = field(default_factory=bytearray)


def cut(frame: Frame, number: int) -> Iterator[Frame]:
    """``frame`` as one frame if it is short, else as fragments with that number (32 bits)."""
    payload, total = frame.payload, len(frame.payload)
    if total <= MAX_PIECE_SIZE:
        yield frame
        return
    if total > MAX_PAYLOAD_SIZE:
        raise FrameError(ErrorCode.TOO_LARGE, f"{total} bytes of payload")
    header = FRAGMENT_HEADER.pack(number, total)
    flags = frame.flags | _FRAGMENTED
    for start in range(0, total, MAX_PIECE_SIZE):
        yield Frame(frame.kind, header + payload[start : start + MAX_PIECE_SIZE], flags)


class Assembler:
    """Puts the fragments of one peer together."""

    def __init__(self) -> None:
        self._unfinished: dict[tuple[int, int], _Unfinished] = {}
        self._held_size = 0
        self._heard_at = 0.0

    @property
    def held_size(self) -> int:
        """Bytes of payloads that are not whole yet."""
        return self._held_size

    def next_deadline(self) -> float | None:
        """When ``check_time`` will complain, unless more comes; never if all is whole."""
        return self._heard_at + MAX_PAUSE_S if self._unfinished else None

    def check_time(self, now: float) -> None:
        """Raise ``FrameError`` if a payload was begun and the peer fell silent."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            detail = f"an unfinished payload, and no frame for {MAX_PAUSE_S:g} s"
            raise FrameError(ErrorCode.LIMIT_EXCEEDED, detail)

    def heard(self, now: float) -> None:
        """The peer said something else: what is not whole may have to wait for that."""
        self._heard_at = now

    def take(self, fragment: Frame, stream: int, now: float) -> Frame | None:
        """Take a fragment from that stream; return the whole frame once its last piece is here.

        Raises ``FrameError`` for a fragment that breaks the rules, and beyond the bounds.
        """
        number, total, piece = _parse(fragment)
        key = (stream, number)
        unfinished = self._unfinished.get(key)
        if unfinished is None:
            unfinished = self._begin(key, fragment, total)
        _check_fit(unfinished, fragment, total, len(piece))
        self._held_size += len(piece)
        if self._held_size > MAX_HELD_SIZE:
            detail = f"more than {MAX_HELD_SIZE} bytes of unfinished payloads"
            raise FrameError(ErrorCode.LIMIT_EXCEEDED, detail)
        unfinished.held += piece
        self._heard_at = now
        if len(unfinished.held) < total:
            return None
        del self._unfinished[key]
        self._held_size -= total
        return Frame(unfinished.kind, bytes(unfinished.held), unfinished.flags)

    def _begin(self, key: tuple[int, int], fragment: Frame, total: int) -> _Unfinished:
        if total > MAX_PAYLOAD_SIZE:
            raise FrameError(ErrorCode.TOO_LARGE, f"{total} bytes of payload announced")
        if len(self._unfinished) >= MAX_UNFINISHED:
            detail = f"more than {MAX_UNFINISHED} unfinished payloads"
            raise FrameError(ErrorCode.LIMIT_EXCEEDED, detail)
        flags = fragment.flags & ~_FRAGMENTED
        begun = self._unfinished[key] = _Unfinished(fragment.kind, flags, total)
        return begun


def _parse(fragment: Frame) -> tuple[int, int, memoryview]:
    if len(fragment.payload) <= FRAGMENT_HEADER.size:
        raise FrameError(ErrorCode.MALFORMED, "a fragment without a piece")
    number, total = FRAGMENT_HEADER.unpack_from(fragment.payload)
    return number, total, memoryview(fragment.payload)[FRAGMENT_HEADER.size :]


def _check_fit(unfinished: _Unfinished, fragment: Frame, total: int, size: int) -> None:
    flags = fragment.flags & ~_FRAGMENTED
    if (fragment.kind, flags, total) != (unfinished.kind, unfinished.flags, unfinished.total):
        raise FrameError(ErrorCode.MALFORMED, "a fragment of another payload")
    after = len(unfinished.held) + size
    if after > total:
        raise FrameError(ErrorCode.MALFORMED, "fragments of more than was announced")
    if after < total and size < MIN_PIECE_SIZE:
        raise FrameError(ErrorCode.MALFORMED, f"a fragment of {size} bytes before the last")
