"""Links and handshakes are limited; what lies beyond is refused, and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopback import AT_ONCE, QUICK, open_node, run
from maculaos.quic.endpoint import DialFailed
from maculaos.settings import LimitSettings
from mesh_peers import raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_links_are_limited_on_both_ends(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(links=1)
        async with (
            open_node(realm, "n1", limits=limits) as full,
            open_node(realm, "n2") as two,
            open_node(realm, "n3", link=AT_ONCE) as three,
        ):
            await full.endpoint.dial(two.address)
            with pytest.raises(DialFailed, match="its limit"):
                await full.endpoint.dial(three.address)
            with pytest.raises(DialFailed, match="no answer in time"):
                await three.endpoint.dial(full.address)
            assert full.endpoint.refused["too many links"] >= 1

    run(main())


def test_pending_handshakes_are_limited_and_the_oldest_makes_room(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=1)
        async with (
            open_node(realm, "n1", limits=limits) as one,
            open_node(realm, "n3", link=QUICK) as three,
            raw_peer(realm.credentials("n2"), one.endpoint.address),
        ):
            # The oldest handshake makes room: who only holds a place locks nobody out.
            await three.endpoint.dial(one.address)
            assert one.endpoint.refused["too many handshakes"] == 1

    run(main())
