"""Blue-green and canary rollouts on real processes: beside, switched, promoted, aborted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.errors import UsageError
from rolloutyard import CRASHES, a_rollout_bench, app, applied, ended, logged, problems, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench, Running

APP = "apps/shop.yaml"
BLUE_GREEN = {"kind": "blue-green"}
BY_HAND = {"kind": "canary", "auto_promote": False}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench() as bench:
        yield bench
        # Shown by pytest with a test that failed.
        sys.stdout.write(bench.log.getvalue())
        ended(bench)


def active(bench: Bench) -> list[str]:
    """The instances that the traffic file names."""
    try:
        said = json.loads((bench.root / "run/traffic.d/shop.json").read_text())
    except FileNotFoundError:
        return []
    return [each["instance"] for each in said["active"]]


def reconciler(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "reconciler.cli", *words, "--config", str(bench.config)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


async def say(running: Running, word: str) -> list[str]:
    request: dict[str, Any] = {"do": "rollout", "word": word, "app": "shop"}
    answer = await running.daemon.answer(request)
    return list(answer["said"])


def test_blue_green_switches_when_green_is_proved_and_goes_back_next_time(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", instances=2, strategy=BLUE_GREEN)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            await running.until(lambda _: active(bench) == ["blue-1", "blue-2"])
            second = bench.upstream.commit(
                {APP: app("shop", "v2", instances=2, strategy=BLUE_GREEN)}
            )
            await runs(running, bench, v1=2, v2=2)
            assert active(bench) == ["blue-1", "blue-2"]
            await applied(running, second)
            await runs(running, bench, v2=2)
            assert active(bench) == ["green-1", "green-2"]
            third = bench.upstream.commit(
                {APP: app("shop", "v3", instances=2, strategy=BLUE_GREEN)}
            )
            await applied(running, third)
            await runs(running, bench, v3=2)
            assert active(bench) == ["blue-1", "blue-2"]

    asyncio.run(main())


def test_green_that_never_does_well_gets_no_traffic_and_goes(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", strategy=BLUE_GREEN)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            await running.until(lambda _: active(bench) == ["blue-1"])
            bench.upstream.commit({APP: app("shop", "v2", CRASHES, strategy=BLUE_GREEN)})
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)
            assert active(bench) == ["blue-1"]
            items = [each for each in running.snapshot().status.items if each.kind == "app"]
            assert {(each.rollout, each.reverted) for each in items} == {("reverted", True)}

    asyncio.run(main())


def test_canary_waits_for_its_word_and_is_promoted(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", instances=2, strategy=BY_HAND)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            assert (await say(running, "promote"))[0].startswith("not promote")
            second = bench.upstream.commit({APP: app("shop", "v2", instances=2, strategy=BY_HAND)})
            await logged(running, bench, "healthy and waits to be promoted")
            await runs(running, bench, v1=2, v2=1)
            assert any("is promoted" in line for line in await say(running, "promote"))
            await applied(running, second)
            await runs(running, bench, v2=2)

    asyncio.run(main())


def test_canary_that_is_aborted_goes_and_comes_back_with_retry(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", strategy=BY_HAND)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit({APP: app("shop", "v2", strategy=BY_HAND)})
            await logged(running, bench, "healthy and waits to be promoted")
            assert any("given up" in line for line in await say(running, "abort"))
            await running.until(problems("rolled back: "))
            await runs(running, bench, v1=1)
            assert any("tried again" in line for line in await say(running, "retry"))
            await runs(running, bench, v1=1, v2=1)

    asyncio.run(main())


def test_word_about_an_app_that_is_not_there_is_refused(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1")})
        async with bench.running() as running:
            await logged(running, bench, "begins towards")
            with pytest.raises(UsageError, match="there is no app 'shopp' here"):
                await running.daemon.answer({"do": "rollout", "word": "abort", "app": "shopp"})
            with pytest.raises(UsageError, match="one word"):
                await running.daemon.answer({"do": "rollout", "word": "dance", "app": "shop"})
            said = await asyncio.to_thread(reconciler, bench, "promote", "shopp")
            assert said.returncode == 2
            said = await asyncio.to_thread(reconciler, bench, "retry", "shop")
            assert (said.returncode, said.stdout) == (1, "not retry: nothing has failed\n")
            said = await asyncio.to_thread(reconciler, bench, "pause-rollout", "shop")
            # Whatever it came to in that moment is said below.
            assert (said.returncode, said.stdout.splitlines()[0]) == (0, "paused")
            said = await asyncio.to_thread(reconciler, bench, "resume-rollout", "shop")
            assert (said.returncode, said.stdout.splitlines()[0]) == (0, "resumed")

    asyncio.run(main())
