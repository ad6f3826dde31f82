"""Apps come from one version to the next, and back, on a machine with real processes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from rolloutyard import (
    CRASHES,
    HEALTH,
    SERVES,
    a_rollout_bench,
    app,
    applied,
    ended,
    events,
    free_port,
    logged,
    problems,
    programs,
    runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.activity import Snapshot
    from reconciling import Bench

APP = "apps/shop.yaml"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench() as bench:
        yield bench
        # Shown by pytest with a test that failed.
        sys.stdout.write(bench.log.getvalue())
        ended(bench)


def test_app_that_ends_again_and_again_is_reverted_and_not_tried_after_a_restart(
    bench: Bench,
) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1")})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            bad = bench.upstream.commit({APP: app("shop", "v2", CRASHES)})
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)
            await running.until(lambda s: s.status.revisions.attempted == bad)
            assert running.snapshot().status.revisions.refused is None
            await logged(running, bench, "runs everywhere again")
        tried = events(bench).count("begins towards")
        async with bench.running() as running:
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)
            assert events(bench).count("begins towards") == tried
            good = bench.upstream.commit({APP: app("shop", "v3")})
            await applied(running, good)
            await runs(running, bench, v3=1)

    asyncio.run(main())


def test_version_without_health_is_applied_at_once_and_proved_later(bench: Bench) -> None:
    async def main() -> None:
        long = {"min_healthy_time_s": 60, "healthy_deadline_s": 61, "progress_deadline_s": 62}
        async with bench.running() as running:
            await applied(running, bench.upstream.commit({APP: app("shop", "v1", strategy=long)}))
            await applied(running, bench.upstream.commit({APP: app("shop", "v2", strategy=long)}))
            await runs(running, bench, v2=1)
            assert "is stable" not in events(bench)

    asyncio.run(main())


@pytest.mark.parametrize("answer", ["500", "0"])
def test_version_whose_web_server_answers_badly_or_never_is_reverted(
    bench: Bench, answer: str
) -> None:
    async def main() -> None:
        port = free_port()
        health = {"http": {"port": port, **HEALTH}}
        bench.upstream.commit({APP: app("shop", "v1", SERVES, str(port), "200", health=health)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit(
                {APP: app("shop", "v2", SERVES, str(port), answer, health=health)}
            )
            await runs(running, bench, v2=1)
            await running.until(problems("app shop: rolled back:"))
            await runs(running, bench, v1=1)
            await logged(running, bench, "runs everywhere again")

    asyncio.run(main())


def test_rolling_rollout_keeps_all_but_one_and_is_applied_at_its_end(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", instances=3)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            await runs(running, bench, v1=3)
            revision = bench.upstream.commit({APP: app("shop", "v2", instances=3)})
            fewest = 3

            def is_over(snapshot: Snapshot) -> bool:
                nonlocal fewest
                now = programs(bench)
                fewest = min(fewest, now["shop v1"] + now["shop v2"])
                is_applied = snapshot.status.revisions.applied == revision
                assert not (is_applied and now["shop v1"])
                return now == {"shop v2": 3} and is_applied

            await running.until(is_over)
            assert fewest >= 2

    asyncio.run(main())


def test_newer_commit_takes_over_in_the_middle_of_a_rollout(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({APP: app("shop", "v1", instances=3)})
        async with bench.running() as running:
            await logged(running, bench, "is stable")
            bench.upstream.commit({APP: app("shop", "v2", CRASHES, instances=3)})
            await running.until(lambda _: programs(bench)["shop v1"] == 2)
            newer = bench.upstream.commit({APP: app("shop", "v3", instances=3)})
            await applied(running, newer)
            await runs(running, bench, v3=3)

    asyncio.run(main())
