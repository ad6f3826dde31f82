"""Peers, strangers and clients that attack a node over real sockets; it goes on serving others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from credentials import make_realm
from lone_node import lone_node
from loopback import QUICK, open_node, run
from maculaos.cli import complaint
from maculaos.client import NodeUnreachable, connect
from maculaos.control import socket_file
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.identity import Identity, NodeId
from maculaos.quic.endpoint import DialFailed, Endpoint
from maculaos.quic.mutual_tls import MutualConnection, quic_configuration
from maculaos.security.authority import open_authority
from maculaos.settings import LimitSettings
from maculaos.wire.frames import HEADER, MAX_PAYLOAD_SIZE
from maculaos.wire.messages import Handshake, encode_message
from mesh_peers import Recorder, eventually, raw_peer
from node_process import free_port, yard

if TYPE_CHECKING:
    from pathlib import Path

    from credentials import RealmFolder
    from maculaos.security.credentials import Credentials

HELLO = encode_message(Handshake(2, "", b"", "x", (), "x"))


@pytest.fixture
def realm(tmp_path: Path) -> RealmFolder:
    return make_realm(tmp_path)


# Strangers: anybody who can reach the UDP port.


def first_datagram(credentials: Credentials, address: tuple[str, int]) -> bytes:
    """The start of a handshake that nobody goes on with."""
    configuration = quic_configuration(credentials, is_client=True, idle_timeout_s=10.0)
    quic = MutualConnection(credentials, SystemClock(), configuration=configuration)
    quic.connect(address, now=0.0)
    return bytes(quic.datagrams_to_send(now=0.0)[0][0])


def test_handshakes_that_never_end_lock_no_node_out(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=8)
        async with open_node(realm, "n1", limits=limits) as one, open_node(realm, "n2") as two:
            address = one.endpoint.address
            credentials = realm.credentials("n3")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for _ in range(40):
                    datagram = first_datagram(credentials, (address.host, address.port))
                    stranger.sendto(datagram, (address.host, address.port))
            await eventually(lambda: one.endpoint.retries >= 30)
            await two.endpoint.dial(one.address)
            assert len(one.endpoint.links) == 1

    run(main())


# Members of the realm that do not behave.


def test_peer_that_asks_and_takes_no_answer_is_cut_off(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(link_queue_bytes=65_536)
        async with (
            open_node(realm, "n1", limits=limits) as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as peer,
        ):
            await peer.greet()
            # The node may never say more than it said: it gets no more credit for its streams.
            peer.quic._write_connection_limits = lambda *_, **__: None  # type: ignore[method-assign]
            peer.quic._write_stream_limits = lambda *_, **__: None  # type: ignore[method-assign]
            unknown = HEADER.pack(1, 0x77, 0, 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(20):
                    while peer.quic.ending is None and not one.recorder.down:
                        peer.say(2, unknown * 2000)
                        await asyncio.sleep(0.01)
            assert [reason for _, reason in one.recorder.down] == [
                "LIMIT_EXCEEDED: too much waits for this peer"
            ]

    run(main())


def test_link_ends_with_the_certificate_of_its_peer(realm: RealmFolder) -> None:
    async def main() -> None:
        clock = SystemClock()
        credentials = realm.credentials("n2")
        ends = credentials.certificate.not_valid_after_utc.timestamp()

        class LateClock(SystemClock):
            """A second before the certificate of n2 ends."""

            def now(self) -> float:
                return clock.now() + offset

        offset = ends - clock.now() - 1.0
        realm.issue("n1", days=60)
        recorder = Recorder()
        settings = realm.node_settings("n1")
        one = await Endpoint.open(settings, realm.credentials("n1"), recorder, LateClock(), port=0)
        try:
            async with raw_peer(credentials, one.address) as peer:
                await peer.greet()
                await recorder.until(lambda: recorder.down)
            assert "certificate has expired" in recorder.down[0][1]
        finally:
            await one.close("test over")

    run(main())


def test_numbers_are_dialled_while_the_name_service_hangs(realm: RealmFolder) -> None:
    async def main() -> None:
        hangs = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            waiting = loop.run_in_executor(None, hangs.wait)
            try:
                await one.endpoint.dial(two.address)
            finally:
                hangs.set()
                await waiting

    run(main())


# Certificates that the realm's own authority was brought to sign.


def signed(
    folder: RealmFolder,
    credentials: Credentials,
    names: list[x509.GeneralName],
    common_name: str | None = None,
) -> Credentials:
    """The same key with other names."""
    old = credentials.certificate
    subject = old.subject
    if common_name is not None:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number + 1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    for kept in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage):
        extension = old.extensions.get_extension_for_class(kept)
        builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate = builder.sign(open_authority(folder.authority).key, None)
    return replace(credentials, certificate=certificate)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    "trick",
    [
        "two names of ours",
        "another scheme",
        "another key",
        "longer realm",
        "shorter realm",
        "upper case",
        "odd name",
        "no name",
    ],
)
def test_names_that_are_not_exactly_right_are_refused(realm: RealmFolder, trick: str) -> None:
    good = realm.credentials("n2")
    right = good.identity.uri
    node_id = good.identity.node_id
    tricks: dict[str, list[x509.GeneralName]] = {
        "two names of ours": [uri(right), uri(Identity("home", NodeId(bytes(32)), "n9").uri)],
        "another scheme": [uri(right.replace("macula://", "https://"))],
        "another key": [uri(Identity("home", NodeId(bytes(32)), "n2").uri)],
        "longer realm": [uri(Identity("home.evil", node_id, "n2").uri)],
        "shorter realm": [uri(Identity("hom", node_id, "n2").uri)],
        "upper case": [uri(right.replace("home", "HOME"))],
        "odd name": [uri(right)],
        "no name": [x509.DNSName("n2")],
    }
    bad = signed(realm, good, tricks[trick], "n2\n\x1b[2J" if trick == "odd name" else None)

    async def main() -> None:
        async with open_node(realm, "n1") as one:
            other = await Endpoint.open(
                realm.node_settings("n2", link=QUICK), bad, Recorder(), SystemClock(), port=0
            )
            try:
                with pytest.raises(DialFailed):
                    await other.dial(one.address)
                await eventually(lambda: sum(one.endpoint.refused.values()) == 1)
                assert not one.recorder.up
                with pytest.raises(DialFailed):
                    await one.endpoint.dial(str(other.address))
            finally:
                await other.close("test over")

    run(main())


# Clients of the control socket.


def test_nobody_makes_a_node_hold_much_before_the_handshake() -> None:
    async def main() -> None:
        async with lone_node() as node:
            reader, writer = await asyncio.open_unix_connection(str(node.path))
            writer.write(HEADER.pack(1, 0x01, 0, MAX_PAYLOAD_SIZE))
            said = await reader.read()
            assert b"TOO_LARGE" in said or b"announced" in said
            writer.close()
            await writer.wait_closed()

    run(main())


def test_unfinished_frames_share_one_bound_and_the_largest_goes() -> None:
    async def main() -> None:
        limits = LimitSettings(client_queue_bytes=1_000_000)
        async with lone_node(limits) as node:
            async with connect(node.path) as friend:
                holders = [await asyncio.open_unix_connection(str(node.path)) for _ in range(4)]
                for number, (reader, writer) in enumerate(holders):
                    writer.write(HELLO)
                    await reader.read(1000)
                    writer.write(HEADER.pack(1, 0x10, 0, MAX_PAYLOAD_SIZE))
                    writer.write(bytes(300_000 + number))
                    await writer.drain()
                # The fourth brings the sum above the bound; one of the large ones goes.
                await eventually(lambda: node.went)
                assert "unfinished" in node.went[0]
                assert len(node.went) == 1
                await friend.ping()
                for _, writer in holders:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            await eventually(lambda: len(node.went) == 5)

    run(main())


def test_a_thousand_clients_leave_room_for_the_next() -> None:
    async def main() -> None:
        async with lone_node(LimitSettings(clients=16)) as node:
            for _ in range(1000 // 50):
                crowd = [await asyncio.open_unix_connection(str(node.path)) for _ in range(50)]
                for _, writer in crowd:
                    writer.write(os.urandom(64))
                    writer.close()
                for _, writer in crowd:
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            async with connect(node.path, patience_s=10) as friend:
                await friend.ping()

    run(main())


# Files and sockets that others prepared.


def test_what_lies_in_place_of_the_socket_is_not_followed(tmp_path: Path) -> None:
    async def main() -> None:
        async with lone_node() as node:
            target = node.path.parent / "precious"
            target.write_text("kept")
            trap = node.path.parent / "trap.sock"
            trap.symlink_to(target)
            with pytest.raises(UsageError, match="is no socket"):
                await socket_file.listen(trap, 5)
            assert target.read_text() == "kept"

    run(main())


def test_the_socket_is_private_under_any_umask() -> None:
    before = os.umask(0)

    async def main() -> None:
        async with lone_node() as node:
            assert stat.S_IMODE(node.path.stat().st_mode) == 0o600

    try:
        run(main())
    finally:
        os.umask(before)


def test_a_folder_that_others_may_write_to_holds_no_socket() -> None:
    async def main() -> None:
        async with lone_node() as node:
            folder = node.path.parent / "open"
            folder.mkdir()
            folder.chmod(0o777)
            with pytest.raises(UsageError, match="others may write"):
                await socket_file.listen(folder / "n.sock", 5)

    run(main())


# Mistakes of an operator.


def test_words_of_other_machines_do_not_steer_a_terminal() -> None:
    (line,) = complaint(MaculaError("HANDLER_FAILED: \x1b]0;mine\x07\x1b[2Jgone\u202e"))
    assert line == "HANDLER_FAILED: ?]0;mine??[2Jgone?"


@pytest.mark.parametrize("listen", ["0.0.0.0", "'::'"])  # noqa: S104  # to see it refused
def test_a_node_that_nobody_could_dial_does_not_start(listen: str) -> None:
    with yard() as place:
        port = free_port()
        config = place.configure("n1", port)
        said = config.read_text().replace("{port:", f"{{address: {listen}, port:")
        config.write_text(said)
        with pytest.raises(AssertionError, match=r"name in listen\.advertise"):
            place.start("n1")
        config.write_text(said.replace(f"port: {port}", f"port: {port}, advertise: ['[::1]:9']"))
        place.start("n1")


def test_a_node_named_in_its_own_peers_dials_itself_once() -> None:
    with yard() as place:
        port = free_port()
        config = place.configure("n1", port, (port, port))
        config.write_text(config.read_text().replace("peers: [", f"peers: ['localhost:{port}', "))
        place.start("n1")

        async def main() -> None:
            def has_found_out() -> bool:
                return "own_address" in place.log("n1")

            await eventually(has_found_out)
            with contextlib.suppress(NodeUnreachable):
                async with connect(place.socket("n1")) as mesh:
                    assert len(await mesh.members()) == 1
            assert "dial_failed" not in place.log("n1")

        run(main())
