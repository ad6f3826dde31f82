"""A name with several addresses: they are raced, never tried one after the other."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from loopback import AT_ONCE, open_node, run
from maculaos.quic.endpoint import DialFailed
from maculaos.quic.port import MAX_RESOLVED, resolve

if TYPE_CHECKING:
    from credentials import RealmFolder

SEVERAL = "several.test"


def name_service(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[Any, ...]]) -> None:
    """Let the system know the name ``SEVERAL``, with these socket addresses."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if host != SEVERAL:
            return real(host, *rest, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", each) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def silent() -> socket.socket:
    """A socket that hears and never answers."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def test_silent_addresses_of_a_name_hold_nobody_up(
    realm: RealmFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        with silent() as first, silent() as second:
            async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
                good = ("127.0.0.1", two.endpoint.address.port)
                name_service(monkeypatch, [first.getsockname(), second.getsockname(), good])
                loop = asyncio.get_running_loop()
                began = loop.time()
                link = await one.endpoint.dial(f"{SEVERAL}:4701")
                # Two steps of 250 ms; one after the other it would be twice 5 s.
                assert loop.time() - began < 4.0
                assert link.dialled == f"{SEVERAL}:4701"
                assert one.endpoint.links == (link,)

    run(main())


def test_name_whose_addresses_are_all_silent_fails_in_time(
    realm: RealmFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        with silent() as first, silent() as second:
            async with open_node(realm, "n1", link=AT_ONCE) as one:
                name_service(monkeypatch, [first.getsockname(), second.getsockname()])
                with pytest.raises(DialFailed, match=rf"^{SEVERAL}:4701: .*no answer in time"):
                    await one.endpoint.dial(f"{SEVERAL}:4701")
                assert one.endpoint.links == ()

    run(main())


def test_families_of_a_name_alternate_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    six = [(f"2001:db8::{number}", 1, 0, 0) for number in range(9)]
    four = [(f"::ffff:192.0.2.{number}", 1, 0, 0) for number in range(2)]
    name_service(monkeypatch, [*six, *four, six[0]])
    found = asyncio.run(resolve(SEVERAL, 1, socket.AF_INET6))
    assert found == [six[0], four[0], six[1], four[1], *six[2:6]]
    assert len(found) == MAX_RESOLVED
