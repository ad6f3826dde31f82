"""The first words on a link: HANDSHAKE, HANDSHAKE_ACK, and only then everything else.

::

    state               frame            by the rules  ->  next state   what is done
    AWAITING_HANDSHAKE  HANDSHAKE        yes               ESTABLISHED  answer HANDSHAKE_ACK
    AWAITING_ACK        HANDSHAKE_ACK    yes               ESTABLISHED  release what waited
    AWAITING_*          the same         no                REFUSED      close with the cause
    AWAITING_HANDSHAKE  any other frame  -                 REFUSED      close, NOT_ALLOWED_YET
    AWAITING_ACK        ERROR, CONTROL   -                 REFUSED      close, as the peer said
    AWAITING_ACK        other, CONTROL   -                 REFUSED      close, NOT_ALLOWED_YET
    AWAITING_ACK        other streams    -                 the same     wait, up to a bound
    AWAITING_*          (deadline)       -                 REFUSED      close, HANDSHAKE_TIMEOUT
    any                 unknown version  -                 REFUSED      answer ERROR, close
    AWAITING_*          unknown type     -                 REFUSED      answer ERROR, close
    ESTABLISHED         unknown type     -                 the same     answer ERROR
    ESTABLISHED         malformed        -                 REFUSED      close, MALFORMED
    ESTABLISHED         (unfinished)     -                 REFUSED      close, LIMIT_EXCEEDED
    ESTABLISHED         CLOSE            -                 REFUSED      close, as the peer said
    ESTABLISHED         any other        -                 the same     deliver

The side that dialled speaks first and may say nothing more until the answer. Its peer may: streams
have no order among each other, so its first events can overtake its answer. That is why only the
dialler lets frames wait. The rules compare what the peer says of itself with what TLS proved; this
module neither proves anything nor knows a connection: frames in, effects out. The first words are
plain; afterwards frames may be compressed and come in fragments (``wire.packing``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.errors import LocalProtocolError
from maculaos.identity import Identity
from maculaos.wire.frames import HEADER, Frame, FrameError
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    Message,
    decode_message,
)
from maculaos.wire.packing import Unpacker
from maculaos.wire.registry import WIRE_VERSION, ErrorCode, MessageType, StreamClass

# Raised when a peer that speaks the older protocol could misunderstand the newer one.
PROTOCOL_VERSION: Final = 2
MAX_ADDRESSES: Final = 8
MAX_SOFTWARE_SIZE: Final = 128
# A greeting is small; nobody may make us hold more before it.
MAX_GREETING_SIZE: Final = 16 * 1024


class State(Enum):
    """Where a session stands; see the table above."""

    AWAITING_HANDSHAKE = "awaiting handshake"
    AWAITING_ACK = "awaiting ack"
    ESTABLISHED = "established"
    REFUSED = "refused"


_EXPECTED: Final[dict[State, type[Handshake | HandshakeAck]]] = {
    State.AWAITING_HANDSHAKE: Handshake,
    State.AWAITING_ACK: HandshakeAck,
}
_GREETINGS: Final = frozenset((Handshake, HandshakeAck))
# What the session itself has something to say to.
_RULED: Final = frozenset(
    map(int, (MessageType.HANDSHAKE, MessageType.HANDSHAKE_ACK, MessageType.CLOSE))
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Send ``message`` on our stream of that class."""

    message: Message
    stream: StreamClass


@dataclass(frozen=True, slots=True)
class Established:
    """The peer is who it says; its addresses are what it wants others to dial."""

    addresses: tuple[str, ...]
    software: str
    # Which life of the peer this is; see ``wire.messages.Handshake``.
    life: int = 0


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message of the established session."""

    message: Message


@dataclass(frozen=True, slots=True)
class Refuse:
    """Close the link; nothing of it counts any more."""

    code: ErrorCode
    reason: str
    # The peer's own words (CLOSE, ERROR), not a rule that it broke.
    is_peers: bool = False


SessionEffect: TypeAlias = Reply | Established | Deliver | Refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What a session starts from: us, the peer as TLS proved it, and the bounds."""

    local: Identity
    addresses: tuple[str, ...]
    software: str
    life: int
    peer: Identity
    is_dialler: bool
    # On the clock that ``advance`` is called with.
    deadline: float
    # Bytes of frames that may wait for the HANDSHAKE_ACK.
    waiting_bytes: int


