"""The streams of one link: at most one per class and direction, each unidirectional.

The first byte of a stream is its class, then frames follow. Both halves are plain bookkeeping on
bytes; who reads and writes them on the network is ``link``.
"""

from __future__ import annotations

from typing import Final

from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError, FrameReader
from maculaos.wire.registry import ErrorCode, StreamClass

_UNIDIRECTIONAL: Final = 0x2


class InboundStreams:
    """Cuts the peer's streams into frames; holds one unfinished frame per class."""

    def __init__(self, max_payload_size: int) -> None:
        self._max_payload_size = max_payload_size
        self._classes: dict[int, StreamClass] = {}
        self._readers: dict[StreamClass, FrameReader] = {}

    def allow_large_frames(self) -> None:
        """From now on, frames may be as large as the wire format allows."""
        self._max_payload_size = MAX_PAYLOAD_SIZE
        for reader in self._readers.values():
            reader.max_payload_size = MAX_PAYLOAD_SIZE

    def receive(self, stream_id: int, data: bytes) -> tuple[StreamClass, list[Frame]] | None:
        """Take the next bytes of a stream; return its class and the frames that are complete.

        Returns nothing while the stream has not said its class. Raises ``FrameError`` for a
        bidirectional stream, an unknown class, a second stream of a class, and bad frames.
        """
        stream = self._classes.get(stream_id)
        if stream is None:
            if not data:
                return None
            stream = self._open(stream_id, data[0])
            data = data[1:]
        return stream, self._readers[stream].feed(data)

    def _open(self, stream_id: int, first_byte: int) -> StreamClass:
        if not stream_id & _UNIDIRECTIONAL:
            raise FrameError(ErrorCode.MALFORMED, "streams are unidirectional")
        try:
            stream = StreamClass(first_byte)
        except ValueError as error:
            detail = f"stream class 0x{first_byte:02x}"
            raise FrameError(ErrorCode.MALFORMED, detail) from error
        if stream in self._readers:
            raise FrameError(ErrorCode.MALFORMED, f"a second {stream.name} stream")
        self._classes[stream_id] = stream
        self._readers[stream] = FrameReader(self._max_payload_size)
        return stream


class OutboundStreams:
    """Gathers what is to be written, so that many small frames become one write."""

    def __init__(self) -> None:
        self.stream_ids: dict[StreamClass, int] = {}
        self._buffers: dict[StreamClass, bytearray] = {}

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were queued and not taken yet."""
        return sum(len(buffer) for buffer in self._buffers.values())

    def queue(self, stream: StreamClass, data: bytes) -> None:
        """Append ``data`` to what goes out on the stream of that class."""
        buffer = self._buffers.get(stream)
        if buffer is None:
            buffer = self._buffers[stream] = bytearray([stream])
        buffer += data

    def take(self) -> list[tuple[StreamClass, bytes]]:
        """Everything queued, by class, CONTROL first; the buffers are empty afterwards."""
        taken = [(stream, bytes(self._buffers[stream])) for stream in sorted(self._buffers)]
        for buffer in self._buffers.values():
            buffer.clear()
        return [(stream, data) for stream, data in taken if data]
