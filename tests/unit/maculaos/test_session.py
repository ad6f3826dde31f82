"""Laws of the first words on a link."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.errors import LocalProtocolError
from maculaos.identity import Identity, NodeId
from maculaos.session import (
    PROTOCOL_VERSION,
    Deliver,
    Established,
    Refuse,
    Reply,
    Session,
    SessionEffect,
    SessionTerms,
    State,
    check_local_message,
)
from maculaos.wire.events import Events
from maculaos.wire.fragments import MAX_PAUSE_S
from maculaos.wire.frames import Frame, FrameError, FrameReader
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    Message,
    Ping,
    encode_message,
)
from maculaos.wire.packing import Packer
from maculaos.wire.registry import WIRE_VERSION, ErrorCode, FrameFlag, MessageType, StreamClass

CONTROL, MESSAGES = StreamClass.CONTROL, StreamClass.MESSAGES
DEADLINE = 5.0


def node(name: str, realm: str = "home") -> Identity:
    return Identity(realm, NodeId(hashlib.sha256(name.encode()).digest()), name)


def terms(local: str, peer: str, *, is_dialler: bool, **changes: Any) -> SessionTerms:
    made = SessionTerms(
        local=node(local),
        addresses=(f"{local}.example:4701",),
        software="test",
        life=7,
        peer=node(peer),
        is_dialler=is_dialler,
        deadline=DEADLINE,
        waiting_bytes=1000,
    )
    return replace(made, **changes)


def dialler(**changes: Any) -> Session:
    """A session of n1, which dialled n2 and has said its first word."""
    session = Session(terms("n1", "n2", is_dialler=True, **changes))
    session.start()
    return session


def acceptor(**changes: Any) -> Session:
    """A session of n2, which n1 dialled."""
    session = Session(terms("n2", "n1", is_dialler=False, **changes))
    assert session.start() == ()
    return session


def frame_of(message: Message) -> Frame:
    (frame,) = FrameReader().feed(encode_message(message))
    return frame


def said(
    session: Session, message: Message, stream: StreamClass = CONTROL
) -> tuple[SessionEffect, ...]:
    return session.receive(frame_of(message), stream)


def greeting(kind: Any = Handshake, speaker: str = "n1", /, **changes: Any) -> Any:
    who = node(speaker)
    made = kind(PROTOCOL_VERSION, who.realm, who.node_id, who.name, ("a.example:1",), "test")
    return msgspec.structs.replace(made, **changes)


def established(session: Session) -> Session:
    kind, name = (HandshakeAck, "n2") if session.state is State.AWAITING_ACK else (Handshake, "n1")
    said(session, greeting(kind, name))
    assert session.is_established
    return session


def refusal(effects: tuple[SessionEffect, ...]) -> ErrorCode:
    """The code of a refusal, which says ERROR first to a peer that may speak something newer."""
    *answers, effect = effects
    assert isinstance(effect, Refuse)
    for answer in answers:
        assert isinstance(answer, Reply)
        assert isinstance(answer.message, Error)
        assert answer.message.version == WIRE_VERSION
    is_newer = effect.code is ErrorCode.UNSUPPORTED_VERSION
    assert bool(answers) == is_newer or effect.code is ErrorCode.NOT_ALLOWED_YET
    return effect.code


def test_dialler_speaks_first() -> None:
    session = Session(terms("n1", "n2", is_dialler=True))
    (effect,) = session.start()
    assert isinstance(effect, Reply)
    assert isinstance(effect.message, Handshake)
    assert effect.stream is CONTROL
    assert effect.message.node_id == node("n1").node_id


def test_two_sessions_establish_each_other() -> None:
    one = Session(terms("n1", "n2", is_dialler=True))
    two = Session(terms("n2", "n1", is_dialler=False))
    two.start()
    (hello,) = one.start()
    assert isinstance(hello, Reply)
    answer, up = said(two, hello.message)
    assert up == Established(("n1.example:4701",), "test", 7)
    assert isinstance(answer, Reply)
    assert said(one, answer.message) == (Established(("n2.example:4701",), "test", 7),)
    assert one.is_established
    assert two.is_established
    assert one.next_deadline() is two.next_deadline() is None


@pytest.mark.parametrize("message", [Ping(1), Events("a", bytes(32), 1, ()), Close(0)])
def test_nothing_is_allowed_before_the_greeting(message: Message) -> None:
    for session in (dialler(), acceptor()):
        assert refusal(said(session, message)) is ErrorCode.NOT_ALLOWED_YET
        assert session.state is State.REFUSED


def test_dialler_learns_why_its_greeting_was_refused() -> None:
    error = Error(ErrorCode.UNSUPPORTED_VERSION, "only 1", 1)
    (effect,) = said(dialler(), error)
    assert effect == Refuse(ErrorCode.UNSUPPORTED_VERSION, "refused: only 1", is_peers=True)
    assert refusal(said(acceptor(), error)) is ErrorCode.NOT_ALLOWED_YET


def test_each_side_refuses_the_greeting_of_the_other_role() -> None:
    assert refusal(said(dialler(), greeting(Handshake, "n2"))) is ErrorCode.NOT_ALLOWED_YET
    assert refusal(said(acceptor(), greeting(HandshakeAck))) is ErrorCode.NOT_ALLOWED_YET


def test_greeting_on_another_stream_than_control_is_refused() -> None:
    assert refusal(said(acceptor(), greeting(), MESSAGES)) is ErrorCode.NOT_ALLOWED_YET


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"protocol": PROTOCOL_VERSION + 1}, ErrorCode.UNSUPPORTED_VERSION),
        ({"realm": "work"}, ErrorCode.WRONG_REALM),
        ({"node_id": bytes(32)}, ErrorCode.IDENTITY_MISMATCH),
        ({"node_id": b""}, ErrorCode.IDENTITY_MISMATCH),
        ({"name": "n3"}, ErrorCode.IDENTITY_MISMATCH),
        ({"addresses": ("nonsense",)}, ErrorCode.MALFORMED),
        ({"addresses": ("a.example:1",) * 9}, ErrorCode.MALFORMED),
        ({"software": "x" * 129}, ErrorCode.MALFORMED),
    ],
)
def test_greeting_must_agree_with_the_certificate_and_the_bounds(
    changes: dict[str, Any], code: ErrorCode
) -> None:
    assert refusal(said(acceptor(), greeting(**changes))) is code
    assert refusal(said(dialler(), greeting(HandshakeAck, "n2", **changes))) is code


def test_own_key_at_the_other_end_is_a_self_dial() -> None:
    for is_dialler in (True, False):
        session = Session(terms("n1", "n1", is_dialler=is_dialler))
        assert refusal(session.start()) is ErrorCode.SELF_DIALLED


def test_silence_is_refused_at_the_deadline_and_not_before() -> None:
    for session in (dialler(), acceptor()):
        assert session.next_deadline() == DEADLINE
        assert session.advance(DEADLINE - 0.001) == ()
        assert refusal(session.advance(DEADLINE)) is ErrorCode.HANDSHAKE_TIMEOUT
        assert session.advance(DEADLINE + 1) == ()


def test_established_session_has_no_deadline() -> None:
    assert established(acceptor()).advance(DEADLINE + 100) == ()


def test_frames_that_overtake_the_answer_wait_for_it_in_order() -> None:
    session = dialler()
    assert said(session, Ping(1), MESSAGES) == ()
    assert said(session, Ping(2), StreamClass.BULK) == ()
    up, first, second = said(session, greeting(HandshakeAck, "n2"))
    assert isinstance(up, Established)
    assert (first, second) == (Deliver(Ping(1)), Deliver(Ping(2)))


def test_frames_may_not_overtake_the_first_greeting() -> None:
    assert refusal(said(acceptor(), Ping(1), MESSAGES)) is ErrorCode.NOT_ALLOWED_YET


def test_waiting_frames_are_bounded() -> None:
    session = dialler(waiting_bytes=100)
    assert session.receive(Frame(MessageType.PING, bytes(92)), MESSAGES) == ()
    over = session.receive(Frame(MessageType.PING, b""), MESSAGES)
    assert refusal(over) is ErrorCode.LIMIT_EXCEEDED


def test_waiting_bad_frame_refuses_after_the_answer() -> None:
    session = dialler()
    assert session.receive(Frame(MessageType.PING, b""), MESSAGES) == ()
    assert said(session, Ping(2), MESSAGES) == ()
    up, refused = said(session, greeting(HandshakeAck, "n2"))
    assert isinstance(up, Established)
    assert refusal((refused,)) is ErrorCode.MALFORMED


def test_unknown_type_is_answered_and_the_link_lives() -> None:
    session = established(acceptor())
    (effect,) = session.receive(Frame(0x7F, b"new"), MESSAGES)
    assert isinstance(effect, Reply)
    assert isinstance(effect.message, Error)
    assert effect.message.code == ErrorCode.UNKNOWN_TYPE
    assert effect.message.version == WIRE_VERSION
    assert effect.stream is MESSAGES
    assert said(session, Ping(1)) == (Deliver(Ping(1)),)


def test_unknown_type_before_the_greeting_is_answered_and_not_allowed_yet() -> None:
    effects = acceptor().receive(Frame(0x7F, b""), CONTROL)
    assert refusal(effects) is ErrorCode.NOT_ALLOWED_YET
    assert isinstance(effects[0], Reply)


def packed(message: Message) -> list[Frame]:
    return FrameReader().feed(b"".join(Packer().pack(message)))


def long_event() -> Events:
    payload = Raw(msgspec.msgpack.encode(random.Random(1).randbytes(99_000)))
    return Events("t", bytes(32), 1, (payload,))


def test_packed_message_is_delivered_with_its_last_fragment() -> None:
    session = established(acceptor())
    first, last = packed(long_event())
    assert session.receive(first, MESSAGES, 1.0) == ()
    assert said(session, Ping(1), MESSAGES) == (Deliver(Ping(1)),)
    assert session.receive(last, MESSAGES, 2.0) == (Deliver(long_event()),)
    assert session.next_deadline() is None


def test_fragments_that_overtake_the_answer_wait_for_it() -> None:
    session = dialler(waiting_bytes=200_000)
    for frame in packed(long_event()):
        assert session.receive(frame, MESSAGES, 1.0) == ()
    up, event = said(session, greeting(HandshakeAck, "n2"))
    assert isinstance(up, Established)
    assert event == Deliver(long_event())


def test_fragment_that_is_never_continued_ends_the_link() -> None:
    session = established(acceptor())
    session.receive(packed(long_event())[0], MESSAGES, 100.0)
    deadline = session.next_deadline()
    assert deadline is not None
    assert session.advance(deadline - 0.001) == ()
    assert refusal(session.advance(deadline)) is ErrorCode.LIMIT_EXCEEDED


def test_what_is_begun_may_wait_behind_what_is_more_urgent() -> None:
    session = established(acceptor())
    session.receive(packed(long_event())[0], MESSAGES, 100.0)
    before = session.next_deadline()
    assert before is not None
    session.heard(before - 1.0)
    assert session.advance(before) == ()
    deadline = session.next_deadline()
    assert deadline == before - 1.0 + MAX_PAUSE_S
    assert refusal(session.advance(deadline)) is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("flags", [FrameFlag.COMPRESSED, FrameFlag.FRAGMENTED])
def test_first_words_are_plain(flags: FrameFlag) -> None:
    frame = msgspec.structs.replace(frame_of(greeting()), flags=flags)
    assert refusal(acceptor().receive(frame, CONTROL)) is ErrorCode.MALFORMED


def test_malformed_body_ends_the_link() -> None:
    session = established(acceptor())
    assert refusal(session.receive(Frame(MessageType.PING, b""), CONTROL)) is ErrorCode.MALFORMED


@pytest.mark.parametrize("code", [ErrorCode.TOO_LARGE, ErrorCode.UNSUPPORTED_VERSION])
def test_stream_that_cannot_be_cut_ends_the_link_with_that_code(code: ErrorCode) -> None:
    for session in (acceptor(), dialler(), established(acceptor())):
        assert refusal(session.refuse_stream(FrameError(code, "bad"))) is code


def test_second_greeting_is_malformed() -> None:
    assert refusal(said(established(acceptor()), greeting())) is ErrorCode.MALFORMED


def test_close_ends_the_session_as_the_peer_said() -> None:
    (effect,) = said(established(acceptor()), Close(ErrorCode.SHUTTING_DOWN, "bye"))
    assert effect == Refuse(ErrorCode.SHUTTING_DOWN, "bye", is_peers=True)
    (effect,) = said(established(acceptor()), Close(0xFFFF))
    assert effect == Refuse(ErrorCode.NO_ERROR, "closed by peer", is_peers=True)


def test_refused_session_hears_nothing_more() -> None:
    session = acceptor()
    said(session, Ping(1))
    assert said(session, greeting()) == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.binary(max_size=20), st.sampled_from(StreamClass)),
        max_size=10,
    )
)
def test_nothing_is_delivered_or_established_without_a_greeting(
    heard: list[tuple[int, bytes, StreamClass]],
) -> None:
    for session in (acceptor(), dialler()):
        for kind, payload, stream in heard:
            effects = session.receive(Frame(kind, payload), stream)
            assert not any(isinstance(effect, Deliver | Established) for effect in effects)
        assert not session.is_established


def test_greeting_is_the_sessions_own_word() -> None:
    with pytest.raises(LocalProtocolError):
        check_local_message(greeting())
    check_local_message(Ping(1))
