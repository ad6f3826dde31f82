"""Multicast DNS over the loopback interface: real packets on port 5353."""

from __future__ import annotations

import uuid

import pytest

from discovering import Heard, bounded, seeking, surroundings
from maculaos.discovery.method import MethodFailed
from maculaos.discovery.methods.mdns import Method
from maculaos.discovery.settings import MdnsSettings
from multicast import need_multicast

LOOPBACK = MdnsSettings(interfaces=("127.0.0.1",))


@pytest.fixture
def realm() -> str:
    """A realm of this test only: whoever else tests on this machine hears it, too."""
    need_multicast()
    return f"r{uuid.uuid4().hex}"


def method(name: str, port: int, realm: str) -> Method:
    return Method(surroundings(name, realm=realm, port=port, mdns=LOOPBACK))


def test_nodes_of_one_realm_find_each_other_and_hear_the_goodbye(realm: str) -> None:
    async def main() -> None:
        async with seeking(method("n1", 4701, realm)) as first:
            async with seeking(method("n2", 4702, realm)) as second:
                await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
                await second.until(lambda: second.named.get("") == ("127.0.0.1:4701",))
            await first.until(lambda: first.named[""] == ())

    bounded(main())


def test_another_realm_is_not_heard(realm: str) -> None:
    async def main() -> None:
        async with seeking(method("n1", 4701, realm)) as first:
            async with seeking(method("x1", 4709, f"{realm}x")) as stranger:
                async with seeking(method("n2", 4702, realm)):
                    await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
            assert not stranger.named.get("")

    bounded(main())


def test_where_multicast_is_impossible_the_method_fails_with_a_reason() -> None:
    # An address that no machine has: of those set aside for documentation.
    settings = MdnsSettings(interfaces=("203.0.113.7",))

    async def main() -> None:
        with pytest.raises(MethodFailed, match="multicast DNS cannot be used"):
            await Method(surroundings(mdns=settings)).run(Heard())

    bounded(main())
