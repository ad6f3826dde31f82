"""Rollouts behind the front, seen by a client that asks on and on: no request of it fails."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from frontyard import SAYS_AND_CRASHES, asking, front_pid, served, traffic
from rolloutyard import a_rollout_bench, applied, ended, free_port, logged, problems, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from frontyard import Client
    from reconciling import Bench, Running

APP = "apps/shop.yaml"
WITHIN_S = 50.0


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench() as bench:
        yield bench
        # Shown by pytest with a test that failed.
        sys.stdout.write(bench.log.getvalue())
        ended(bench)
        assert front_pid(bench) is None


async def answered(running: Running, client: Client, version: str) -> None:
    await running.until(lambda _: client.answers and client.answers[-1].startswith(version))


async def first(bench: Bench, running: Running, instances: int) -> None:
    """The first version is stable, and takes traffic everywhere."""
    await logged(running, bench, "is stable")
    await running.until(lambda _: len(traffic(bench).get("active", ())) == instances)


def test_no_request_fails_while_green_takes_over_from_blue(bench: Bench) -> None:
    said: dict[str, Any] = {"instances": 2, "strategy": {"kind": "blue-green"}}
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port, **said)})
        async with bench.running(within_s=WITHIN_S) as running:
            await first(bench, running, 2)
            with asking(port) as client:
                await answered(running, client, "v1")
                second = bench.upstream.commit({APP: served("v2", port, **said)})
                await runs(running, bench, v1=2, v2=2)
                assert client.versions() == ["v1"]
                await applied(running, second)
                await runs(running, bench, v2=2)
                await answered(running, client, "v2")
                settled = len(client.answers)
                await running.until(lambda _: len(client.answers) > settled + 20)
            assert client.failures == []
            assert client.since(settled) == {"v2"}
            who = {answer.split()[1] for answer in client.answers}
            assert who == {"blue-1", "blue-2", "green-1", "green-2"}

    asyncio.run(main())


def test_no_request_fails_while_three_instances_are_replaced_in_turn(bench: Bench) -> None:
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port, instances=3)})
        async with bench.running(within_s=WITHIN_S) as running:
            await first(bench, running, 3)
            with asking(port) as client:
                await answered(running, client, "v1")
                second = bench.upstream.commit({APP: served("v2", port, instances=3)})
                await applied(running, second)
                await runs(running, bench, v2=3)
                settled = len(client.answers)
                await running.until(lambda _: len(client.answers) > settled + 20)
            assert client.failures == []
            assert client.versions() == ["v1", "v2"]
            assert client.since(settled + 5) == {"v2"}

    asyncio.run(main())


def test_no_request_fails_while_a_canary_crashes_and_is_given_up(bench: Bench) -> None:
    said: dict[str, Any] = {"instances": 2, "strategy": {"kind": "canary"}}
    port = free_port()

    async def main() -> None:
        bench.upstream.commit({APP: served("v1", port, **said)})
        async with bench.running(within_s=WITHIN_S) as running:
            await first(bench, running, 2)
            crashing = served("v2", port, SAYS_AND_CRASHES, restart={"policy": "never"}, **said)
            with asking(port) as client:
                await answered(running, client, "v1")
                bench.upstream.commit({APP: crashing})
                await running.until(problems("app shop: rolled back:"))
                await runs(running, bench, v1=2)
                settled = len(client.answers)
                await running.until(lambda _: len(client.answers) > settled + 20)
            assert client.failures == []
            assert client.since(settled) == {"v1"}

    asyncio.run(main())
