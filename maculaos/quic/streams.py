"""The streams of one link: at most one per class and direction, each unidirectional.

The first byte of a stream is its class, then frames follow. Both halves are plain bookkeeping on
bytes; who reads and writes them on the network is ``link``.

Each class has a rank: CONTROL goes first, then messages by priority, BULK last. Every class has a
queue; what waits at its own rank and before it may fill the link's bound, then more is refused and
counted. So what is less urgent never keeps out what is more urgent, and never delays it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError, FrameReader
from maculaos.wire.registry import MESSAGE_STREAMS, ErrorCode, StreamClass

if TYPE_CHECKING:
    from collections.abc import Callable

_UNIDIRECTIONAL: Final = 0x2
_ORDER: Final = (StreamClass.CONTROL, *MESSAGE_STREAMS, StreamClass.BULK)
#: Which class goes first: the lower rank.
RANKS: Final = {stream: rank for rank, stream in enumerate(_ORDER)}


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
    """Gathers what is to be written, so that many small frames become one write.

    ``unacknowledged`` tells, for a stream id, the bytes that were written and are still on their
    way: they count as waiting, too.
    """

    def __init__(self, limit_bytes: int, unacknowledged: Callable[[int], int]) -> None:
        self.stream_ids: dict[StreamClass, int] = {}
        #: Messages that were not taken, by the name of their class.
        self.refused: Counter[str] = Counter()
        self._limit_bytes = limit_bytes
        self._unacknowledged = unacknowledged
        self._queues: dict[StreamClass, list[bytes]] = {}
        self._queued_bytes = [0] * len(_ORDER)
        # At least what waits, by rank and in all: grows with every frame, and is counted anew when
        # it reaches the bound. So most frames cost an addition.
        self._estimates = [0] * len(_ORDER)
        self._estimate = 0
        #: Bytes that were queued and not taken yet.
        self.buffered_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were queued and not acknowledged yet."""
        return self.buffered_bytes + sum(map(self._unacknowledged, self.stream_ids.values()))

    def offer(self, stream: StreamClass, data: bytes) -> bool:
        """Append ``data`` to what goes out on the stream of that class; false if it is full."""
        rank, size = RANKS[stream], len(data)
        if self._estimate + size > self._limit_bytes and not self._has_room(rank, size):
            self.refused[stream.name] += 1
            return False
        self._estimates[rank] += size
        self._estimate += size
        self._queued_bytes[rank] += size
        self.buffered_bytes += size
        queue = self._queues.get(stream)
        if queue is None:
            queue = self._queues[stream] = [bytes([stream])]
        queue.append(data)
        return True

    def holds_more_than(self, size: int) -> bool:
        """Whether more bytes wait, or are not acknowledged yet; counted only when they may be."""
        if self._estimate > size:
            self._count(len(_ORDER) - 1)
        return self._estimate > size

    def take(self) -> list[tuple[StreamClass, bytes]]:
        """Everything queued, by class, the first rank first; the buffers are empty afterwards."""
        taken = []
        for rank, stream in enumerate(_ORDER):
            if queue := self._queues.get(stream):
                taken.append((stream, b"".join(queue) if len(queue) > 1 else queue[0]))
                queue.clear()
                self._queued_bytes[rank] = 0
        self.buffered_bytes = 0
        return taken

    def _has_room(self, rank: int, size: int) -> bool:
        """Whether so much more may wait at that rank, counted if need be."""
        if sum(self._estimates[: rank + 1]) + size > self._limit_bytes:
            self._count(rank)
        return sum(self._estimates[: rank + 1]) + size <= self._limit_bytes

    def _count(self, last_rank: int) -> None:
        for rank, stream in enumerate(_ORDER[: last_rank + 1]):
            stream_id = self.stream_ids.get(stream)
            written = 0 if stream_id is None else self._unacknowledged(stream_id)
            self._estimates[rank] = written + self._queued_bytes[rank]
        self._estimate = sum(self._estimates)
