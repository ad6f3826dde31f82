"""Packets of an established connection, read and written without detours.

aioquic 1.7.2 builds a packet in a buffer, copies the whole of it eleven times on its way out, and
goes once more through all that a packet might hold to learn that there is nothing left. Most
packets have a short header (RFC 9000, 17.3) and hold nothing but stream data and acknowledgements:
those are read and written here, and DATAGRAM frames are written, on the library's own state
(``_spaces``, ``_loss``, ``_cryptos``, ``_streams`` and what hangs on them). Whatever else is to be
said, or is heard, is the library's work as ever, and so is every rule: handshakes, migration, loss,
limits, keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aioquic.quic.connection import (
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import MAX_ACK_RANGES
from aioquic.tls import Epoch

from maculaos.quic.path_size import BASE_SIZE
from maculaos.quic.short_frames import (
    ACK,
    LONG,
    NUMBER_BYTES,
    SAMPLE_END,
    SPIN,
    STREAM_HEADER,
    TAG_BYTES,
    is_stream,
    open_packet,
    protect,
    read_acknowledgement,
    read_stream,
    stream_header,
    varint,
)
from maculaos.quic.windows import WindowConnection, is_due

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicNetworkPath
    from aioquic.quic.packet import QuicStreamFrame
    from aioquic.quic.recovery import QuicPacketSpace
    from aioquic.quic.stream import QuicStream, QuicStreamSender

    from maculaos.quic.port import SocketAddress

# RFC 9221, 4: with its length.
_DATAGRAM: Final = 0x31
_DATAGRAM_HEADER: Final = 1 + 4
# Beyond 16383 a stream frame of the library cannot tell its length.
_LIBRARY_SIZE: Final = 16_336
# Of the millisecond that an acknowledgement waits, the part in which data takes it along.
_EARLY_S: Final = 0.0006
# Rather than less than that, a packet waits until more may be under way.
_WORTH_SENDING: Final = 1024


class _Short(NamedTuple):
    """What short packets need of the library: found once, because looking it up is slow."""

    space: QuicPacketSpace
    keys: Any
    handshake: QuicStreamSender


class ShortPacketConnection(WindowConnection):
    """A ``QuicConnection`` that is quick at what it does most; its face is used as ever."""

    _short: _Short | None = None
    # Nothing waits that only the library can say; looked at anew after what could change it.
    _is_quiet = False
    # Packets below that number were sent on another path: their loss is not told to ``look_again``.
    _first_here = 0

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
        self._is_quiet = False
        size = self._max_datagram_size
        self._max_datagram_size = min(size, self._library_size)
        try:
            return super().datagrams_to_send(now=now)
        finally:
            self._max_datagram_size = size

    @property
    def _library_size(self) -> int:
        # RFC 9000, 14.4: whether small packets arrive is what a probe has to find out.
        return BASE_SIZE if self._probe_pending else _LIBRARY_SIZE

    @property
    def _is_settled(self) -> bool:
        """Whether only one path and one key are in use, and nobody is about to leave."""
        paths = self._network_paths
        return (
            self._state is QuicConnectionState.CONNECTED
            and not self._close_pending
            and paths[0].is_validated
            and (len(paths) == 1 or not any(map(_wants_probe, paths[1:])))
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

    def is_listening(self, now: float) -> bool:
        """Whether ``datagrams_to_send`` would have nothing to give now."""
        short = self._short
        if short is None or not self._is_settled or self._has_more_to_say(short, now):
            return False
        ack_at = short.space.ack_at
        return (
            (ack_at is None or ack_at > now)
            and not self._datagrams_pending
            and not any(map(_has_data, self._streams_queue))
        )

    def _has_more_to_say(self, short: _Short, now: float) -> bool:
        """Whether anything but stream data and one range of packet numbers waits."""
        space = short.space
        return bool(
            self._ping_pending
            or self._probe_pending
            or self._has_room_to_give()
            or (space.ack_at is not None and space.ack_at <= now and len(space.ack_queue) != 1)
            or not (self._is_quiet or self._looks_quiet(short))
        )

    def _looks_quiet(self, short: _Short) -> bool:
        """Whether nothing waits of what only the other's words or lost packets bring about."""
        limit = self._local_max_data
        self._is_quiet = not (
            self._retire_connection_ids
            or self._streams_blocked_pending
            or self._network_paths[0].remote_challenges
            or self._handshake_done_pending
            or limit.value != limit.sent
            or short.keys._update_key_requested
            or not short.handshake.buffer_is_empty
            or any(map(_has_limits_to_say, self._streams.values()))
            or any(not each.was_sent for each in self._host_cids)
        )
        return self._is_quiet

    def get_timer(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        short = self._short if self._is_settled else None
        if short is None or self._close_at is None:
            return super().get_timer()
        # As the library finds it, but for paths and numbers that are done with.
        space, loss = short.space, self._loss
        timer, self._loss_at = self._close_at, space.loss_time
        if self._loss_at is None and space.ack_eliciting_in_flight:
            wait_s = loss.get_probe_timeout() * (1 << loss._pto_count)
            self._loss_at = loss._time_of_last_sent_ack_eliciting_packet + wait_s
        for other in (space.ack_at, self._loss_at, self._pacing_at):
            if other is not None and other < timer:
                timer = other
        return timer

    # What may make the library want to speak.

    def look_again(self) -> None:
        """Something of the library's was lost, and is to be said again."""
        self._is_quiet = False

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        self._is_quiet = False
        super().handle_timer(now=now)

    def change_connection_id(self) -> None:
        """Use another of the peer's connection ids."""
        self._is_quiet = False
        super().change_connection_id()

    def request_key_update(self) -> None:
        """Use new keys from the next packet on."""
        self._is_quiet = False
        super().request_key_update()

    def _payload_received(
        self, context: QuicReceiveContext, plain: bytes, crypto_frame_required: bool = False
    ) -> tuple[bool, bool]:
        self._is_quiet = False
        return super()._payload_received(context, plain, crypto_frame_required)

    # Packets.

    def _stream_packets(self, short: _Short, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Packets of acknowledgements and stream data, as many as may leave now."""
        path, space, pacer = self._network_paths[0], short.space, self._loss._pacer
        self._pacing_at = None
        datagrams: list[tuple[bytes, SocketAddress]] = []
        while True:
            is_due = space.ack_at is not None and space.ack_at <= now
            waiting = [stream for stream in self._streams_queue if _has_data(stream)]
            if not (waiting or is_due or self._datagrams_pending):
                break
            if not is_due:
                self._pacing_at = pacer.next_send_time(now=now)
                if self._pacing_at is not None:
                    break
            datagram = self._packet_of(short, waiting, now)
            if not datagram:
                break
            datagrams.append((datagram, path.addr))
            path.bytes_sent += len(datagram)
            pacer.update_after_send(now=now)
        return datagrams

    def _packet_of(self, short: _Short, waiting: list[QuicStream], now: float) -> bytes:
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
        if _takes_along(short.space, now):
            frames.append(self._acknowledge(short.space, packet, now))
        self._add_streams(frames, packet, waiting)
        if not frames:
            return b""
        datagram = protect(
            short.keys.send,
            self._peer_cid.cid,
            self._packet_number,
            b"".join(frames),
            spin=self._spin_bit,
        )
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
        numbers = (ACK, largest, delay_us >> self._local_ack_delay_exponent, 0)
        return b"".join(map(varint, (*numbers, largest - received.start)))

    def _add_streams(
        self, frames: list[bytes], packet: QuicSentPacket, waiting: list[QuicStream]
    ) -> None:
        """Fill the packet: with DATAGRAM frames, then with data of these streams, in this order."""
        control = self._loss._cc
        free = control.congestion_window - control.bytes_in_flight
        overhead = 1 + len(self._peer_cid.cid) + NUMBER_BYTES + TAG_BYTES + sum(map(len, frames))
        room = min(self._max_datagram_size, free) - overhead
        if free < _WORTH_SENDING and control.bytes_in_flight:
            return
        room -= self._add_datagrams(frames, packet, room)
        for stream in waiting:
            if room <= STREAM_HEADER:
                return
            sender, before = stream.sender, stream.sender.highest_offset
            theirs = before + self._remote_max_data - self._remote_max_data_used
            most = min(theirs, stream.max_stream_data_remote)
            frame = sender.get_frame(room - STREAM_HEADER, most)
            if frame is None:
                continue
            self._remote_max_data_used += sender.highest_offset - before
            written = stream_header(stream.stream_id or 0, frame)
            frames += (written, frame.data)
            room -= len(written) + len(frame.data)
            end = frame.offset + len(frame.data)
            packet.in_flight = packet.is_ack_eliciting = True
            packet.delivery_handlers.append(
                (sender.on_data_delivery, (frame.offset, end, frame.fin))
            )
            # aioquic would only find out when it asks for the next frame.
            sender.buffer_is_empty = not (len(sender._pending) or sender._pending_eof)

    def _add_datagrams(self, frames: list[bytes], packet: QuicSentPacket, room: int) -> int:
        """Add the DATAGRAM frames that fit into so many bytes; return how many they take."""
        taken, pending = 0, self._datagrams_pending
        while pending and taken + _DATAGRAM_HEADER + len(pending[0]) <= room:
            data = pending.popleft()
            frame = b"%c%b%b" % (_DATAGRAM, varint(len(data)), data)
            frames.append(frame)
            taken += len(frame)
            packet.in_flight = packet.is_ack_eliciting = True
        return taken

    # Receiving.

    def _receive_short(self, short: _Short, data: bytes, addr: SocketAddress, now: float) -> bool:
        """Take a packet with a short header; false if it needs the library's whole care."""
        start = 1 + len(self.host_cid)
        if (
            len(data) < start + SAMPLE_END
            or data[0] & LONG
            or self._network_paths[0].addr != addr
            or not (data.startswith(self.host_cid, 1) or self._is_ours(data[1:start]))
        ):
            return False
        space = short.space
        opened = open_packet(short.keys.recv, data, start, space.expected_packet_number)
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
            self._spin_bit = bool(first & SPIN) is not self._is_client
            self._spin_highest_pn = number
        self.host_cid = data[1:start]
        is_ack_eliciting = self._take(payload, now)
        if self._state is not QuicConnectionState.CONNECTED or self._close_pending:
            return True
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        self._record(space, number, now, is_ack_eliciting=is_ack_eliciting)
        return True

    def _is_ours(self, cid: bytes) -> bool:
        """Whether the peer may go on with that connection id at once.

        That of a client means a move, which is the library's work.
        """
        return self._is_client and any(each.cid == cid for each in self._host_cids)

    def _take(self, payload: bytes, now: float) -> bool:
        """Handle the frames of a packet; whether it asks to be acknowledged."""
        start = self._take_acknowledgement(payload, now)
        taken = self._take_streams(payload, start)
        if taken == len(payload):
            return taken > start
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
        return is_ack_eliciting or taken > start

    def _take_acknowledgement(self, payload: bytes, now: float) -> int:
        """Handle an ACK frame of one range at the front; where it ends, 0 if there is none."""
        read = read_acknowledgement(payload) if payload[0] == ACK else None
        if read is None:
            return 0
        received, delay, end = read
        space = self._spaces[Epoch.ONE_RTT]
        if self._first_here:
            self._look_back(space)
        self._loss.peer_completed_address_validation = True
        self._loss.on_ack_received(
            ack_rangeset=RangeSet([received]),
            ack_delay=(delay << self._remote_ack_delay_exponent) / 1e6,
            now=now,
            space=space,
        )
        return end

    def _look_back(self, space: QuicPacketSpace) -> None:
        """What an acknowledgement finds lost of another path is to be said again, too."""
        if next(iter(space.sent_packets), self._first_here) < self._first_here:
            self._is_quiet = False
        else:
            self._first_here = 0

    def _take_streams(self, payload: bytes, position: int) -> int:
        """Handle STREAM frames of known streams from there on; where they end."""
        size = len(payload)
        while position < size and is_stream(payload[position]):
            read = read_stream(payload, position)
            if read is None:
                break
            stream_id, frame, end = read
            stream = self._streams.get(stream_id)
            if stream is None or not self._takes(stream, frame):
                break
            event = stream.receiver.handle_frame(frame)
            if event is not None:
                self._events.append(event)
            if is_due(stream.max_stream_data_local, stream.receiver.starting_offset()):
                self._is_quiet = False
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
        if is_good:
            limit.used += new
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
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if is_ack_eliciting and space.ack_at is None:
            space.ack_at = now + self._ack_delay


def _takes_along(space: QuicPacketSpace, now: float) -> bool:
    """Whether a packet that goes now acknowledges what came, lest another one has to soon."""
    if space.ack_at is None:
        return False
    return space.ack_at <= now or (space.ack_at - now < _EARLY_S and len(space.ack_queue) == 1)


def _has_data(stream: QuicStream) -> bool:
    return not stream.is_blocked and not stream.sender.buffer_is_empty


def _wants_probe(path: QuicNetworkPath) -> bool:
    """Whether the library has a challenge or an answer to send on a path that is not in use."""
    return bool(path.remote_challenges or not (path.is_validated or path.local_challenge_sent))


def _has_limits_to_say(stream: QuicStream) -> bool:
    """Whether the library has a frame of another kind to write for that stream."""
    ours, receiver = stream.max_stream_data_local, stream.receiver
    return bool(
        stream.max_stream_data_local_sent != ours
        or (ours and is_due(ours, receiver.starting_offset()))
        or receiver.stop_pending
        or stream.sender.reset_pending
        or stream.is_finished
    )
