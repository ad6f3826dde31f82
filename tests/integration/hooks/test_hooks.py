"""Hooks of apps on real processes: each is run once, in order, and none keeps any from going."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from doomed import Nursery
from hooklives import FOREVER_S, HookLives
from jailyard import eventually
from rolloutyard import CALM_POLL, a_rollout_bench, cleared, ended, events, logged, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciling import Bench, Running

# Real programs, on a machine that may be busy.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
]
WITHIN_S = 180.0
APP = "apps/shop.yaml"
WHOLE_LIFE = ["runs", "start", "drain", "stop", "ends"]
# Longer than any test may take: whatever drains for so long is ended by its hook.
LONG_DRAIN = {"drain_s": 150.0}
STRICT = {"healthy_deadline_s": 2.0, "progress_deadline_s": 20.0}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench(poll=CALM_POLL) as bench:
        yield bench
        # Shown by pytest with a test that failed.
        sys.stdout.write(events(bench))
        cleared(bench)


async def stable(running: Running, bench: Bench, times: int) -> None:
    await running.until(lambda _: events(bench).count("is stable") == times)


@pytest.mark.parametrize(
    "strategy",
    [
        {"kind": "restart"},
        {"kind": "rolling", **LONG_DRAIN},
        {"kind": "blue-green", **LONG_DRAIN},
    ],
    ids=lambda strategy: str(strategy["kind"]),
)
def test_each_hook_is_run_once_and_in_order_while_a_version_is_replaced(
    bench: Bench, strategy: dict[str, Any]
) -> None:
    lives = HookLives(bench.root)
    several: dict[str, Any] = {"instances": 2, "strategy": strategy}

    async def main() -> None:
        bench.upstream.commit({APP: lives.spec("v1", **several)})
        async with bench.running(within_s=WITHIN_S) as running:
            await stable(running, bench, 1)
            bench.upstream.commit({APP: lives.spec("v2", **several)})
            await stable(running, bench, 2)
            await running.until(lambda _: [*lives.words("v1").values()] == [WHOLE_LIFE] * 2)

    asyncio.run(main())
    assert [*lives.words("v2").values()] == [["runs", "start"]] * 2
    folders = {line.instance: line.folder for line in lives.lines() if line.word == "runs"}
    assert all(line.folder == folders[line.instance] for line in lives.lines())
    ended(bench)
    assert [*lives.words("v2").values()] == [["runs", "start", "stop", "ends"]] * 2


@pytest.mark.parametrize("bad", [{"status": 3}, {"takes_s": FOREVER_S}], ids=["fails", "hangs"])
def test_version_whose_start_hook_fails_or_hangs_is_reverted(
    bench: Bench, bad: dict[str, Any]
) -> None:
    lives = HookLives(bench.root)

    async def main() -> None:
        bench.upstream.commit({APP: lives.spec("v1")})
        async with bench.running(within_s=WITHIN_S) as running:
            await stable(running, bench, 1)
            hooks = lives.hooks(start=lives.hook("start", **bad), timeout_s=0.5)
            bench.upstream.commit({APP: lives.spec("v2", hooks=hooks, strategy=STRICT)})
            await running.until(problems("app shop: rolled back:"))
            await running.until(lambda _: lives.words("v1")["blue-1"][-2:] == ["runs", "start"])
            await logged(running, bench, "runs everywhere again")
            assert "its start hook: " in events(bench)

    asyncio.run(main())
    assert events(bench).count("is stable") == 1


@pytest.mark.parametrize("bad", [{"status": 3}, {"takes_s": FOREVER_S}], ids=["fails", "hangs"])
@pytest.mark.parametrize("kind", ["drain", "stop"])
def test_drain_or_stop_hook_that_fails_or_hangs_is_told_once_and_holds_up_nothing(
    bench: Bench, kind: str, bad: dict[str, Any]
) -> None:
    lives = HookLives(bench.root)

    async def main() -> None:
        # Time enough for the good ones, however slow the machine is.
        hooks = lives.hooks(**{kind: lives.hook(kind, **bad)}, timeout_s=5)
        bench.upstream.commit({APP: lives.spec("v1", hooks=hooks)})
        async with bench.running(within_s=WITHIN_S) as running:
            await stable(running, bench, 1)
            bench.upstream.commit({APP: lives.spec("v2")})
            await stable(running, bench, 2)
            assert events(bench).count("hook_failed") == 1
            assert f"its {kind} hook: " in events(bench)

    asyncio.run(main())
    assert lives.words("v1") == {"blue-1": WHOLE_LIFE}


def test_app_that_is_removed_has_its_stop_hook_run_first(bench: Bench) -> None:
    lives = HookLives(bench.root)

    async def main() -> None:
        bench.upstream.commit({APP: lives.spec("v1")})
        async with bench.running(within_s=WITHIN_S) as running:
            await stable(running, bench, 1)
            bench.upstream.commit({APP: None})
            await running.until(lambda _: lives.has("v1", "ends"))

    asyncio.run(main())
    assert lives.words("v1") == {"blue-1": ["runs", "start", "stop", "ends"]}


def test_next_reconciler_runs_no_hook_again_that_ended(bench: Bench) -> None:
    lives = HookLives(bench.root)

    async def main() -> None:
        bench.upstream.commit({APP: lives.spec("v1")})
        async with bench.running(within_s=WITHIN_S) as running:
            await stable(running, bench, 1)
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(
                lambda s: any(each.name == "shop" and each.ready for each in s.status.items)
            )

    asyncio.run(main())
    assert lives.words("v1") == {"blue-1": ["runs", "start"]}


def test_program_that_is_started_again_has_its_start_hook_run_again(bench: Bench) -> None:
    lives = HookLives(bench.root)

    async def main() -> None:
        bench.upstream.commit({APP: lives.spec("v1", restart={"base_s": 0.05})})
        async with bench.running(within_s=WITHIN_S) as running:
            await running.until(lambda _: lives.has("v1", "start"))
            snapshot = await running.until(
                lambda s: any(each.name == "shop" and each.ready for each in s.status.items)
            )
            pid = next(each.pid for each in snapshot.status.items if each.name == "shop")
            assert pid is not None
            os.kill(pid, 9)
            again = ["runs", "start", "runs", "start"]
            await running.until(lambda _: lives.words("v1")["blue-1"] == again)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["start", "drain", "stop"])
def test_hook_is_run_once_more_after_its_reconciler_was_killed_and_none_is_lost(
    bench: Bench, kind: str
) -> None:
    lives, gate = HookLives(bench.root), bench.root / "gate"
    hooks = lives.hooks(**{kind: lives.waiting(kind, gate)}, timeout_s=60)
    if kind != "start":
        gate.touch()
    with Nursery(bench.root) as nursery:
        bench.upstream.commit({APP: lives.spec("v1", hooks=hooks)})
        life = nursery.begin(bench.config)
        if kind != "start":
            _wait(lambda: "is stable" in nursery.log.read_text())
            gate.unlink()
        bench.upstream.commit({APP: lives.spec("v2" if kind != "start" else "v1", hooks=hooks)})
        _wait(lambda: lives.has("v1", kind))
        nursery.signal(life, signal.SIGKILL)
        life.wait()
        second = nursery.begin(bench.config)
        _wait(lambda: lives.words("v1")["blue-1"].count(kind) == 2)
        gate.touch()
        stable = 1 if kind == "start" else 2
        _wait(lambda: nursery.log.read_text().count("is stable") == stable)
        nursery.signal(second, signal.SIGTERM)
        assert second.wait() == 0
    words = lives.words("v1")["blue-1"]
    whole = WHOLE_LIFE[:2] if kind == "start" else WHOLE_LIFE
    assert [*dict.fromkeys(words)] == whole
    assert {word: words.count(word) for word in whole if word != kind} == dict.fromkeys(
        [word for word in whole if word != kind], 1
    )
    assert words.count(kind) == 2


def _wait(holds: Callable[[], object]) -> None:
    eventually("what was to come", lambda: bool(holds()), WITHIN_S / 2)
