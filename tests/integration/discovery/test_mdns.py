"""Multicast DNS over the loopback interface: real packets on port 5353."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest
from zeroconf import ServiceInfo, ServiceStateChange
from zeroconf.asyncio import AsyncZeroconf

from discovering import Heard, bounded, identity, seeking, surroundings
from maculaos.discovery.method import MethodFailed
from maculaos.discovery.methods.mdns import Method
from maculaos.discovery.service import TYPE, services_of
from maculaos.discovery.settings import MdnsSettings
from multicast import alone, need_multicast

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
            stranger_there = seeking(method("x1", 4709, f"{realm}x"))
            async with stranger_there as stranger, seeking(method("n2", 4702, realm)):
                await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
            assert not stranger.named.get("")

    bounded(main())


def test_whoever_claims_the_name_of_a_node_hides_it_from_nobody(realm: str) -> None:
    async def main() -> None:
        info = ServiceInfo(
            TYPE,
            services_of(identity("n2", realm), ("127.0.0.1:4702",))[0].instance,
            port=9,
            server="liar.local.",
            addresses=[b"\x7f\0\0\1"],
        )
        liar = AsyncZeroconf(interfaces=["127.0.0.1"])
        try:
            await (await liar.async_register_service(info))
            one, two = (method(f"n{number}", 4700 + number, realm) for number in (1, 2))
            async with seeking(one) as first, seeking(two) as second:
                await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
                await second.until(lambda: second.named.get("") == ("127.0.0.1:4701",))
        finally:
            await liar.async_close()

    bounded(main())


def test_services_that_never_tell_where_they_are_hide_nobody(realm: str) -> None:
    async def main() -> None:
        listening = method("n1", 4701, realm)
        async with seeking(listening) as first:
            # The sockets are open.
            await first.until(lambda: first.named.get("") == ())
            for number in range(100):
                name = f"{realm}{number}.{TYPE}"
                listening._heard(None, TYPE, name, ServiceStateChange.Added)  # type: ignore[arg-type]
            async with seeking(method("n2", 4702, realm)):
                await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
            await first.until(lambda: first.named[""] == ())

    bounded(main())


def test_where_multicast_is_impossible_the_method_fails_with_a_reason() -> None:
    # An address that no machine has: of those set aside for documentation.
    settings = MdnsSettings(interfaces=("203.0.113.7",))

    async def main() -> None:
        with pytest.raises(MethodFailed, match="multicast DNS cannot be used"):
            await Method(surroundings(mdns=settings)).run(Heard())

    bounded(main())


_EVERYWHERE = """
import sys
from dataclasses import replace
from discovering import bounded, seeking, surroundings
from maculaos.discovery.methods.mdns import Method
from maculaos.settings import ListenSettings

def method(name, port):
    around = surroundings(name)
    listen = ListenSettings(address=sys.argv[1], port=port, advertise=(f"127.0.0.1:{port}",))
    return Method(replace(around, settings=replace(around.settings, listen=listen)))

async def main():
    async with seeking(method("n1", 4701)) as first, seeking(method("n2", 4702)) as second:
        await first.until(lambda: first.named.get("") == ("127.0.0.1:4702",))
        await second.until(lambda: second.named.get("") == ("127.0.0.1:4701",))

bounded(main())
"""


@pytest.mark.parametrize("listening", ["0.0.0.0", "::"])  # noqa: S104  # inside of a namespace
def test_a_node_that_listens_everywhere_asks_at_every_interface(listening: str) -> None:
    argv = alone(sys.executable, "-W", "error", "-c", _EVERYWHERE, listening)
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(argv, env=path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
