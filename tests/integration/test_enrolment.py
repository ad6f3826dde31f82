"""Joining and renewing over real TLS: who is let in, who is not, and what attacks cost."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from credentials import RealmFolder, make_realm
from loopback import run
from maculaos.addresses import Address
from maculaos.cli import cert
from maculaos.cli import realm as realm_verbs
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import identity_files, open_authority
from maculaos.security.certificates import CertificateRefused, check_peer
from maculaos.security.credentials import read_certificate
from maculaos.security.enrolment.asking import EnrolmentFailed, Ticket, join, renew
from maculaos.security.enrolment.grant import install
from maculaos.security.enrolment.listener import ListenerLimits, listening
from maculaos.security.enrolment.messages import (
    AskAuthority,
    Join,
    Refused,
    Renew,
    decode_answer,
    read_body,
    write,
)
from maculaos.security.enrolment.registrar import Invitation, Registrar
from maculaos.security.requests import new_request
from maculaos.security.revoker import revoke
from maculaos.security.tokens import read_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GENEROUS = ListenerLimits(burst=1000.0, per_s=1000.0)


@dataclass(frozen=True)
class Office:
    registrar: Registrar
    address: Address

    def token(self, name: str = "n1") -> str:
        return self.registrar.invite(Invitation(name=name, valid_s=60.0))


@asynccontextmanager
async def office(realm: RealmFolder, limits: ListenerLimits = GENEROUS) -> AsyncIterator[Office]:
    clock, entropy = SystemClock(), SystemEntropy()
    registrar = Registrar(realm.authority, open_authority(realm.authority), clock, entropy)
    async with listening(registrar, "127.0.0.1", 0, clock, entropy, limits) as address:
        yield Office(registrar, address)


def ticket(token: str, key: Ed25519PrivateKey, name: str = "n1") -> Ticket:
    return Ticket(token, read_token(token).pin, new_request(name, key))


def anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def answer_to(address: Address, octets: bytes) -> bytes:
    """All that comes back for ``octets``, until the other end closes."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=anybody())
    try:
        writer.write(octets)
        return await reader.read()
    finally:
        writer.transport.abort()


def refused(octets: bytes) -> str:
    answer = decode_answer(octets[4:])
    assert isinstance(answer, Refused)
    return answer.what


@pytest.fixture
def realm(tmp_path: Path) -> RealmFolder:
    return make_realm(tmp_path)


def test_token_makes_a_node_whose_key_never_travelled(realm: RealmFolder) -> None:
    async def story() -> None:
        key = Ed25519PrivateKey.generate()
        async with office(realm) as there:
            token = there.token()
            grant = await join(there.address, ticket(token, key))
            assert grant.certificate.public_key() == key.public_key()
            with pytest.raises(EnrolmentFailed, match="used already"):
                await join(there.address, ticket(token, Ed25519PrivateKey.generate()))
            assert await join(there.address, ticket(token, key)) == grant

    run(story())


def test_two_that_race_for_one_token_do_not_both_win(realm: RealmFolder) -> None:
    async def story() -> None:
        async with office(realm) as there:
            token = there.token()
            racers = [ticket(token, Ed25519PrivateKey.generate()) for _ in range(8)]
            ends = await asyncio.gather(
                *(join(there.address, each) for each in racers), return_exceptions=True
            )
        winners = [each for each in ends if not isinstance(each, BaseException)]
        assert len(winners) == 1
        assert all("used already" in str(each) for each in ends if each not in winners)

    run(story())


def test_nothing_is_told_to_an_authority_that_is_not_pinned(
    realm: RealmFolder, tmp_path: Path
) -> None:
    async def story() -> None:
        thief = make_realm(tmp_path / "else")
        key = Ed25519PrivateKey.generate()
        async with office(realm) as there, office(thief) as elsewhere:
            token = there.token()
            with pytest.raises(EnrolmentFailed, match="not the authority that the token names"):
                await join(elsewhere.address, ticket(token, key))
            # The thief learned nothing: the token is still good.
            await join(there.address, ticket(token, key))

    run(story())


