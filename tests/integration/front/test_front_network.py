"""The front and instances that each have a network of their own, by namespaces: all at one port."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

import namespaceyard
from frontyard import SAYS, asking, front_pid, served, traffic
from reconciling import REALM, a_bench, node
from rolloutyard import applied, ended, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench

# A bridge and a network that no other test has.
BRIDGE = f"mjfront{namespaceyard.WORKER}"
SUBNET = f"10.78.{16 * namespaceyard.WORKER}.0/20"
EVERYWHERE = SAYS.replace("127.0.0.1", "0.0.0.0")  # noqa: S104  # inside of its jail


@pytest.fixture
def bench() -> Iterator[Bench]:
    namespaceyard.need_network()
    with a_bench() as bench:
        bench.runtime = None
        network = {"kind": "vnet", "bridge": BRIDGE, "subnet": SUBNET, "uplink": "lo"}
        bench.configure(runtime="namespaces", network=network)
        bench.upstream.commit({"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)})
        yield bench
        sys.stdout.write(bench.log.getvalue())
        ended(bench)
        assert front_pid(bench) is None
        assert namespaceyard.left_on_host(bench.root / "state/jails") == []


def test_no_request_fails_while_green_takes_over_in_networks_of_their_own(bench: Bench) -> None:
    port, file = free_port(), "apps/shop.yaml"
    strategy = {"kind": "blue-green"}

    async def main() -> None:
        first = served("v1", port, EVERYWHERE, strategy=strategy)
        bench.upstream.commit({file: first})
        async with bench.running(within_s=55) as running:
            await running.until(lambda _: traffic(bench).get("active"))
            (one,) = traffic(bench)["active"]
            assert one["address"].startswith("10.78.")
            assert one["ports"]["web"]["port"] == port
            with asking(port) as client:
                await running.until(lambda _: client.answers)
                second = bench.upstream.commit(
                    {file: served("v2", port, EVERYWHERE, strategy=strategy)}
                )
                await applied(running, second)
                await running.until(lambda _: client.answers[-1] == "v2 green-1")
                settled = len(client.answers)
                await running.until(lambda _: len(client.answers) > settled + 50)
            assert client.failures == []
            assert client.versions() == ["v1", "v2"]

    asyncio.run(main())
