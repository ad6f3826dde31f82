"""Frames: ``Ver(1) Type(1) Flags(2) Length(4) Payload``, big-endian, on a stream of bytes.

The reader takes bytes in pieces of any size and gives back whole frames. It knows no message
bodies (``messages`` does) and no streams (``maculaos.quic`` and ``maculaos.control`` do).
"""

from __future__ import annotations

import struct
from typing import NoReturn

from msgspec import Struct

from maculaos.errors import RemoteProtocolError
from maculaos.wire.registry import WIRE_VERSION, ErrorCode

HEADER = struct.Struct(">BBHI")
MAX_PAYLOAD_SIZE = 16 * 1024 * 1024
# Looked up once: they are used for every frame.
_HEADER_SIZE, _read_header, _write_header = HEADER.size, HEADER.unpack_from, HEADER.pack


class FrameError(RemoteProtocolError):
    """A frame that cannot be accepted; ``code`` is what the ERROR answer carries."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code
        self.detail = detail


class Frame(Struct, frozen=True):
    """One frame; ``kind`` is kept as a number because a peer may know more types than we do."""

    kind: int
    payload: bytes
    flags: int = 0


def encode_frame(frame: Frame) -> bytes:
    """The bytes of one frame; raises ``FrameError`` above 16 MiB of payload."""
    size = len(frame.payload)
    if size > MAX_PAYLOAD_SIZE:
        raise FrameError(ErrorCode.TOO_LARGE, f"{size} bytes of payload")
    return _write_header(WIRE_VERSION, frame.kind, frame.flags, size) + frame.payload


class FrameReader:
    """Cuts a stream of bytes into frames and holds at most one unfinished frame."""

    def __init__(self, max_payload_size: int = MAX_PAYLOAD_SIZE) -> None:
        self._buffer = bytearray()
        # May be raised while a stream is open: a greeting is small, what follows is not.
        self.max_payload_size = max_payload_size

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return every frame that is complete now.

        Raises ``FrameError`` for an unknown version or a length above the limit, as soon as the
        header is there: nothing is buffered for a frame that will be refused.
        """
        if not self._buffer:
            # Most of what arrives is whole: cut where it lies.
            frames, end = self._cut(data)
            self._buffer += data[end:]
            return frames
        self._buffer += data
        with memoryview(self._buffer) as held:
            frames, end = self._cut(held)
        if end:
            del self._buffer[:end]
        return frames

    def _cut(self, data: bytes | memoryview) -> tuple[list[Frame], int]:
        """The whole frames at the front of ``data``, and where the last of them ends."""
        frames: list[Frame] = []
        offset, size = 0, len(data)
        while size - offset >= _HEADER_SIZE:
            version, kind, flags, length = _read_header(data, offset)
            if version != WIRE_VERSION or length > self.max_payload_size:
                self._refuse(version, length)
            start = offset + _HEADER_SIZE
            end = start + length
            if size < end:
                break
            frames.append(Frame(kind, bytes(data[start:end]), flags))
            offset = end
        return frames, offset

    def _refuse(self, version: int, length: int) -> NoReturn:
        if version != WIRE_VERSION:
            detail = f"version {version}, only {WIRE_VERSION} is spoken here"
            raise FrameError(ErrorCode.UNSUPPORTED_VERSION, detail)
        raise FrameError(ErrorCode.TOO_LARGE, f"{length} bytes of payload announced")
