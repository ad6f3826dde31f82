"""Credentials change while links are up; who is no longer believed loses its link at once."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from credentials import DAY_S
from loopback import CONTROL, open_node, run
from maculaos.errors import LocalProtocolError
from maculaos.host.clock import FakeClock, SystemClock
from maculaos.quic.endpoint import DialFailed, Endpoint
from maculaos.security.revocations import RevocationList
from maculaos.wire.messages import Ping
from mesh_peers import PATIENCE_S, Recorder
from signed_anew import reissued

if TYPE_CHECKING:
    from credentials import RealmFolder
    from maculaos.quic.link import Link
    from maculaos.security.credentials import Credentials


def revoking(ours: Credentials, *peers: Credentials) -> Credentials:
    """Our credentials, with a list that takes back the certificates of ``peers``."""
    serials = frozenset(peer.certificate.serial_number for peer in peers)
    return replace(ours, revoked=RevocationList(1, serials, math.inf))


def serial_seen(link: Link) -> int:
    """The serial number of the certificate that the peer showed."""
    proof = link._quic._proof
    assert proof is not None
    return proof.certificate.serial_number


def test_links_stay_and_new_handshakes_show_the_new_certificate(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as one,
            open_node(realm, "n2") as two,
            open_node(realm, "n3") as three,
        ):
            link = await one.endpoint.dial(two.address)
            renewed = reissued(realm, realm.credentials("n1"))
            one.endpoint.renew(renewed)
            assert one.endpoint.recheck() == 0
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: two.recorder.heard)
            # Dialled and accepted alike.
            await one.endpoint.dial(three.address)
            await three.recorder.until(lambda: three.endpoint.links)
            assert serial_seen(three.endpoint.links[0]) == renewed.certificate.serial_number
            back = await two.endpoint.dial(one.address)
            assert serial_seen(back) == renewed.certificate.serial_number
            old = realm.credentials("n1").certificate.serial_number
            assert serial_seen(two.endpoint.links[0]) == old

    run(main())


def test_links_of_revoked_peers_are_closed_and_the_others_stay(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as one,
            open_node(realm, "n2") as two,
            open_node(realm, "n3") as three,
        ):
            await one.endpoint.dial(two.address)
            kept = await three.endpoint.dial(one.address)
            await one.recorder.until(lambda: len(one.endpoint.links) == 2)
            one.endpoint.renew(revoking(realm.credentials("n1"), realm.credentials("n2")))
            assert len(one.endpoint.links) == 2
            assert one.endpoint.recheck() == 1
            for node in (one, two):
                await node.recorder.until(lambda recorder=node.recorder: recorder.down)  # type: ignore[misc]
                ((_, reason),) = node.recorder.down
                assert reason.startswith("IDENTITY_MISMATCH: the certificate with serial")
            assert kept.is_established
            assert [link.peer.name for link in one.endpoint.links] == ["n3"]
            with pytest.raises(DialFailed, match="revoked"):
                await two.endpoint.dial(one.address)

    run(main())


def test_a_handshake_under_way_is_judged_by_the_newest_list(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            dial = asyncio.ensure_future(two.endpoint.dial(one.address))
            async with asyncio.timeout(PATIENCE_S):
                # Turn by turn: a handshake may begin and end within any longer wait.
                while not one.endpoint.pending:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            one.endpoint.renew(revoking(realm.credentials("n1"), realm.credentials("n2")))
            one.endpoint.recheck()
            with pytest.raises(DialFailed):
                await dial
            assert one.recorder.up == []

    run(main())


def test_links_end_when_the_clock_jumps_beyond_a_certificate(realm: RealmFolder) -> None:
    async def main() -> None:
        clock, recorder = FakeClock(SystemClock().now()), Recorder()
        endpoint = await Endpoint.open(
            realm.node_settings("n1"), realm.credentials("n1"), recorder, clock, port=0
        )
        try:
            async with open_node(realm, "n2") as two:
                await endpoint.dial(two.address)
                assert endpoint.recheck() == 0
                clock.sleep(60 * DAY_S)
                assert endpoint.recheck() == 1
                await two.recorder.until(lambda: two.recorder.down)
        finally:
            await endpoint.close("test over")

    run(main())


def test_credentials_of_another_node_are_not_taken(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            with pytest.raises(LocalProtocolError, match="n2"):
                one.endpoint.renew(realm.credentials("n2"))

    run(main())