class Session:
    """The state machine of one link."""

    def __init__(self, terms: SessionTerms) -> None:
        self._terms = terms
        self._waiting: list[tuple[Frame, StreamClass]] = []
        self._waiting_bytes = 0
        self._unpacker = Unpacker()
        self.state = State.AWAITING_ACK if terms.is_dialler else State.AWAITING_HANDSHAKE

    @property
    def is_established(self) -> bool:
        """Whether the first words were exchanged and good."""
        return self.state is State.ESTABLISHED

    def start(self) -> tuple[SessionEffect, ...]:
        """What to do first; call once, as soon as TLS has proved who the peer is."""
        terms = self._terms
        if terms.peer.node_id == terms.local.node_id:
            return self._refuse(ErrorCode.SELF_DIALLED, "this address is the node's own")
        return (Reply(self._greeting(Handshake), StreamClass.CONTROL),) if terms.is_dialler else ()

    def next_deadline(self) -> float | None:
        """When ``advance`` has something to do; never, once established and nothing is missing."""
        if self.state is State.ESTABLISHED:
            return self._unpacker.assembler.next_deadline()
        return self._terms.deadline if self.state in _EXPECTED else None

    def advance(self, now: float) -> tuple[SessionEffect, ...]:
        """Let time pass; ``now`` in seconds of the clock that the deadline was read from."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return ()
        if self.state is not State.ESTABLISHED:
            return self._refuse(ErrorCode.HANDSHAKE_TIMEOUT, "the peer did not greet in time")
        try:
            self._unpacker.assembler.check_time(now)
        except FrameError as error:
            return self._refuse(error.code, error.detail)
        return ()

    def receive(
        self, frame: Frame, stream: StreamClass, now: float = 0.0
    ) -> tuple[SessionEffect, ...]:
        """Take one frame of the peer; bad frames become effects, nothing is raised.

        ``now`` is on the clock of the deadline: a fragment says when the next one is due.
        """
        if self.state is State.REFUSED:
            return ()
        if self.state is State.AWAITING_ACK and stream is not StreamClass.CONTROL:
            return self._hold(frame, stream)
        try:
            if self.state is not State.ESTABLISHED:
                return self._greet(decode_message(frame), stream, now)
            message = self._unpacker.unpack(frame, stream, now)
        except FrameError as error:
            return self._refuse_frame(error, stream)
        return () if message is None else self._deliver(message)

    def heard(self, now: float) -> None:
        """Frames came on a stream: what the peer has begun may be waiting behind them."""
        self._unpacker.assembler.heard(now)

    def plain_message(self, frame: Frame) -> Message | None:
        """The message of a frame that needs no rule of the session; nothing of any other.

        Most frames are such: ``receive`` would make an effect of each, which is work.
        """
        if frame.flags or frame.kind in _RULED or self.state is not State.ESTABLISHED:
            return None
        try:
            return decode_message(frame)
        except FrameError:
            # ``receive`` finds it, too, and knows what follows.
            return None

    def refuse_stream(self, error: FrameError) -> tuple[SessionEffect, ...]:
        """A stream of the peer can no longer be cut into frames: the link ends."""
        refused = self._refuse(error.code, error.detail)
        if error.code is not ErrorCode.UNSUPPORTED_VERSION:
            return refused
        return (_answer(error, StreamClass.CONTROL), *refused)

    def _greeting(self, kind: type[Handshake | HandshakeAck]) -> Handshake | HandshakeAck:
        local = self._terms.local
        return kind(
            PROTOCOL_VERSION,
            local.realm,
            local.node_id,
            local.name,
            self._terms.addresses,
            self._terms.software,
            self._terms.life,
        )

    def _greet(
        self, message: Message, stream: StreamClass, now: float
    ) -> tuple[SessionEffect, ...]:
        expected = _EXPECTED[self.state]
        if isinstance(message, Error) and self._terms.is_dialler:
            return self._end(message.code, f"refused: {message.detail}")
        if not isinstance(message, expected) or stream is not StreamClass.CONTROL:
            what = f"{type(message).__name__} on {stream.name} before {expected.__name__}"
            return self._refuse(ErrorCode.NOT_ALLOWED_YET, what)
        complaint = _complaint(message, self._terms.peer)
        if complaint is not None:
            return self._refuse_greeting(complaint)
        self.state = State.ESTABLISHED
        established = Established(message.addresses, message.software, message.life)
        if not self._terms.is_dialler:
            return (Reply(self._greeting(HandshakeAck), StreamClass.CONTROL), established)
        return (established, *self._release(now))

    def _refuse_greeting(self, complaint: Refuse) -> tuple[SessionEffect, ...]:
        refused = self._refuse(complaint.code, complaint.reason)
        if complaint.code is not ErrorCode.UNSUPPORTED_VERSION:
            return refused
        error = FrameError(complaint.code, complaint.reason)
        return (_answer(error, StreamClass.CONTROL), *refused)

    def _hold(self, frame: Frame, stream: StreamClass) -> tuple[SessionEffect, ...]:
        self._waiting_bytes += HEADER.size + len(frame.payload)
        if self._waiting_bytes > self._terms.waiting_bytes:
            return self._refuse(ErrorCode.LIMIT_EXCEEDED, "too much before HANDSHAKE_ACK")
        self._waiting.append((frame, stream))
        return ()

    def _release(self, now: float) -> tuple[SessionEffect, ...]:
        waiting, self._waiting = self._waiting, []
        return tuple(effect for held in waiting for effect in self.receive(*held, now))

    def _deliver(self, message: Message) -> tuple[SessionEffect, ...]:
        match message:
            case Handshake() | HandshakeAck():
                return self._refuse(ErrorCode.MALFORMED, "the peer greeted twice")
            case Close():
                return self._end(message.code, message.reason or "closed by peer")
            case _:
                return (Deliver(message),)

    def _refuse_frame(self, error: FrameError, stream: StreamClass) -> tuple[SessionEffect, ...]:
        if error.code is not ErrorCode.UNKNOWN_TYPE:
            return self._refuse(error.code, error.detail)
        answer = _answer(error, stream)
        if self.state is State.ESTABLISHED:
            return (answer,)
        return (answer, *self._refuse(ErrorCode.NOT_ALLOWED_YET, error.detail))

    def _refuse(self, code: ErrorCode, reason: str) -> tuple[SessionEffect, ...]:
        self.state = State.REFUSED
        self._waiting = []
        return (Refuse(code, reason),)

    def _end(self, code: int, reason: str) -> tuple[SessionEffect, ...]:
        """End it as the peer said."""
        known = _known_code(code)
        self._refuse(known, reason)
        return (Refuse(known, reason, is_peers=True),)


def _complaint(greeting: Handshake | HandshakeAck, proved: Identity) -> Refuse | None:
    """The rule that ``greeting`` breaks, given what the peer's certificate proved."""
    if greeting.protocol != PROTOCOL_VERSION:
        detail = f"protocol {greeting.protocol}, only {PROTOCOL_VERSION} is spoken here"
        return Refuse(ErrorCode.UNSUPPORTED_VERSION, detail)
    if greeting.realm != proved.realm:
        return Refuse(ErrorCode.WRONG_REALM, f"not in the realm {proved.realm}")
    if greeting.node_id != proved.node_id or greeting.name != proved.name:
        return Refuse(ErrorCode.IDENTITY_MISMATCH, "not the node of its certificate")
    if len(greeting.addresses) > MAX_ADDRESSES or len(greeting.software) > MAX_SOFTWARE_SIZE:
        return Refuse(ErrorCode.MALFORMED, "too much in the greeting")
    try:
        for address in greeting.addresses:
            parse_address(address)
    except InvalidAddress as error:
        return Refuse(ErrorCode.MALFORMED, str(error))
    return None


def _answer(error: FrameError, stream: StreamClass) -> Reply:
    """What a peer is told that speaks more, or something newer, than we do."""
    return Reply(Error(error.code, error.detail, WIRE_VERSION), stream)


def _known_code(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:
        return ErrorCode.NO_ERROR


def check_local_message(message: Message) -> None:
    """Raise ``LocalProtocolError`` for what only the session itself may say."""
    if type(message) in _GREETINGS:
        raise LocalProtocolError(f"{type(message).__name__} is the session's own word")
