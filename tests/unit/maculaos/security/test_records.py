"""Records and events count only as the word of a member of the realm that is believed today."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from credentials import DAY_S, RealmFolder, make_realm
from loopback import event
from maculaos.errors import LocalProtocolError
from maculaos.host.clock import SystemClock
from maculaos.security.events import RealmEventSeal
from maculaos.security.records import RecordSeal
from maculaos.security.revocations import RevocationList

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.security.credentials import Credentials

TEXT = b"what is said"


@pytest.fixture
def realm(tmp_path: Path) -> RealmFolder:
    return make_realm(tmp_path)


def seal_of(credentials: Credentials, days_later: float = 0.0) -> RecordSeal:
    return RecordSeal(lambda: credentials, lambda: SystemClock().now() + days_later * DAY_S)


def test_record_of_a_member_is_believed_by_every_other(realm: RealmFolder) -> None:
    one, other = realm.credentials("n1"), realm.credentials("n2")
    said = seal_of(one)
    publisher, signature = one.identity.node_id, said.sign(TEXT)
    reader = seal_of(other)
    for _ in range(2):  # the second time from memory
        assert reader.verify(publisher, said.credential, TEXT, signature)
    assert not reader.verify(publisher, said.credential, b"other words", signature)
    assert not reader.verify(other.identity.node_id, said.credential, TEXT, signature)
    assert not reader.verify(publisher, b"no certificate", TEXT, signature)


def test_record_of_another_realm_is_not_believed(realm: RealmFolder, tmp_path: Path) -> None:
    stranger = make_realm(tmp_path, "abroad").credentials("n1")
    said = seal_of(stranger)
    reader = seal_of(realm.credentials("n2"))
    assert not reader.verify(stranger.identity.node_id, said.credential, TEXT, said.sign(TEXT))


def test_record_ends_with_the_certificate_of_its_publisher(realm: RealmFolder) -> None:
    one, other = realm.credentials("n1"), realm.credentials("n2")
    said = seal_of(one)
    words = one.identity.node_id, said.credential, TEXT, said.sign(TEXT)
    assert seal_of(other).verify(*words)
    assert not seal_of(other, days_later=60).verify(*words)
    serial = one.certificate.serial_number
    revoked = replace(other, revoked=replace(other.revoked, serials=frozenset({serial})))
    assert isinstance(revoked.revoked, RevocationList)
    assert not seal_of(revoked).verify(*words)


def test_event_is_genuine_only_as_its_publisher_signed_it(realm: RealmFolder) -> None:
    one, other = realm.credentials("n1"), realm.credentials("n2")
    plain = msgspec.structs.replace(event(b"news", 5), publisher=one.identity.node_id)
    signed = RealmEventSeal(lambda: one).sign(plain)
    reader = RealmEventSeal(lambda: other)
    assert reader.is_genuine(signed)
    assert reader.is_genuine(msgspec.structs.replace(signed, hops=3))
    assert not reader.is_genuine(msgspec.structs.replace(signed, sequence=6))
    assert not reader.is_genuine(plain)
    with pytest.raises(LocalProtocolError):
        reader.sign(plain)
