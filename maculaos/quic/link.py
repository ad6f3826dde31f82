"""One link: a QUIC connection to another node, the session on it, and its streams.

A link decides nothing about the mesh: it reports what the peer says and sends what it is told,
within bounds. It touches no socket and no clock either; ``endpoint`` brings datagrams and time,
and takes datagrams away. Only established links are ever shown to an observer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

from maculaos.addresses import Address, InvalidAddress
from maculaos.errors import LocalProtocolError
from maculaos.identity import Identity
from maculaos.quic.mutual_tls import ALPN, MutualConnection
from maculaos.quic.streams import InboundStreams, OutboundStreams
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
from maculaos.wire.frames import FrameError
from maculaos.wire.messages import Message, encode_message
from maculaos.wire.registry import ErrorCode, StreamClass

if TYPE_CHECKING:
    from maculaos.quic.port import SocketAddress

# A reason must fit into one packet with its headers, whatever the language.
MAX_REASON_SIZE: Final = 200
# Signs of life per idle timeout: two may be lost in a row and the link still lives.
_KEEP_ALIVES: Final = 4


class LinkObserver(Protocol):
    """Who is told about links; called on the loop, must not raise."""

    def link_up(self, link: Link) -> None:
        """The link is established: both ends know who the other is."""
        ...

    def message_received(self, link: Link, message: Message) -> None:
        """The peer said something."""
        ...

    def link_down(self, link: Link, reason: str) -> None:
        """The link, once up, is gone, whoever ended it."""
        ...


class Carrier(Protocol):
    """What a link needs of the endpoint that carries its datagrams."""

    def wake(self, link: Link) -> None:
        """The link has something to send, or has ended."""
        ...

    def link_established(self, link: Link) -> None:
        """The link is up."""
        ...

    def message_received(self, link: Link, message: Message) -> None:
        """The peer said something."""
        ...

    def connection_id_issued(self, link: Link, connection_id: bytes) -> None:
        """Datagrams to that id are the link's."""
        ...

    def connection_id_retired(self, connection_id: bytes) -> None:
        """Datagrams to that id are nobody's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """What all links of one endpoint share."""

    local: Identity
    addresses: tuple[str, ...]
    software: str
    life: int
    queue_bytes: int
    idle_timeout_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link ended: ``cause`` to count it under, ``reason`` for people."""

    cause: str
    reason: str


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
        self.bytes_received = 0
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
        self._inbound = InboundStreams(MAX_GREETING_SIZE)
        self._outbound = OutboundStreams()

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
    def is_established(self) -> bool:
        """Whether the link is up: greeted, and not ended."""
        return self._session is not None and self._session.is_established and self.ended is None

    @property
    def queued_bytes(self) -> int:
        """Bytes that were accepted for sending and are not acknowledged yet."""
        written = self._outbound.stream_ids.values()
        return self._outbound.buffered_bytes + sum(map(self._quic.unacknowledged, written))

    @property
    def rtt_s(self) -> float:
        """The smoothed round trip time in seconds; 0 before the first sample."""
        return self._quic.round_trip_s

    def send(self, message: Message, stream: StreamClass) -> bool:
        """Queue ``message``; false if the link is not up, or holds as much as it may.

        Raises ``LocalProtocolError`` for a greeting and ``FrameError`` above 16 MiB.
        """
        check_local_message(message)
        if not self.is_established:
            return False
        data = encode_message(message)
        if self.queued_bytes + len(data) > self._terms.queue_bytes:
            return False
        self._queue(stream, data)
        return True

    def close(self, code: ErrorCode, reason: str) -> None:
        """End the link and tell the peer why.

        What was queued before is still sent as far as the network takes it at once: a node says
        that it leaves, and leaves. What gets lost of it is not sent again.
        """
        if self.ended is not None:
            return
        self.ended = Ending(cause_of(code), _phrase(code, reason))
        self._last_word = (code, _shortened(reason))
        self._carrier.wake(self)

    # What the endpoint uses.

    def start(self, remote: SocketAddress, now: float) -> None:
        """Begin the handshake with whoever listens at ``remote``."""
        self._quic.connect(remote, now=now)
        self._carrier.wake(self)

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
        self._carrier.wake(self)

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
        return datagrams

    def next_timer(self) -> float | None:
        """When ``handle_timer`` has something to do, in seconds of the loop's clock."""
        times = [] if self.ended is not None else [self._own_timer()]
        if self._quic.get_peer_address() is not None:
            quic = self._quic.get_timer()
            times += [] if quic is None else [quic]
        return min(times, default=None)

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

    def _own_timer(self) -> float:
        if self.is_established:
            return min(self._keep_alive_at, self._expires_at)
        return self._deadline

    def _handle_own_timer(self, now: float) -> None:
        if now >= self._expires_at:
            self.close(ErrorCode.IDENTITY_MISMATCH, "the peer's certificate has expired")
        elif self.is_established:
            self._keep_alive_at = now + self._keep_alive_s
            self._quic.send_ping(0)
        elif self._session is None:
            self.close(ErrorCode.HANDSHAKE_TIMEOUT, "no answer in time")
        else:
            self._carry_out(self._session.advance(now))

    def _drain(self) -> None:
        while (event := self._quic.next_event()) is not None:
            self._handle(event)
        ending = self._quic.ending
        if self.ended is None and ending is not None:
            self.ended = self._explain(ending)

    def _handle(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived():
                self._receive(event)
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
        self._expires_at = self._now + self._quic.peer_valid_s
        terms = self._terms
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

    def _receive(self, event: events.StreamDataReceived) -> None:
        session = self._session
        if session is None or self.ended is not None:
            return
        try:
            received = self._inbound.receive(event.stream_id, event.data)
        except FrameError as error:
            self._carry_out(session.refuse_stream(error))
            return
        if received is not None:
            stream, frames = received
            for frame in frames:
                self._carry_out(session.receive(frame, stream))
        if event.end_stream:
            self.close(ErrorCode.MALFORMED, "a stream lives as long as its link")

    def _carry_out(self, effects: tuple[SessionEffect, ...]) -> None:
        for effect in effects:
            if self.ended is not None:
                return
            match effect:
                case Deliver(message):
                    self._carrier.message_received(self, message)
                case Reply(message, stream):
                    self._reply(message, stream)
                case Established():
                    self.peer_addresses = effect.addresses
                    self.peer_software, self.peer_life = effect.software, effect.life
                    self._inbound.allow_large_frames()
                    self._carrier.link_established(self)
                case Refuse(code, reason):
                    self.close(code, reason)

    def _reply(self, message: Message, stream: StreamClass) -> None:
        data = encode_message(message)
        if self.queued_bytes + len(data) > self._terms.queue_bytes:
            # It asks and asks, and takes no answer.
            self.close(ErrorCode.LIMIT_EXCEEDED, "too much waits for this peer")
        else:
            self._queue(stream, data)

    def _queue(self, stream: StreamClass, data: bytes) -> None:
        self._outbound.queue(stream, data)
        self._carrier.wake(self)

    def _write(self) -> None:
        for stream, data in self._outbound.take():
            stream_id = self._outbound.stream_ids.get(stream)
            if stream_id is None:
                stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
                self._outbound.stream_ids[stream] = stream_id
            self._quic.send_stream_data(stream_id, data)

    def _explain(self, ending: events.ConnectionTerminated) -> Ending:
        """Why the connection ended, when it was not we who closed the link."""
        refusal = self._quic.refusal
        if refusal is not None:
            return Ending(refusal.cause, str(refusal))
        why = ending.reason_phrase or _name_of_error(ending.error_code)
        if not self._quic.is_ended_by_peer:
            return Ending("transport", why)
        if ending.frame_type is None:
            code = _known_code(ending.error_code)
            return Ending(f"peer: {cause_of(code)}", _phrase(code, ending.reason_phrase))
        return Ending("refused by peer", f"refused by the peer: {why}")


def written_address(address: SocketAddress) -> str:
    """A socket address as ``host:port``; an IPv4 address mapped into IPv6 is shown as itself."""
    host = str(address[0]).removeprefix("::ffff:")
    try:
        return str(Address(host, int(address[1])))
    except InvalidAddress:
        return f"[{host}]:{address[1]}"


def _phrase(code: ErrorCode, reason: str) -> str:
    return f"{code.name}: {reason}" if reason else code.name


def cause_of(code: ErrorCode) -> str:
    """The word under which an ending with that code is counted."""
    return code.name.lower().replace("_", " ")


def _known_code(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.INTERNAL


def _name_of_error(code: int) -> str:
    """A transport error in words; from 0x100 on it is a TLS alert (RFC 9001, 4.8)."""
    alert = code - QuicErrorCode.CRYPTO_ERROR
    try:
        name = QuicErrorCode(code).name if alert < 0 else AlertDescription(alert).name
    except ValueError:
        return f"QUIC error 0x{code:x}"
    return name.lower().replace("_", " ")


def _shortened(reason: str) -> str:
    return reason.encode()[:MAX_REASON_SIZE].decode(errors="ignore")
