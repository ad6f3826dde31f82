"""A QUIC connection that makes the most of its path: size, order, pace, and moves to another one.

What aioquic 1.7.2 has no word for, all in this file, by its private names (``_max_datagram_size``,
``_loss``, ``_datagrams_pending``, ``_streams_queue``, ``_network_paths``, the packet builder):

- the size of datagrams follows what the path carries, by probes of its own (``path_size``);
- streams are served by rank instead of in turn, and DATAGRAM frames wait in a bounded queue;
- near peers are not paced: a pause below a millisecond costs more than it gives;
- both ends may move to another address. RFC 9000, 9 lets a client move only. Here a client that is
  spoken to from a new address validates it as a server would, and follows; until then it
  sends nothing but the challenge there.

Who the peer is does not matter here, nor what is said.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from aioquic.quic.congestion.reno import RenoCongestionControl
from aioquic.quic.connection import END_STATES, QuicNetworkPath
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.tls import Epoch

from maculaos.quic.datagrams import MAX_DATAGRAM_PAYLOAD, MAX_WAITING_DATAGRAMS
from maculaos.quic.path_size import BASE_SIZE, PathSize
from maculaos.quic.short_packets import ShortPacketConnection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioquic.quic.packet_builder import QuicSentPacket
    from aioquic.quic.stream import QuicStream

    from maculaos.quic.port import SocketAddress

# A link that carries less never pays for larger datagrams.
_WORTH_PROBING_BYTES: Final = 32 * 1024
# RFC 9002, 7.2: the initial window, in datagrams and in bytes.
_INITIAL_WINDOW: Final = 10
_INITIAL_WINDOW_BYTES: Final = 14_720
# A peer within that round trip is near, and so is one on this machine, however busy it is.
_NEAR_S: Final = 0.002
_LOOPBACK: Final = ("127.", "::1", "::ffff:127.")
# Packets to a near peer per turn of the loop, so that other links have their turn.
_BURST: Final = 64
# Connection ids of the peer that strange addresses leave to where it moves.
_SPARE_IDS: Final = 2
# Header of a DATAGRAM frame: its type and its length.
_DATAGRAM_HEADER: Final = 3
_LAST_RANK: Final = 255


class PathConnection(ShortPacketConnection):
    """A ``QuicConnection`` with the properties above; its public face is used as ever."""

    def __init__(self, **options: Any) -> None:
        """Take aioquic's own options."""
        self._queue: list[QuicStream] = []
        # So many of them are in order.
        self._ranked = 0
        self._ranks: dict[int, int] = {}
        super().__init__(**options)
        self.path_size = PathSize()
        #: DATAGRAM frames that were crowded out by newer ones.
        self.datagrams_dropped = 0
        self._datagrams_pending = deque(maxlen=MAX_WAITING_DATAGRAMS)
        self._loss._cc = _WatchfulReno(self)
        self._loss._pacer = _NearPacer(self)
        self._heard_at = 0.0

    # Streams by rank, datagrams beside them.

    def rank_stream(self, stream_id: int, rank: int) -> None:
        """Serve that stream before every one of a higher rank."""
        self._ranks[stream_id] = rank
        self._ranked = -1

    @property
    def datagram_room(self) -> int:
        """The largest DATAGRAM payload that the peer takes and any path carries; 0 if none."""
        theirs = (self._remote_max_datagram_frame_size or 0) - _DATAGRAM_HEADER
        return max(0, min(theirs, MAX_DATAGRAM_PAYLOAD))

    @property
    def counts(self) -> Counter[str]:
        """Datagrams that were dropped, and how often the path shrank; nothing that is 0."""
        found = {"DATAGRAM": self.datagrams_dropped, "black holes": self.path_size.black_holes}
        return +Counter(found)

    def send_datagram_frame(self, data: bytes) -> None:
        """Queue a DATAGRAM frame; of too many, the oldest is dropped and counted."""
        self.datagrams_dropped += len(self._datagrams_pending) == MAX_WAITING_DATAGRAMS
        super().send_datagram_frame(data)

    @property
    def _streams_queue(self) -> list[QuicStream]:
        # aioquic puts a stream that was served last; the order is stable, so equals take turns.
        if len(self._queue) != self._ranked:
            self._queue.sort(key=self._rank)
            self._ranked = len(self._queue)
        return self._queue

    @_streams_queue.setter
    def _streams_queue(self, streams: list[QuicStream]) -> None:
        self._queue, self._ranked = streams, -1

    def _rank(self, stream: QuicStream) -> int:
        return self._ranks.get(stream.stream_id or 0, _LAST_RANK)

    # Time and datagrams, as aioquic has them, and the search for a larger size on the way.

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Everything that may go out now, each with where to."""
        self.path_size.advance(now)
        self._resize()
        datagrams = super().datagrams_to_send(now=now)
        if self._can_probe:
            if self._network_paths[0].bytes_sent > _WORTH_PROBING_BYTES:
                self.path_size.begin(now)
            size = self.path_size.probe_due(now)
            if size is not None:
                datagrams += self._probe(size, now)
        return datagrams

    def is_listening(self, now: float) -> bool:
        """Whether ``datagrams_to_send`` would have nothing to give now."""
        return self.path_size.next_deadline() > now and super().is_listening(now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` has something to do."""
        timer = super().get_timer()
        if timer is None or not self._can_probe:
            return timer
        return min(timer, self.path_size.next_deadline())

    def receive_datagram(self, data: bytes, addr: SocketAddress, now: float) -> None:
        """Take one datagram, also from where the peer was not yet."""
        self._heard_at = now
        before = self._network_paths[0] if self._network_paths else None
        stranger = self._stranger(addr)
        if stranger is None:
            super().receive_datagram(data, addr, now)
        else:
            self._receive_from(stranger, data, now)
        if before is not None and self._network_paths[0] is not before:
            self._follow(before.addr[0] != self._network_paths[0].addr[0], now)

    def move(self, now: float) -> None:
        """Our own address is another one: tell the peer, from there, and start the path anew."""
        self.change_connection_id()
        self._start_path(now)
        self.send_ping(0)

    @property
    def is_near(self) -> bool:
        """Whether the peer is on this machine, or about as quick to reach."""
        if self._loss._rtt_min <= _NEAR_S:
            return True
        return bool(self._network_paths) and str(self._network_paths[0].addr[0]).startswith(
            _LOOPBACK
        )

    @property
    def _can_probe(self) -> bool:
        paths = self._network_paths
        return (
            self._handshake_confirmed
            and self._state not in END_STATES
            and not self._close_pending
            and bool(paths)
            and paths[0].is_validated
        )

    def _resize(self) -> None:
        size = self.path_size.size
        if size != self._max_datagram_size:
            self._max_datagram_size = size
            self._loss._pacer._max_datagram_size = size
            self._control.resize(size)

    @property
    def _control(self) -> _WatchfulReno:
        control = self._loss._cc
        assert isinstance(control, _WatchfulReno)  # noqa: S101  # put there by __init__
        return control

    def _probe(self, size: int, now: float) -> list[tuple[bytes, SocketAddress]]:
        """A PING with padding up to ``size``; its loss is neither congestion nor sent again."""
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=size,
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            spin_bit=self._spin_bit,
            version=self._version or 0,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[Epoch.ONE_RTT])
        frame = builder.start_frame(
            QuicFrameType.PING, handler=self._on_probe_delivery, handler_args=(size,)
        )
        frame.push_bytes(bytes(builder.remaining_buffer_space))
        packet = builder._packet
        if packet is not None:
            packet.in_flight = packet.is_ack_eliciting = False
        self.path_size.probe_sent(size, now, 3 * self._loss.get_probe_timeout())
        return self._flush_builder(builder, self._network_paths[0], self._peer_cid.cid, now)

    def _on_probe_delivery(self, delivery: QuicDeliveryState, size: int) -> None:
        if delivery is QuicDeliveryState.ACKED:
            self.path_size.probe_answered(size, self._heard_at)

    def _send_probing_frames(
        self, network_path: QuicNetworkPath, now: float
    ) -> list[tuple[bytes, SocketAddress]]:
        # They are padded, and nothing is known of what that path carries.
        size, self._max_datagram_size = self._max_datagram_size, BASE_SIZE
        try:
            return super()._send_probing_frames(network_path, now)
        finally:
            self._max_datagram_size = size

    # Other addresses.

    def _stranger(self, addr: SocketAddress) -> QuicNetworkPath | None:
        """A path for ``addr``, if aioquic's client would not listen to it."""
        if not (self._is_client and self._handshake_confirmed):
            return None
        if any(path.addr == addr for path in self._network_paths):
            return None
        return QuicNetworkPath(addr)

    def _receive_from(self, stranger: QuicNetworkPath, data: bytes, now: float) -> None:
        """Keep the new path if what came over it was the peer's; then it is validated."""
        heard = self._heard()
        self._spare_connection_id()
        self._network_paths.append(stranger)
        super().receive_datagram(data, stranger.addr, now)
        if stranger in self._network_paths:
            self._network_paths.remove(stranger)
            if self._heard() != heard:
                self._add_network_path(stranger)

    def _spare_connection_id(self) -> None:
        """Give up the oldest path whose challenge is not answered, lest none is left for a new one.

        Each holds one of the peer's connection ids, and the peer may never have been there.
        """
        if len(self._peer_cid_available) >= _SPARE_IDS:
            return
        for path in self._network_paths[1:]:
            if path.peer_cid is not None:
                self._network_paths.remove(path)
                self._retire_peer_cid(path.peer_cid)
                return

    def _heard(self) -> tuple[range, ...]:
        """Which packets came: any that could be decrypted, and is new, changes it."""
        return tuple(self._spaces[Epoch.ONE_RTT].ack_queue)

    def _follow(self, is_other_host: bool, now: float) -> None:
        if self._is_client:
            # Should the peer go back, that is a new address again.
            for path in self._network_paths[1:]:
                if path.peer_cid is not None:
                    self._retire_peer_cid(path.peer_cid)
            del self._network_paths[1:]
            self._is_quiet = False
        if is_other_host:
            self._start_path(now)
        else:
            self.path_size.moved(now)
            self._resize()

    def _start_path(self, now: float) -> None:
        """Forget size, window and round trip: they were another path's (RFC 9000, 9.4)."""
        self.path_size.moved(now)
        self._max_datagram_size = BASE_SIZE
        loss = self._loss
        for packet in self._spaces[Epoch.ONE_RTT].sent_packets.values():
            packet.in_flight = False
        self._first_here = self._packet_number
        loss._cc = _WatchfulReno(self)
        loss._pacer = _NearPacer(self)
        loss._rtt_initialized = False
        loss._rtt_latest = loss._rtt_smoothed = loss._rtt_variance = 0.0
        loss._rtt_min = float("inf")
        loss._pto_count = 0


