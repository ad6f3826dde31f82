"""Packets of an established connection, read and written without detours.

aioquic 1.7.2 builds a packet in a buffer, copies the whole of it eight times on its way out, and
goes once more through all that a packet might hold to learn that there is nothing left. Most
packets have a short header (RFC 9000, 17.3) and hold nothing but stream data and acknowledgements:
those are read and written here, on the library's own state (``_spaces``, ``_loss``, ``_cryptos``,
``_streams`` and what hangs on them). Whatever else is to be said, or is heard, is the library's
work as ever, and so is every rule: handshakes, migration, loss, limits, keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aioquic.quic.connection import (
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicPacketType, QuicStreamFrame, decode_packet_number
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch
from cryptography.exceptions import InvalidTag

if TYPE_CHECKING:
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream, QuicStreamSender

    from maculaos.quic.port import SocketAddress

# RFC 9000, 17.3.1: the first byte, and the rest of the header that is always the same length here.
_LONG: Final = 0x80
_FIXED: Final = 0x40
_SPIN: Final = 0x20
_RESERVED: Final = 0x18
_KEY_PHASE: Final = 0x04
_NUMBER_BYTES: Final = 2
_TAG_BYTES: Final = 16
# RFC 9001, 5.4.2: what protects the header is sampled so far behind the start of the number.
_SAMPLE_OFFSET: Final = 4
_SAMPLE_BYTES: Final = 16
# RFC 9000, 19: frames, and the bits of STREAM.
_ACK: Final = 0x02
_STREAM: Final = 0x08
_STREAM_END: Final = 0x10
_HAS_OFFSET, _HAS_LENGTH, _IS_LAST = 0x04, 0x02, 0x01
# Type, id, offset and length of STREAM at their longest.
_STREAM_HEADER: Final = 1 + 8 + 8 + 4
# Beyond 16383 a stream frame of the library cannot tell its length.
_LIBRARY_SIZE: Final = 16_336
# Rather than less than that, a packet waits until more may be under way.
_WORTH_SENDING: Final = 1024
# Ranges of packet numbers that aioquic acknowledges at most (MAX_ACK_RANGES).
_MAX_RANGES: Final = 255


class _Short(NamedTuple):
    """What short packets need of the library: found once, because looking it up is slow."""

    space: QuicPacketSpace
    keys: Any
    handshake: QuicStreamSender


class ShortPacketConnection(QuicConnection):
    """A ``QuicConnection`` that is quick at what it does most; its face is used as ever."""

    _short: _Short | None = None

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Everything that may go out now, each with where to."""
        short = self._short if self._is_settled else None
        if short is None or self._has_more_to_say(short, now):
            return self._by_library(now)
        return self._stream_packets(short, now)

    def receive_datagram(self, data: bytes, addr: SocketAddress, now: float) -> None:
        """Take one datagram."""
        short = self._short if self._is_settled else None
        if short is None or not self._receive_short(short, data, addr, now):
            super().receive_datagram(data, addr, now=now)

    def _by_library(self, now: float) -> list[tuple[bytes, SocketAddress]]:
        size = self._max_datagram_size
        self._max_datagram_size = min(size, _LIBRARY_SIZE)
        try:
            return super().datagrams_to_send(now=now)
        finally:
            self._max_datagram_size = size

    @property
    def _is_settled(self) -> bool:
        """Whether only one path and one key are in use, and nobody is about to leave."""
        paths = self._network_paths
        return (
            self._state is QuicConnectionState.CONNECTED
            and not self._close_pending
            and len(paths) == 1
            and paths[0].is_validated
            and (self._short is not None or self._settle())
        )

    def _settle(self) -> bool:
        """Hold what short packets need, from when only they are sent on."""
        # The library lets go of early keys with the first packet under the others.
        if not self._handshake_confirmed or self._cryptos[Epoch.ZERO_RTT].recv.is_valid():
            return False
        space, keys = self._spaces[Epoch.ONE_RTT], self._cryptos[Epoch.ONE_RTT]
        self._short = _Short(space, keys, self._crypto_streams[Epoch.ONE_RTT].sender)
        return True

    # Sending.

    def _has_more_to_say(self, short: _Short, now: float) -> bool:
        """Whether anything but stream data and one range of packet numbers waits."""
        space, limit = short.space, self._local_max_data
        return bool(
            self._datagrams_pending
            or self._ping_pending
            or self._probe_pending
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or self._network_paths[0].remote_challenges
            or self._handshake_done_pending
            or limit.used * 2 > limit.value
            or limit.value != limit.sent
            or short.keys._update_key_requested
            or not short.handshake.buffer_is_empty
            or (space.ack_at is not None and space.ack_at <= now and len(space.ack_queue) != 1)
            or any(map(_has_limits_to_say, self._streams.values()))
            or any(not each.was_sent for each in self._host_cids)
        )

    def _stream_packets(self, short: _Short, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Packets of acknowledgements and stream data, as many as may leave now."""
        path, space, pacer = self._network_paths[0], short.space, self._loss._pacer
        self._pacing_at = None
        datagrams: list[tuple[bytes, SocketAddress]] = []
        while True:
            is_due = space.ack_at is not None and space.ack_at <= now
            waiting = [stream for stream in self._streams_queue if _has_data(stream)]
            if not (waiting or is_due):
                break
            if not is_due:
                self._pacing_at = pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    break
            datagram = self._packet_of(short, waiting, now, is_due=is_due)
            if not datagram:
                break
            datagrams.append((datagram, path.addr))
            path.bytes_sent += len(datagram)
            pacer.update_after_send(now=now)
        return datagrams

    def _packet_of(
        self, short: _Short, waiting: list[QuicStream], now: float, *, is_due: bool
    ) -> bytes:
        """One packet, registered as sent; empty if nothing may be under way beside what is."""
        packet = QuicSentPacket(
            epoch=Epoch.ONE_RTT,
            in_flight=False,
            is_ack_eliciting=False,
            is_crypto_packet=False,
            packet_number=self._packet_number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
        )
        frames: list[bytes] = []
        if is_due:
            frames.append(self._acknowledge(short.space, packet, now))
        self._add_streams(frames, packet, waiting)
        if not frames:
            return b""
        datagram = self._protect(short.keys.send, b"".join(frames))
        packet.sent_bytes = len(datagram)
        self._packet_number += 1
        self._loss.on_packet_sent(packet=packet, space=short.space)
        if packet.is_ack_eliciting and not self._ack_eliciting_sent_since_receipt:
            # RFC 9000, 10.1: what asks for an answer postpones the idle timeout, once.
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        return datagram

    def _acknowledge(self, space: QuicPacketSpace, packet: QuicSentPacket, now: float) -> bytes:
        received = space.ack_queue[0]
        delay_us = int((now - (space.largest_received_time or now)) * 1e6)
        largest = received.stop - 1
        packet.delivery_handlers.append(
            (self._on_ack_delivery, (space, space.largest_received_packet))
        )
        space.ack_at = None
        numbers = (_ACK, largest, delay_us >> self._local_ack_delay_exponent, 0)
        return b"".join(map(_varint, (*numbers, largest - received.start)))

    def _add_streams(
        self, frames: list[bytes], packet: QuicSentPacket, waiting: list[QuicStream]
    ) -> None:
        """Fill the packet with data of these streams, in this order."""
        control = self._loss._cc
        free = control.congestion_window - control.bytes_in_flight
        overhead = 1 + len(self._peer_cid.cid) + _NUMBER_BYTES + _TAG_BYTES + sum(map(len, frames))
        room = min(self._max_datagram_size, free) - overhead
        if free < _WORTH_SENDING and control.bytes_in_flight:
            return
        for stream in waiting:
            if room <= _STREAM_HEADER:
                return
            sender, before = stream.sender, stream.sender.highest_offset
            theirs = before + self._remote_max_data - self._remote_max_data_used
            most = min(theirs, stream.max_stream_data_remote)
            frame = sender.get_frame(room - _STREAM_HEADER, most)
            if frame is None:
                continue
            self._remote_max_data_used += sender.highest_offset - before
            written = _stream_header(stream.stream_id or 0, frame)
            frames += (written, frame.data)
            room -= len(written) + len(frame.data)
            end = frame.offset + len(frame.data)
            packet.in_flight = packet.is_ack_eliciting = True
            packet.delivery_handlers.append(
                (sender.on_data_delivery, (frame.offset, end, frame.fin))
            )
            # aioquic would only find out when it asks for the next frame.
            sender.buffer_is_empty = not (len(sender._pending) or sender._pending_eof)

    def _protect(self, keys: Any, payload: bytes) -> bytes:
        """The datagram with that payload (RFC 9001, 5)."""
        number = self._packet_number
        first = _FIXED | self._spin_bit * _SPIN | keys.key_phase * _KEY_PHASE | (_NUMBER_BYTES - 1)
        cid = self._peer_cid.cid
        header = b"%c%b%b" % (first, cid, (number & 0xFFFF).to_bytes(_NUMBER_BYTES))
        sealed = keys.aead.encrypt(payload, header, number)
        start = _SAMPLE_OFFSET - _NUMBER_BYTES
        mask = keys.hp._mask(sealed[start : start + _SAMPLE_BYTES])
        hidden = bytearray(header)
        hidden[0] ^= mask[0] & 0x1F
        hidden[-2] ^= mask[1]
        hidden[-1] ^= mask[2]
        return b"".join((hidden, sealed))

    # Receiving.

    def _receive_short(self, short: _Short, data: bytes, addr: SocketAddress, now: float) -> bool:
        """Take a packet with a short header; false if it needs the library's whole care."""
        path, cid = self._network_paths[0], self.host_cid
        start = 1 + len(cid)
        if (
            len(data) < start + _SAMPLE_OFFSET + _SAMPLE_BYTES
            or data[0] & _LONG
            or path.addr != addr
            or not data.startswith(cid, 1)
        ):
            return False
        space = short.space
        opened = _open(short.keys.recv, data, start, space.expected_packet_number)
        if opened is None:
            return False
        number, first, payload = opened
        if number in space.received_packets:
            return True
        if not payload:
            return False
        if number > space.expected_packet_number:
            space.expected_packet_number = number + 1
        if number > self._spin_highest_pn:
            # RFC 9000, 17.4: the client turns the bit, the server returns it.
            self._spin_bit = bool(first & _SPIN) is not self._is_client
            self._spin_highest_pn = number
        is_ack_eliciting = self._take(payload, now)
        if self._state is not QuicConnectionState.CONNECTED or self._close_pending:
            return True
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        self._record(space, number, now, is_ack_eliciting=is_ack_eliciting)
        return True

    def _take(self, payload: bytes, now: float) -> bool:
        """Handle the frames of a packet; whether it asks to be acknowledged."""
        taken = self._take_streams(payload)
        if taken == len(payload):
            return True
        context = QuicReceiveContext(
            epoch=Epoch.ONE_RTT,
            host_cid=self.host_cid,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        try:
            is_ack_eliciting, _ = self._payload_received(
                context, payload[taken:] if taken else payload
            )
        except QuicConnectionError as error:
            self.close(
                error_code=error.error_code,
                frame_type=error.frame_type,
                reason_phrase=error.reason_phrase,
            )
            return False
        return is_ack_eliciting or taken > 0

    def _take_streams(self, payload: bytes) -> int:
        """Handle STREAM frames of known streams at the front; how many bytes they took."""
        position, size = 0, len(payload)
        while position < size and _STREAM <= payload[position] < _STREAM_END:
            read = _read_stream(payload, position)
            if read is None:
                break
            stream_id, frame, end = read
            stream = self._streams.get(stream_id)
            if stream is None or not self._takes(stream, frame):
                break
            event = stream.receiver.handle_frame(frame)
            if event is not None:
                self._events.append(event)
            position = end
        return position

    def _takes(self, stream: QuicStream, frame: QuicStreamFrame) -> bool:
        """Whether the frame keeps every rule; if not, the library says which one it breaks."""
        receiver, end = stream.receiver, frame.offset + len(frame.data)
        new, limit = max(0, end - receiver.highest_offset), self._local_max_data
        is_good = (
            not frame.fin
            and not receiver.is_finished
            and receiver._final_size is None
            and end <= stream.max_stream_data_local
            and limit.used + new <= limit.value
        )
        limit.used += new if is_good else 0
        return is_good

    def _record(
        self, space: QuicPacketSpace, number: int, now: float, *, is_ack_eliciting: bool
    ) -> None:
        """That packet came; acknowledge it soon if it asks for that."""
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > _MAX_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay


def _has_data(stream: QuicStream) -> bool:
    return not stream.is_blocked and not stream.sender.buffer_is_empty


def _has_limits_to_say(stream: QuicStream) -> bool:
    """Whether the library has a frame of another kind to write for that stream."""
    ours, receiver = stream.max_stream_data_local, stream.receiver
    return bool(
        stream.max_stream_data_local_sent != ours
        or (ours and receiver.highest_offset * 2 > ours)
        or receiver.stop_pending
        or stream.sender.reset_pending
        or stream.is_finished
    )


def _varint(number: int) -> bytes:
    """A variable-length integer (RFC 9000, 16)."""
    if number < 0x40:
        return bytes((number,))
    if number < 0x4000:
        return (number | 0x4000).to_bytes(2)
    if number < 0x4000_0000:
        return (number | 0x8000_0000).to_bytes(4)
    return (number | 0xC000_0000_0000_0000).to_bytes(8)


def _stream_header(stream_id: int, frame: QuicStreamFrame) -> bytes:
    kind = _STREAM | _HAS_LENGTH | _HAS_OFFSET * bool(frame.offset) | _IS_LAST * frame.fin
    offset = _varint(frame.offset) if frame.offset else b""
    return b"%c%b%b%b" % (kind, _varint(stream_id), offset, _varint(len(frame.data)))


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at that position, and where it ends; raises ``IndexError`` at the end."""
    first = data[position]
    length = 1 << (first >> 6)
    end = position + length
    if end > len(data):
        raise IndexError(end)
    return int.from_bytes(data[position:end]) & ((1 << (8 * length - 2)) - 1), end


def _read_stream(data: bytes, position: int) -> tuple[int, QuicStreamFrame, int] | None:
    """The STREAM frame at that position: its stream, itself, where it ends; nothing if cut off."""
    kind, offset = data[position], 0
    try:
        stream_id, position = _read_varint(data, position + 1)
        if kind & _HAS_OFFSET:
            offset, position = _read_varint(data, position)
        length = len(data) - position
        if kind & _HAS_LENGTH:
            length, position = _read_varint(data, position)
    except IndexError:
        return None
    end = position + length
    if end > len(data) or not length:
        return None
    content = data[position:end]
    return stream_id, QuicStreamFrame(content, bool(kind & _IS_LAST), offset), end


def _open(keys: Any, data: bytes, start: int, expected: int) -> tuple[int, int, bytes] | None:
    """Number, first byte and payload of a packet whose number is at ``start``.

    Nothing if it cannot be read with these keys, or sets what must not be set.
    """
    sample = start + _SAMPLE_OFFSET
    mask = keys.hp._mask(data[sample : sample + _SAMPLE_BYTES])
    first = data[0] ^ (mask[0] & 0x1F)
    if first & _RESERVED or bool(first & _KEY_PHASE) != bool(keys.key_phase):
        return None
    length = (first & 0x03) + 1
    end = start + length
    written = int.from_bytes(data[start:end]) ^ int.from_bytes(mask[1 : 1 + length])
    number = decode_packet_number(written, length * 8, expected)
    header = b"%c%b%b" % (first, data[1:start], written.to_bytes(length))
    aead = keys.aead
    try:
        return number, first, aead._aead.decrypt(aead._nonce(number), data[end:], header)
    except InvalidTag:
        return None
