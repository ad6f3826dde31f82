"""Only nodes of one realm meet: every other certificate is refused, on both ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from cryptography.x509.oid import ExtendedKeyUsageOID

from credentials import DAY_S, RealmFolder, make_realm, signed_anew
from loopback import open_node, run
from maculaos.host.clock import FakeClock, SystemClock
from maculaos.quic.endpoint import DialFailed, Endpoint
from mesh_peers import RawPeer, Recorder, eventually, node

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.security.credentials import Credentials

CLIENT, SERVER = (
    usage.dotted_string
    for usage in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
)


FOREIGN = "not signed by this realm's authority"


REFUSALS = [
    ("foreign: home", "foreign authority", FOREIGN),
    ("foreign: work", "foreign authority", FOREIGN),
    ("dated: expired", "expired", "expired at"),
    ("dated: not yet valid", "not yet valid", "not valid before"),
    ("another realm", "another realm", "of realm work, not home"),
    (f"usages: {CLIENT}", "missing usage", "not for both ends"),
    (f"usages: {SERVER}", "missing usage", "not for both ends"),
    ("stolen certificate", "transport", "decrypt error"),
]


def intruder(case: str, realm: RealmFolder, tmp_path: Path) -> Credentials:
    """Bad credentials that trust the realm themselves, so that only the other end can refuse."""
    good = realm.credentials("n2")
    match case.split(": "):
        case ["foreign", name]:
            stranger = make_realm(tmp_path, name).credentials("n2")
            return replace(good, certificate=stranger.certificate, key=stranger.key)
        case ["dated", "expired"]:
            return realm.dated("late", starts_in_days=-3)
        case ["dated", _]:
            return realm.dated("early", starts_in_days=1)
        case ["another realm"]:
            return signed_anew(realm, good, realm="work", usages=(CLIENT, SERVER))
        case ["usages", *usages]:
            return signed_anew(realm, good, realm="home", usages=tuple(usages))
        case _:
            # Somebody copied the certificate and does not have the key.
            return replace(good, key=realm.credentials("n3").key)


@pytest.mark.parametrize(("case", "cause", "words"), REFUSALS)
def test_bad_dialler_is_refused_and_told_why(
    realm: RealmFolder, tmp_path: Path, case: str, cause: str, words: str
) -> None:
    async def main() -> None:
        bad = intruder(case, realm, tmp_path)
        async with (
            open_node(realm, "n1") as good,
            node(realm.node_settings("n2"), bad) as dialler,
        ):
            with pytest.raises(DialFailed, match=f"refused by the peer: .*{words}"):
                await dialler.endpoint.dial(good.address)
            assert good.endpoint.refused == Counter({cause: 1})
            assert good.recorder.up == dialler.recorder.up == []
            assert good.endpoint.links == dialler.endpoint.links == ()

    run(main())


def test_dialler_without_a_certificate_is_refused(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as good:
            peer = RawPeer(realm.credentials("n2"), has_certificate=False)
            await peer.connect(good.endpoint.address)
            alert = int(AlertDescription.certificate_required)
            assert await peer.refusal() == QuicErrorCode.CRYPTO_ERROR + alert
            await eventually(lambda: good.endpoint.refused)
            assert good.endpoint.refused == Counter({"no certificate": 1})
            assert good.recorder.up == []
            peer.vanish()

    run(main())


@pytest.mark.parametrize(("case", "cause", "words"), REFUSALS)
def test_bad_listener_is_refused_by_who_dials_it(
    realm: RealmFolder, tmp_path: Path, case: str, cause: str, words: str
) -> None:
    async def main() -> None:
        bad = intruder(case, realm, tmp_path)
        async with (
            open_node(realm, "n1") as good,
            node(realm.node_settings("n2"), bad) as listener,
        ):
            with pytest.raises(DialFailed, match=words) as failed:
                await good.endpoint.dial(listener.address)
            assert "by the peer" not in str(failed.value)
            assert good.endpoint.refused == Counter({cause: 1})
            await eventually(lambda: listener.endpoint.refused)
            assert good.recorder.up == listener.recorder.up == []

    run(main())


def test_two_whole_realms_never_meet(realm: RealmFolder, tmp_path: Path) -> None:
    async def main() -> None:
        work = make_realm(tmp_path, "work")
        work.issue("n2")
        async with open_node(realm, "n1") as one, open_node(work, "n2") as two:
            for dialler, listener in ((one, two), (two, one)):
                with pytest.raises(DialFailed, match="not signed by this realm's authority"):
                    await dialler.endpoint.dial(listener.address)
            assert one.recorder.up == two.recorder.up == []

    run(main())


def test_certificate_dates_are_read_from_the_given_clock(realm: RealmFolder) -> None:
    async def main() -> None:
        late = FakeClock(SystemClock().now() + 100 * DAY_S)
        credentials = realm.credentials("n1")
        endpoint = await Endpoint.open(
            realm.node_settings("n1"), credentials, Recorder(), late, port=0
        )
        async with open_node(realm, "n2") as two:
            with pytest.raises(DialFailed, match=r"refused by the peer: .*expired at"):
                await two.endpoint.dial(str(endpoint.address))
        await endpoint.close("test over")
        assert endpoint.refused == Counter({"expired": 1})

    run(main())
