"""A ticket counts once, for two certificates, as long as the peer's would be believed."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aioquic.tls import CipherSuite, SessionTicket

from credentials import DAY_S, RealmFolder, make_realm
from maculaos.quic.tickets import MAX_PROOF_AGE_S, Proof, ProvedTicket, Tickets, fingerprint
from maculaos.security.revocations import RevocationList
from signed_anew import reissued

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.security.credentials import Credentials

HERE, THERE = ("192.0.2.1", 4701), ("192.0.2.2", 4701)
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    return make_realm(tmp_path_factory.mktemp("tickets"))


@pytest.fixture(scope="module")
def ours(realm: RealmFolder) -> Credentials:
    return realm.credentials("n1")


@pytest.fixture(scope="module")
def now(ours: Credentials) -> float:
    return ours.certificate.not_valid_before_utc.timestamp() + DAY_S


def proof_of(peer: Credentials, ours: Credentials, now: float) -> Proof:
    return Proof(peer.identity, peer.certificate, fingerprint(ours.certificate), now)


def proved(proof: Proof, name: bytes = b"ticket") -> ProvedTicket:
    ticket = SessionTicket(
        age_add=0,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_after=START,
        not_valid_before=START,
        resumption_secret=bytes(32),
        server_name="",
        ticket=name,
    )
    return ProvedTicket(ticket, proof)


def test_a_proof_holds_for_a_day(realm: RealmFolder, ours: Credentials, now: float) -> None:
    proof = proof_of(realm.credentials("n2"), ours, now)
    assert proof.still_holds(ours, now)
    assert proof.still_holds(ours, now + MAX_PROOF_AGE_S)
    assert not proof.still_holds(ours, now + MAX_PROOF_AGE_S + 1)
    assert not proof.still_holds(ours, now - 1)


def test_no_proof_outlives_the_peers_certificate(
    realm: RealmFolder, ours: Credentials, now: float
) -> None:
    peer = realm.dated("n5", starts_in_days=0, days=1)
    ends = peer.certificate.not_valid_after_utc.timestamp()
    proof = proof_of(peer, ours, ends - 1)
    assert proof.still_holds(ours, ends - 1)
    assert not proof.still_holds(ours, ends + 1)


def test_no_proof_outlives_a_revocation(realm: RealmFolder, ours: Credentials, now: float) -> None:
    peer = realm.credentials("n2")
    proof = proof_of(peer, ours, now)
    revoked = RevocationList(1, frozenset({peer.certificate.serial_number}), math.inf)
    assert proof.still_holds(ours, now)
    assert not proof.still_holds(replace(ours, revoked=revoked), now)


def test_a_proof_is_for_the_certificate_that_we_showed(
    realm: RealmFolder, ours: Credentials, now: float
) -> None:
    proof = proof_of(realm.credentials("n2"), ours, now)
    assert not proof.still_holds(reissued(realm, ours), now)


def test_a_proof_is_for_one_protocol(realm: RealmFolder, ours: Credentials, now: float) -> None:
    proof = proof_of(realm.credentials("n2"), ours, now)
    assert not replace(proof, protocol=proof.protocol + 1).still_holds(ours, now)


def test_a_proof_is_for_one_realm(tmp_path: Path, ours: Credentials, now: float) -> None:
    other = make_realm(tmp_path, "work").credentials("n2")
    assert not proof_of(other, ours, now).still_holds(ours, now)


def test_a_ticket_counts_once(realm: RealmFolder, ours: Credentials, now: float) -> None:
    tickets = Tickets(8)
    ticket = proved(proof_of(realm.credentials("n2"), ours, now))
    tickets.issue(ticket)
    tickets.hold(HERE, ticket)
    assert tickets.redeem(b"another") is None
    assert tickets.redeem(b"ticket") is ticket
    assert tickets.redeem(b"ticket") is None
    assert tickets.use(THERE) is None
    assert tickets.use(HERE) is ticket
    assert tickets.use(HERE) is None
    assert len(tickets) == 0


def test_a_peer_has_one_ticket_the_latest(
    realm: RealmFolder, ours: Credentials, now: float
) -> None:
    tickets = Tickets(8)
    proof = proof_of(realm.credentials("n2"), ours, now)
    for name in (b"one", b"two"):
        tickets.issue(proved(proof, name))
        tickets.hold(HERE, proved(proof, name))
    assert len(tickets) == 2
    assert tickets.redeem(b"one") is None
    assert tickets.redeem(b"two") is not None
    tickets.issue(proved(proof, b"three"))
    assert tickets.redeem(b"three") is not None


def test_tickets_are_bounded_and_the_oldest_make_room(
    realm: RealmFolder, ours: Credentials, now: float
) -> None:
    tickets = Tickets(2)
    for name in ("n2", "n3", "n4"):
        ticket = proved(proof_of(realm.credentials(name), ours, now), name.encode())
        tickets.issue(ticket)
        tickets.hold((name, 1), ticket)
    assert len(tickets) == 4
    assert tickets.redeem(b"n2") is None
    assert tickets.use(("n2", 1)) is None
    assert tickets.redeem(b"n4") is not None
    assert tickets.use(("n4", 1)) is not None
