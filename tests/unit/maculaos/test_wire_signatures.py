"""Laws of signed events: every part counts, and only the publisher's own key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.errors import LocalProtocolError
from maculaos.identity import node_id_of
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import Event, decode_message, encode_message
from maculaos.wire.signatures import (
    BadSignature,
    check_event,
    is_signed,
    sign_event,
    signed_text,
)

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def publisher(key: Ed25519PrivateKey) -> bytes:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bytes(node_id_of(key.public_key().public_bytes(*form)))


def event(topic: str = "a.b", sequence: int = 7, payload: object = "text") -> Event:
    return Event(topic, publisher(KEY), sequence, Raw(msgspec.msgpack.encode(payload)))


SIGNED = sign_event(event(), "home", KEY)


@given(st.text(max_size=40), st.integers(0, 2**64 - 1), st.binary(max_size=80))
def test_signed_event_passes_through_any_hands(topic: str, sequence: int, payload: bytes) -> None:
    signed = sign_event(event(topic, sequence, payload), "home", KEY)
    (frame,) = FrameReader().feed(encode_message(signed))
    heard = decode_message(frame)
    assert isinstance(heard, Event)
    assert is_signed(heard)
    check_event(heard, "home")
    check_event(msgspec.structs.replace(heard, hops=3), "home")


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "a.c"},
        {"sequence": 8},
        {"payload": Raw(msgspec.msgpack.encode("tex"))},
        {"publisher": publisher(OTHER_KEY)},
        {"signature": bytes(64)},
        {"signature": SIGNED.signature[:-1]},
        {"signature": b""},
        {"public_key": b""},
        {"public_key": bytes(32)},
        {"sequence": -1},
        {"sequence": 2**64},
    ],
)
def test_any_change_is_noticed(change: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(SIGNED, **change)
    assert is_signed(changed)
    with pytest.raises(BadSignature):
        check_event(changed, "home")


def test_signature_is_for_one_realm() -> None:
    with pytest.raises(BadSignature):
        check_event(SIGNED, "work")


def test_key_of_somebody_else_signs_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        sign_event(event(), "home", OTHER_KEY)
    stolen = msgspec.structs.replace(event(), publisher=publisher(OTHER_KEY))
    other = sign_event(stolen, "home", OTHER_KEY)
    with pytest.raises(BadSignature, match="hash of the key"):
        check_event(msgspec.structs.replace(other, publisher=publisher(KEY)), "home")


def test_unsigned_event_claims_nothing_and_proves_nothing() -> None:
    assert not is_signed(event())
    with pytest.raises(BadSignature):
        check_event(event(), "home")


@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.binary(max_size=4)),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_no_two_meanings_have_one_text(said: list[tuple[str, str, bytes]]) -> None:
    one, two = (
        signed_text(Event(topic, bytes(32), 1, Raw(payload)), realm)
        for realm, topic, payload in said
    )
    assert one != two


def test_text_is_written_as_the_protocol_says() -> None:
    told = Event("a", bytes(32), 258, Raw(b"\xc0"))
    assert signed_text(told, "home") == (
        b"macula event, version 1\0"
        b"\0\0\0\x04home"
        b"\0\0\0\x01a"
        b"\0\0\0\x20" + bytes(32) + b"\0\0\0\0\0\0\x01\x02"
        b"\0\0\0\x01\xc0"
    )
