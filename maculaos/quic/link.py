"""One link: a QUIC connection to another node, the session on it, and its streams.

A link decides nothing about the mesh: it reports what the peer says and sends what it is told,
within bounds. It touches no socket and no clock either; ``endpoint`` brings datagrams and time,
and takes datagrams away. Only established links are ever shown to an observer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from aioquic.quic import events

from maculaos.effects import Carriage
from maculaos.errors import LocalProtocolError
from maculaos.quic.datagrams import read_datagram
from maculaos.quic.endings import (
    Ending,
    cause_of,
    ending_of,
    peers_cause_of,
    phrase,
    shortened,
)
from maculaos.quic.mutual_tls import ALPN, MutualConnection
from maculaos.quic.port import SocketAddress, written_address
from maculaos.quic.streams import RANKS, InboundStreams, OutboundStreams
from maculaos.session import (
    MAX_GREETING_SIZE,
    Deliver,
    Established,
    Refuse,
    Reply,
    Session,
    SessionEffect,
    SessionTerms,
    check_local_message,
)
from maculaos.wire.frames import Frame, FrameError
from maculaos.wire.messages import Message, encode_message, may_travel_early
from maculaos.wire.packing import Packer
from maculaos.wire.registry import ErrorCode, StreamClass

if TYPE_CHECKING:
    from collections import Counter

    from maculaos.identity import Identity
    from maculaos.quic.carrier import Carrier, LinkTerms
    from maculaos.security.credentials import Credentials

# Signs of life per idle timeout: two may be lost in a row and the link still lives.
_KEEP_ALIVES: Final = 4


class Link:
    """A link to another node; ``number`` is unique for the life of the endpoint."""

    def __init__(
        self,
        number: int,
        quic: MutualConnection,
        carrier: Carrier,
        terms: LinkTerms,
        deadline: float,
    ) -> None:
        self.number = number
        self.is_outbound = quic.configuration.is_client
        # The address that was dialled to get this link; None if the peer dialled.
        self.dialled: str | None = None
        self.peer_addresses: tuple[str, ...] = ()
        self.peer_software = ""
        # Which life of the peer is at the other end; another one means that it started again.
        self.peer_life = 0
        self.bytes_sent = 0
        self.datagrams_sent = 0
        self.bytes_received = 0
        #: How often it was woken in a turn lately: a note of the endpoint's.
        self.words_before = 0
        self.ended: Ending | None = None
        # Nothing of the connection is left, not even its closing period.
        self.is_over = False
        self._quic = quic
        self._carrier = carrier
        self._terms = terms
        self._deadline = deadline
        self._keep_alive_s = terms.idle_timeout_s / _KEEP_ALIVES
        self._keep_alive_at = deadline
        # When the link must end because the peer's certificate does.
        self._expires_at = math.inf
        self._now = 0.0
        self._last_word: tuple[ErrorCode, str] | None = None
        self._session: Session | None = None
        # With whom: proved, or what a ticket says until then.
        self._presumed: Identity | None = None
        self._is_proved = False
        self._is_up = False
        # What the peer's early words lead to, once it has proved that they are its own.
        self._deferred: list[Established | Deliver] = []
        #: What a dialler says right behind its greeting: only what may travel early.
        self.first_words: tuple[Message, ...] = ()
        self._packer = Packer()
        self._inbound = InboundStreams(MAX_GREETING_SIZE)
        self._outbound = OutboundStreams(terms.queue_bytes, quic.unacknowledged)

    # What the node uses.

    @property
    def peer(self) -> Identity:
        """Who is at the other end, as its certificate proved."""
        peer = self._quic.peer
        if peer is None:
            raise LocalProtocolError("the peer of a link is unknown before its handshake")
        return peer

    @property
    def remote(self) -> str:
        """Where the peer's datagrams come from, as ``host:port``; may change during the link."""
        address = self._quic.get_peer_address()
        return "unknown" if address is None else written_address(address)

    @property
    def remote_host(self) -> str:
        """The address that the peer's datagrams come from, without its port."""
        address = self._quic.get_peer_address()
        return "" if address is None else str(address[0])

    @property
    def is_established(self) -> bool:
        """Whether it is greeted, and not ended."""
        return self._is_up and self.ended is None

    @property
    def is_resumed(self) -> bool:
        """Whether a session ticket took the place of the certificates."""
        return self._is_proved and self._quic.is_resumed

    @property
    def queued_bytes(self) -> int:
        """Bytes that were accepted for sending and are not acknowledged yet."""
        return self._outbound.waiting_bytes

    def holds_more_than(self, size: int) -> bool:
        """Whether ``queued_bytes`` is more."""
        return self._outbound.holds_more_than(size)

    @property
    def counts(self) -> Counter[str]:
        """What found its queue full, by class, and what else the path cost."""
        return self._quic.counts + self._outbound.refused

    @property
    def datagram_size(self) -> int:
        """How large the UDP payloads to this peer may be now, in bytes."""
        return self._quic.path_size.size

    @property
    def rtt_s(self) -> float:
        """The smoothed round trip time in seconds; 0 before the first sample."""
        return self._quic.round_trip_s

    def send(
        self, message: Message, stream: StreamClass, carriage: Carriage = Carriage.STREAM
    ) -> bool:
        """Queue ``message``; false if the link is not up, or holds as much as it may.

        A datagram never finds its queue full: it crowds out the oldest that waits. Raises
        ``LocalProtocolError`` for a greeting and ``FrameError`` above 16 MiB.
        """
        check_local_message(message)
        if not self._is_up or self.ended is not None:
            return False
        frames = self._packer.pack(message, may_compress=not self._quic.is_near)
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        if carriage is Carriage.DATAGRAM and len(data) <= self._quic.datagram_room:
            self._quic.send_datagram_frame(data)
            self._carrier.wake(self)
            return True
        return self._offer(stream, data)

    def close(self, code: ErrorCode, reason: str) -> None:
        """End the link and tell the peer why.

        What was queued before is still sent as far as the network takes it at once: a node says
        that it leaves, and leaves. What gets lost of it is not sent again.
        """
        self._end(cause_of(code), code, reason)

    # What the endpoint uses.

    def start(self, remote: SocketAddress, now: float) -> None:
        """Begin the handshake with whoever listens at ``remote``."""
        self._quic.connect(remote, now=now)
        if self._quic.presumed_peer is not None:
            # The greeting goes with the first datagram (RFC 9001, 4.6: 0-RTT).
            self._begin(self._quic.presumed_peer)
        self._carrier.wake(self)

    def renew(self, credentials: Credentials) -> None:
        """Believe the peer by these from now on."""
        self._quic.renew(credentials)

    def recheck(self) -> bool:
        """Close the link if its peer would not be believed now; whether that was so."""
        refusal = self._quic.recheck() if self.ended is None else None
        if refusal is not None:
            self.close(ErrorCode.IDENTITY_MISMATCH, str(refusal))
        return refusal is not None

    def receive_datagram(self, datagram: bytes, sender: SocketAddress, now: float) -> None:
        """Take one datagram of this connection; ``now`` in seconds of the loop's clock."""
        self.bytes_received += len(datagram)
        self._now = now
        self._keep_alive_at = now + self._keep_alive_s
        try:
            self._quic.receive_datagram(datagram, sender, now=now)
        except Exception as error:  # noqa: BLE001  # whatever a datagram breaks in the library
            # costs its sender the link, and never the node.
            self.close(ErrorCode.INTERNAL, f"cannot process a datagram: {type(error).__name__}")
        self._drain()
        if self._is_wordy():
            self.close(ErrorCode.LIMIT_EXCEEDED, "too much before the greeting")
        self._carrier.wake(self)

    def is_listening(self, now: float) -> bool:
        """Whether there is nothing to send now: most of what comes is not answered at once."""
        return (
            self.is_established
            and not self._outbound.buffered_bytes
            and self._quic.is_listening(now)
        )

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, SocketAddress]]:
        """Everything that may go out now, each with where to."""
        if self._quic.get_peer_address() is None:
            return []
        self._write()
        datagrams = self._quic.datagrams_to_send(now=now)
        if self._last_word is not None:
            code, reason = self._last_word
            self._last_word = None
            self._quic.close(error_code=code, reason_phrase=reason)
            datagrams += self._quic.datagrams_to_send(now=now)
        self.bytes_sent += sum(len(datagram) for datagram, _ in datagrams)
        self.datagrams_sent += len(datagrams)
        return datagrams

    def size_refused(self, size: int, now: float) -> None:
        """The system does not send datagrams of that size."""
        self._quic.path_size.refused(size, now)

    def move(self, now: float) -> None:
        """Our own address is another one; tell the peer from there."""
        if self.is_established:
            self._quic.move(now)
            self._carrier.wake(self)

    def next_timer(self) -> float | None:
        """When ``handle_timer`` has something to do, in seconds of the loop's clock."""
        own = None if self.ended is not None else self._own_timer()
        quic = self._quic.get_timer() if self._quic.get_peer_address() is not None else None
        if own is None or quic is None:
            return quic if own is None else own
        return min(own, quic)

    def handle_timer(self, now: float) -> None:
        """Let time pass up to ``now``."""
        if self.ended is None and now >= self._own_timer():
            self._handle_own_timer(now)
        quic = self._quic.get_timer() if self._quic.get_peer_address() is not None else None
        if quic is not None and now >= quic:
            self._quic.handle_timer(now=now)
        self._drain()
        self._carrier.wake(self)

    @property
    def has_peer_address(self) -> bool:
        """Whether the first datagram was good enough to have somewhere to answer to."""
        return self._quic.get_peer_address() is not None

    def _end(self, cause: str, code: ErrorCode, reason: str) -> None:
        if self.ended is None:
            self.ended = Ending(cause, phrase(code, reason))
            self._last_word = (code, shortened(reason))
            self._carrier.wake(self)

    def _is_wordy(self) -> bool:
        """Whether a peer that dialled has sent more than any greeting needs."""
        is_greeting = not self.is_outbound and not self.is_established
        return is_greeting and self.bytes_received > self._terms.greeting_bytes

    def _own_timer(self) -> float:
        if not self.is_established:
            return self._deadline
        return min(self._keep_alive_at, self._expires_at, self._overdue_at())

    def _overdue_at(self) -> float:
        """When the rest of what the peer has begun to say is overdue."""
        deadline = None if self._session is None else self._session.next_deadline()
        return math.inf if deadline is None else deadline

    def _handle_own_timer(self, now: float) -> None:
        if now >= self._expires_at:
            self.close(ErrorCode.IDENTITY_MISMATCH, "the peer's certificate has expired")
        elif self._session is None or not self._is_proved:
            self.close(ErrorCode.HANDSHAKE_TIMEOUT, "no answer in time")
        elif not self.is_established or now >= self._overdue_at():
            self._carry_out(self._session.advance(now))
        else:
            self._keep_alive_at = now + self._keep_alive_s
            self._quic.send_ping(0)

    def _drain(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self._handle(event)
        if self.ended is None:
            self.ended = ending_of(self._quic)

    def _handle(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived():
                self._receive(event)
            case events.DatagramFrameReceived(data=data):
                self._receive_datagram_frame(data)
            case events.HandshakeCompleted():
                self._greet(event)
            case events.ConnectionIdIssued(connection_id=issued):
                self._carrier.connection_id_issued(self, issued)
            case events.ConnectionIdRetired(connection_id=retired):
                self._carrier.connection_id_retired(retired)
            case events.StreamReset() | events.StopSendingReceived():
                # Nothing can be written to a stopped stream, not even what is queued.
                self._outbound.take()
                self.close(ErrorCode.MALFORMED, "a stream lives as long as its link")
            case events.ConnectionTerminated():
                self.is_over = True
            case _:
                pass

    def _greet(self, event: events.HandshakeCompleted) -> None:
        peer = self._quic.peer
        if peer is None or event.alpn_protocol != ALPN:
            # Cannot happen as long as aioquic calls what mutual_tls put in its way.
            self.close(ErrorCode.INTERNAL, "the peer was not checked")
            return
        self._is_proved = True
        self._expires_at = self._now + self._quic.peer_valid_s
        if self._session is None:
            self._begin(peer)
        elif self._presumed != peer:
            self.close(ErrorCode.IDENTITY_MISMATCH, "another node answers at this address")
        deferred, self._deferred = self._deferred, []
        self._carry_out(tuple(deferred))

    def _begin(self, peer: Identity) -> None:
        terms = self._terms
        self._presumed = peer
        self._session = Session(
            SessionTerms(
                local=terms.local,
                addresses=terms.addresses,
                software=terms.software,
                life=terms.life,
                peer=peer,
                is_dialler=self.is_outbound,
                deadline=self._deadline,
                waiting_bytes=terms.queue_bytes,
            )
        )
        self._carry_out(self._session.start())
        for message in self.first_words:
            self._reply(message, StreamClass.CONTROL)

    def _receive(self, event: events.StreamDataReceived) -> None:
        if self._session is None and self._quic.presumed_peer is not None:
            self._begin(self._quic.presumed_peer)
        session = self._session
        if session is None or self.ended is not None:
            return
        try:
            received = self._inbound.receive(event.stream_id, event.data)
        except FrameError as error:
            self._carry_out(session.refuse_stream(error))
            return
        if received is not None and received[1]:
            stream, frames = received
            session.heard(self._now)
            self._take(session, frames, stream)
        if event.end_stream:
            self.close(ErrorCode.MALFORMED, "a stream lives as long as its link")

    def _take(self, session: Session, frames: list[Frame], stream: StreamClass) -> None:
        for frame in frames:
            if self.ended is not None:
                return
            message = session.plain_message(frame) if self._is_up else None
            if message is not None:
                self._carrier.message_received(self, message)
            elif frame.flags and not self._is_proved:
                # To inflate and to put together is work that early words are not worth (0-RTT).
                self.close(ErrorCode.NOT_ALLOWED_YET, "a flag before the handshake ended")
            else:
                self._carry_out(session.receive(frame, stream, self._now))

    def _receive_datagram_frame(self, data: bytes) -> None:
        session = self._session
        if session is None or not self.is_established:
            # It overtook the greeting; nobody counts on it.
            return
        try:
            frames = read_datagram(data)
        except FrameError as error:
            self._carry_out(session.refuse_stream(error))
            return
        self._take(session, frames, StreamClass.CONTROL)

    def _carry_out(self, effects: tuple[SessionEffect, ...]) -> None:
        for effect in effects:
            if self.ended is not None:
                return
            if not self._is_proved and isinstance(effect, (Established, Deliver)):
                self._defer(effect)
                continue
            match effect:
                case Deliver(message):
                    self._carrier.message_received(self, message)
                case Reply(message, stream):
                    self._reply(message, stream)
                case Established():
                    self.peer_addresses = effect.addresses
                    self.peer_software, self.peer_life = effect.software, effect.life
                    self._is_up = True
                    self._inbound.allow_large_frames()
                    self._carrier.link_established(self)
                case Refuse(code, reason, is_peers):
                    cause = peers_cause_of(code) if is_peers else cause_of(code)
                    self._end(cause, code, reason)

    def _defer(self, effect: Established | Deliver) -> None:
        """Nothing counts before the handshake ends; most must not even be said (0-RTT)."""
        if isinstance(effect, Deliver) and not may_travel_early(effect.message):
            what = f"{type(effect.message).__name__} before the handshake ended"
            self.close(ErrorCode.NOT_ALLOWED_YET, what)
        else:
            self._deferred.append(effect)

    def _reply(self, message: Message, stream: StreamClass) -> None:
        if not self._offer(stream, encode_message(message)):
            # It asks and asks, and takes no answer.
            self.close(ErrorCode.LIMIT_EXCEEDED, "too much waits for this peer")

    def _offer(self, stream: StreamClass, data: bytes) -> bool:
        if not self._outbound.offer(stream, data):
            return False
        self._carrier.wake(self)
        return True

    def _write(self) -> None:
        for stream, data in self._outbound.take():
            stream_id = self._outbound.stream_ids.get(stream)
            if stream_id is None:
                stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
                self._outbound.stream_ids[stream] = stream_id
                self._quic.rank_stream(stream_id, RANKS[stream])
            self._quic.send_stream_data(stream_id, data)
