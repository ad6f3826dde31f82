"""Frames that ride in DATAGRAM frames of QUIC (RFC 9221): now or never.

One datagram carries whole frames and nothing else. What does not fit, or what a peer without this
extension would not understand, goes the slow way, on a stream; that is decided in ``link``. Nothing
is sent again here, and nothing is ordered.
"""

from __future__ import annotations

from typing import Final

from maculaos.wire.frames import Frame, FrameError, FrameReader
from maculaos.wire.registry import ErrorCode

#: What fits beside the headers of a packet that every path carries.
MAX_DATAGRAM_PAYLOAD: Final = 1150
#: The largest DATAGRAM frame that we take, with its own header.
MAX_DATAGRAM_FRAME: Final = 1200
#: Datagrams that may wait for the network; one more drops the oldest, which is worth the least.
MAX_WAITING_DATAGRAMS: Final = 64


def read_datagram(data: bytes) -> list[Frame]:
    """The frames of one datagram; raises ``FrameError`` for anything but whole frames."""
    reader = FrameReader(MAX_DATAGRAM_FRAME)
    frames = reader.feed(data)
    if reader.pending_bytes or not frames:
        raise FrameError(ErrorCode.MALFORMED, "a datagram carries whole frames")
    return frames