@asynccontextmanager
async def impostor(realm: RealmFolder, node: str, heard: list[bytes]) -> AsyncIterator[Address]:
    """A node of the realm that plays the authority, with its own good certificate."""
    files = realm.settings_of(node)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    shown = open_authority(realm.authority)
    plays: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            body = await read_body(reader, 16_384)
            heard.append(body)
            registrar = Registrar(realm.authority, shown, SystemClock(), SystemEntropy())
            writer.write(write(registrar.answer(AskAuthority(), None)))
            await writer.drain()
        except (OSError, EOFError):
            pass  # The client saw whom it met.
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(
        lambda reader, writer: plays.add(asyncio.create_task(play(reader, writer))),
        "127.0.0.1",
        0,
        ssl=context,
    )
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        await asyncio.gather(*plays)
        await server.wait_closed()


def test_node_of_the_realm_cannot_play_its_authority(realm: RealmFolder) -> None:
    async def story() -> None:
        realm.issue("n9")
        heard: list[bytes] = []
        async with office(realm) as there, impostor(realm, "n9", heard) as false:
            token = there.token()
            with pytest.raises(EnrolmentFailed, match="not the realm's authority"):
                await join(false, ticket(token, Ed25519PrivateKey.generate()))
        assert all(token.encode() not in each for each in heard)

    run(story())


def test_certificate_of_the_listener_is_no_nodes(realm: RealmFolder) -> None:
    async def story() -> None:
        async with office(realm) as there:
            ours = there.registrar.authority.certificate
        shown = read_certificate(realm.authority / "enrolment.crt")
        with pytest.raises(CertificateRefused):
            check_peer((shown,), ours, "home", SystemClock().now())

    run(story())


def test_renewal_needs_the_key_and_a_certificate_that_is_still_good(realm: RealmFolder) -> None:
    async def story() -> None:
        for node in ("n1", "n2"):
            realm.issue(node)
        files = identity_files(realm.identities, "n1")
        before = realm.credentials("n1")
        async with office(realm) as there:
            install(await renew(there.address, files), files)
            after = realm.credentials("n1")
            assert after.identity == before.identity
            assert after.certificate.not_valid_after_utc > before.certificate.not_valid_after_utc
            revoke(realm.authority, "n1", now=SystemClock().now())
            with pytest.raises(EnrolmentFailed, match="revoked"):
                await renew(there.address, files)
            assert "no certificate" in refused(await answer_to(there.address, write(Renew())))

    run(story())


def test_expired_certificate_renews_nothing(realm: RealmFolder) -> None:
    async def story() -> None:
        realm.dated("n1", starts_in_days=-9)
        async with office(realm) as there:
            with pytest.raises(EnrolmentFailed):
                await renew(there.address, identity_files(realm.identities, "n1"))

    run(story())


def test_stranger_shows_a_certificate_of_another_realm_in_vain(
    realm: RealmFolder, tmp_path: Path
) -> None:
    async def story() -> None:
        stranger = make_realm(tmp_path / "else")
        stranger.issue("n1")
        files = identity_files(stranger.identities, "n1")
        # It believes our authority, and shows its own certificate.
        files.realm_ca.write_bytes((realm.authority / "realm.crt").read_bytes())
        async with office(realm) as there:
            with pytest.raises(EnrolmentFailed):
                await renew(there.address, files)

    run(story())


# Attacks.


