"""Records: merges commute, carriers can change nothing, and time is bounded."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from kademlia_parts import record_of
from maculaos.identity import NodeId
from maculaos.kademlia.methods import method_key
from maculaos.kademlia.record import (
    MAX_NUMBER,
    MAX_SKEW_S,
    InvalidRecord,
    Kind,
    Record,
    believe,
    node_key,
)
from maculaos.kademlia.signing import Notary
from maculaos.kademlia.store import Verdict
from maculaos.kademlia.topics import topic_key

records = st.builds(
    record_of,
    st.just(7),
    value=st.sampled_from([b"", b"a", b"b"]),
    sequence=st.integers(0, 2),
    expires_at=st.integers(3600, 3602),
)


@given(records, records, records)
def test_believing_is_a_merge(one: Record, two: Record, three: Record) -> None:
    assert believe(one, two) == believe(two, one)
    assert believe(one, one) == one
    assert believe(believe(one, two), three) == believe(one, believe(two, three))


def test_the_newer_sequence_wins_over_the_longer_life() -> None:
    old, new = record_of(1, sequence=1, expires_at=9000), record_of(1, sequence=2)
    assert believe(old, new) is new


def notary() -> tuple[NodeId, Notary]:
    """Real Ed25519, with the public key as credential and its hash as node id."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key().public_bytes_raw()

    def verify(publisher: NodeId, credential: bytes, text: bytes, signature: bytes) -> bool:
        if hashlib.sha256(credential).digest() != publisher:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(credential).verify(signature, text)
        except InvalidSignature:
            return False
        return True

    return NodeId(hashlib.sha256(public).digest()), Notary("home", public, key.sign, verify)


def draft(me: NodeId, **changes: Any) -> Record:
    return replace(Record(topic_key("t"), Kind.TOPIC, b"v", me, 5, 3600, 3600), **changes)


def test_a_sealed_record_is_believed_in_its_realm_only() -> None:
    me, home = notary()
    record = home.sealed(draft(me))
    assert home.check(record, 0.0) is Verdict.STORED
    abroad = Notary("abroad", home.credential, home.sign, home.verify)
    assert abroad.check(record, 0.0) is Verdict.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"key": bytes(32)},
        {"kind": Kind.METHOD},
        {"value": b"w"},
        {"value": b""},
        {"sequence": 6},
        {"expires_at": 3601},
        {"ttl_s": 3601},
        {"publisher": NodeId(bytes(32))},
        {"credential": b""},
        {"signature": bytes(64)},
    ],
)
def test_whoever_carries_a_record_can_change_nothing(change: dict[str, Any]) -> None:
    me, home = notary()
    record = home.sealed(draft(me))
    assert home.check(replace(record, **change), 0.0) is Verdict.BAD_SIGNATURE


def test_a_record_lives_until_its_hour_and_never_longer_than_its_ttl() -> None:
    me, home = notary()
    record = home.sealed(draft(me, expires_at=10_000, ttl_s=1000))
    assert home.check(record, 9999.0) is Verdict.STORED
    assert home.check(record, 10_000.0) is Verdict.EXPIRED
    # A clock that is behind: it is believed within bounds, and lives its ttl and no longer.
    assert home.check(record, 9000.0 - MAX_SKEW_S) is Verdict.STORED
    assert record.remaining_s(9000.0 - MAX_SKEW_S) == 1000.0
    assert home.check(record, 8999.0 - MAX_SKEW_S) is Verdict.FROM_FUTURE


def test_only_a_node_itself_publishes_under_its_node_key() -> None:
    me, home = notary()
    other = NodeId(bytes(32))
    own = draft(me, kind=Kind.NODE, key=node_key(me))
    assert home.check(home.sealed(own), 0.0) is Verdict.STORED
    assert home.check(home.sealed(replace(own, key=node_key(other))), 0.0) is Verdict.WRONG_KEY


@pytest.mark.parametrize(
    "change",
    [
        {"key": b""},
        {"publisher": NodeId(b"")},
        {"kind": 0},
        {"kind": 256},
        {"ttl_s": 0},
        {"ttl_s": 86_401},
        {"value": bytes(4097)},
        {"credential": bytes(2049)},
        {"signature": bytes(65)},
        {"sequence": -1},
        {"sequence": MAX_NUMBER + 1},
        {"expires_at": -1},
        {"expires_at": MAX_NUMBER + 1},
    ],
)
def test_a_record_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord):
        replace(record_of(1), **change)


def test_keys_of_different_uses_never_meet() -> None:
    name = "a" * 32
    keys = {topic_key(name), method_key(name), node_key(NodeId(name.encode()))}
    assert len(keys) == 3
    assert topic_key("home.light") == hashlib.sha256(b"macula/topic/1\0home.light").digest()