class _WatchfulReno(RenoCongestionControl):
    """New Reno that tells the path's size what became of packets, and whose datagrams may grow."""

    def __init__(self, connection: PathConnection) -> None:
        super().__init__(max_datagram_size=BASE_SIZE)
        self._connection = connection
        self._path_size = connection.path_size

    def resize(self, size: int) -> None:
        """Datagrams are that large from now on (RFC 9002, 7.2)."""
        self._max_datagram_size = size
        initial = min(_INITIAL_WINDOW * size, max(_INITIAL_WINDOW_BYTES, 2 * size))
        self.congestion_window = max(self.congestion_window, initial)

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """See ``QuicCongestionControl``; slow start ends when round trips grow longer (HyStart).

        Not to a near peer: there they do because somebody else has the processor.
        """
        if not self._connection.is_near:
            super().on_rtt_measurement(now=now, rtt=rtt)

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """See ``QuicCongestionControl``."""
        super().on_packet_acked(now=now, packet=packet)
        self._path_size.arrived(packet.sent_bytes)

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        """See ``QuicCongestionControl``."""
        lost = tuple(packets)
        self._connection.look_again()
        super().on_packets_lost(now=now, packets=lost)
        self._path_size.lost(max(packet.sent_bytes for packet in lost))

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        """See ``QuicCongestionControl``; a probe timeout gives packets up here."""
        lost = tuple(packets)
        self._connection.look_again()
        super().on_packets_expired(packets=lost)
        self._path_size.expired(max((packet.sent_bytes for packet in lost), default=0))


class _NearPacer(QuicPacketPacer):
    """Paces packets to far peers; near ones get a burst per turn of the loop instead."""

    def __init__(self, connection: PathConnection) -> None:
        super().__init__(max_datagram_size=BASE_SIZE)
        self._connection = connection
        self._is_near = False
        self._turn = 0.0
        self._sent = 0

    def next_send_time(self, now: float) -> float | None:  # type: ignore[override]
        """See ``QuicPacketPacer``."""
        if now != self._turn:
            self._turn, self._sent = now, 0
            self._is_near = self._connection.is_near
        if not self._is_near:
            return super().next_send_time(now)
        return now if self._sent >= _BURST else None

    def update_after_send(self, now: float) -> None:
        """See ``QuicPacketPacer``."""
        if self._is_near:
            self._sent += 1
        else:
            super().update_after_send(now)