@pytest.mark.parametrize(
    "octets",
    [
        struct.pack(">I", 3) + b"\x91\x05\x00",
        struct.pack(">I", 16_385),
        struct.pack(">I", 0xFFFFFFFF) + bytes(1000),
        write(Join("nonsense", b"nonsense")),
        write(Join("x" * 9000, bytes(6000))),
    ],
    ids=["no question", "too long", "much too long", "no token", "large"],
)
def test_nonsense_is_refused_in_words(realm: RealmFolder, octets: bytes) -> None:
    async def story() -> None:
        async with office(realm) as there:
            there.token()
            assert refused(await answer_to(there.address, octets))
            await join(there.address, ticket(there.token(), Ed25519PrivateKey.generate()))

    run(story())


def test_silence_and_half_a_question_end_in_time(realm: RealmFolder) -> None:
    async def story() -> None:
        limits = ListenerLimits(exchange_s=0.3, burst=100.0)
        async with office(realm, limits) as there:
            for octets in (b"", b"\x00", write(AskAuthority())[:-1]):
                assert await answer_to(there.address, octets) == b""

    run(story())


def test_source_that_asks_too_often_has_to_wait(realm: RealmFolder) -> None:
    async def story() -> None:
        async with office(realm, ListenerLimits(burst=3.0, per_s=0.001)) as there:
            answers = [await answer_to(there.address, write(AskAuthority())) for _ in range(5)]
        assert [b"too often" in each for each in answers] == [False] * 3 + [True] * 2

    run(story())


def test_who_only_holds_places_is_bounded_and_leaves_in_time(realm: RealmFolder) -> None:
    async def story() -> None:
        limits = ListenerLimits(connections=3, exchange_s=0.5, burst=1000.0, per_s=1000.0)
        async with office(realm, limits) as there:
            host, port = there.address.host, there.address.port
            held = [await asyncio.open_connection(host, port, ssl=anybody()) for _ in range(3)]
            key = Ed25519PrivateKey.generate()
            joined, token = None, there.token()
            with pytest.raises(EnrolmentFailed):
                await join(there.address, ticket(token, key))
            while joined is None:
                try:
                    joined = await join(there.address, ticket(token, key))
                except EnrolmentFailed:
                    await asyncio.sleep(0.05)
            for _, writer in held:
                writer.transport.abort()

    run(story())


# The verbs.


def typed(*words: str) -> str:
    app = typer.Typer()
    app.add_typer(realm_verbs.app, name="realm")
    app.add_typer(cert.app, name="cert")
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "PRIVATE" not in result.output
    return result.stdout.strip()


def test_verbs_join_renew_and_revoke(realm: RealmFolder, tmp_path: Path) -> None:
    out, authority = str(tmp_path / "ids"), str(realm.authority)

    async def story() -> None:
        async with office(realm) as there:
            at = str(there.address)
            token = typed("realm", "invite", "n1", "--realm-dir", authority, "--at", at)
            shown = await asyncio.to_thread(typed, "realm", "join", token, "--out", out)
            first = read_certificate(tmp_path / "ids" / "n1" / "node.crt")
            assert shown == f"{out}/n1/node.crt"
            await asyncio.to_thread(typed, "cert", "renew", f"{out}/n1", "--at", at)
        second = read_certificate(tmp_path / "ids" / "n1" / "node.crt")
        assert first.public_key() == second.public_key()
        assert first.serial_number != second.serial_number
        assert typed("realm", "revoke", "n1", "--realm-dir", authority).endswith("realm.crl")

    run(story())
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "ids" / "n1").iterdir()}
    assert modes == {0o600}


def test_verbs_join_by_hand(realm: RealmFolder, tmp_path: Path) -> None:
    out, authority = str(tmp_path / "ids"), str(realm.authority)
    request, answer = str(tmp_path / "n1.csr"), str(tmp_path / "n1.pem")
    typed("realm", "join", "--name", "n1", "--request", request, "--out", out)
    typed("realm", "sign", request, "--realm-dir", authority, "--out", answer)
    typed("realm", "join", "--name", "n1", "--answer", answer, "--out", out)
    assert sorted(os.listdir(f"{out}/n1")) == ["node.crt", "node.key", "realm.crt"]
