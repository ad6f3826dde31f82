"""How much a peer may have under way: windows that grow with what came from it, up to a bound.

aioquic 1.7.2 doubles a limit whenever half of it is used, without end, and counts what came out of
order as used: who has sent 10 GB may then leave out one byte, and have 10 GB held for it. Here a
limit is what came without a gap, and a window. While little came, the window is three times as
much, as with the library, so that slow start finds no other limit than its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
)
from aioquic.quic.packet import QuicFrameType

if TYPE_CHECKING:
    from aioquic.quic.connection import Limit
    from aioquic.quic.packet_builder import QuicPacketBuilder
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream

# What a sender of ours lets wait for acknowledgements (limits.link_queue_bytes).
MAX_WINDOW: Final = 32 * 1024 * 1024
_HALF: Final = MAX_WINDOW // 2


def is_due(limit: int, taken: int) -> bool:
    """Whether a peer of which ``taken`` bytes came is to be told a higher limit than that."""
    return taken * 2 > limit and taken + _HALF > limit


def _renewed(limit: int, taken: int) -> int:
    return taken + min(3 * taken, MAX_WINDOW) if is_due(limit, taken) else limit


class WindowConnection(QuicConnection):
    """A ``QuicConnection`` that holds at most ``MAX_WINDOW`` bytes of its peer."""

    def _has_room_to_give(self) -> bool:
        """Whether the limit of the connection is to be renewed; called for every packet."""
        limit = self._local_max_data
        return is_due(limit.value, limit.used) and is_due(limit.value, self._taken())

    def _taken(self) -> int:
        """Bytes of all streams that came without a gap before them."""
        receivers = [stream.receiver for stream in self._streams.values()]
        waiting = sum(each.highest_offset - each.starting_offset() for each in receivers)
        return self._local_max_data.used - waiting

    def _write_connection_limits(
        self,
        builder: QuicPacketBuilder,
        space: QuicPacketSpace,  # noqa: ARG002  # the library's signature
    ) -> None:
        limit = self._local_max_data
        if self._has_room_to_give():
            limit.value = _renewed(limit.value, self._taken())
        if limit.value != limit.sent:
            self._write_limit(builder, limit)
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            # The library's rule: not before it gives more streams than are left.
            if limit.sent - limit.used < limit.value - limit.sent:
                self._write_limit(builder, limit)

    def _write_limit(self, builder: QuicPacketBuilder, limit: Limit) -> None:
        frame = builder.start_frame(
            limit.frame_type,
            capacity=CONNECTION_LIMIT_FRAME_CAPACITY,
            handler=self._on_connection_limit_delivery,
            handler_args=(limit,),
        )
        frame.push_uint_var(limit.value)
        limit.sent = limit.value

    def _write_stream_limits(
        self,
        builder: QuicPacketBuilder,
        space: QuicPacketSpace,  # noqa: ARG002  # the library's signature
        stream: QuicStream,
    ) -> None:
        # It is 0 for streams that only we write to.
        if stream.max_stream_data_local:
            taken = stream.receiver.starting_offset()
            stream.max_stream_data_local = _renewed(stream.max_stream_data_local, taken)
        if stream.max_stream_data_local_sent == stream.max_stream_data_local:
            return
        frame = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        frame.push_uint_var(stream.stream_id or 0)
        frame.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local
