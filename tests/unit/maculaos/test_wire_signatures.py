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
from maculaos.wire.events import Events
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import decode_message, encode_message
from maculaos.wire.signatures import (
    BadSignature,
    check_run,
    is_signed,
    sign_run,
    signed_text,
)

NIL = Raw(b"\xc0")
KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def publisher(key: Ed25519PrivateKey) -> bytes:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bytes(node_id_of(key.public_key().public_bytes(*form)))


def event(topic: str = "a.b", sequence: int = 7, payload: object = "text") -> Events:
    payloads = (Raw(msgspec.msgpack.encode(payload)), NIL)
    return Events(topic, publisher(KEY), sequence, payloads)


SIGNED = sign_run(event(), "home", KEY)


@given(st.text(max_size=40), st.integers(0, 2**64 - 1), st.binary(max_size=80))
def test_signed_event_passes_through_any_hands(topic: str, sequence: int, payload: bytes) -> None:
    signed = sign_run(event(topic, sequence, payload), "home", KEY)
    (frame,) = FrameReader().feed(encode_message(signed))
    heard = decode_message(frame)
    assert isinstance(heard, Events)
    assert is_signed(heard)
    check_run(heard, "home")
    check_run(msgspec.structs.replace(heard, hops=3, targets=bytes(8), after=9), "home")


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "a.c"},
        {"sequence": 8},
        {"payloads": (Raw(msgspec.msgpack.encode("tex")), NIL)},
        {"payloads": SIGNED.payloads[:1]},
        {"payloads": SIGNED.payloads[::-1]},
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
        check_run(changed, "home")


def test_signature_is_for_one_realm() -> None:
    with pytest.raises(BadSignature):
        check_run(SIGNED, "work")


def test_key_of_somebody_else_signs_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        sign_run(event(), "home", OTHER_KEY)
    stolen = msgspec.structs.replace(event(), publisher=publisher(OTHER_KEY))
    other = sign_run(stolen, "home", OTHER_KEY)
    with pytest.raises(BadSignature, match="hash of the key"):
        check_run(msgspec.structs.replace(other, publisher=publisher(KEY)), "home")


def test_unsigned_event_claims_nothing_and_proves_nothing() -> None:
    assert not is_signed(event())
    with pytest.raises(BadSignature):
        check_run(event(), "home")


@given(
    st.lists(
        st.tuples(
            st.text(max_size=4),
            st.text(max_size=4),
            st.lists(st.binary(max_size=4), max_size=3).map(tuple),
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_no_two_meanings_have_one_text(said: list[tuple[str, str, tuple[bytes, ...]]]) -> None:
    one, two = (
        signed_text(Events(topic, bytes(32), 1, tuple(map(Raw, payloads))), realm)
        for realm, topic, payloads in said
    )
    assert one != two


def test_text_is_written_as_the_protocol_says() -> None:
    told = Events("a", bytes(32), 258, (NIL, Raw(b"\xa1x")))
    assert signed_text(told, "home") == (
        b"macula events, version 2\0"
        b"\0\0\0\x04home"
        b"\0\0\0\x01a"
        b"\0\0\0\x20" + bytes(32) + b"\0\0\0\0\0\0\x01\x02"
        b"\0\0\0\x02"
        b"\0\0\0\x01\xc0"
        b"\0\0\0\x02\xa1x"
    )
