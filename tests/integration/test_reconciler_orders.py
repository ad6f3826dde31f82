"""Operators hold the work: suspend, resume, roll back, explain; over real Git and a daemon."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from jails.memory import MemoryRuntime
from jails.spec import JailState
from maculaos.errors import UsageError
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from reconciler.assembly import load_settings, store_of
from reconciler.conditions import Reason, Truth, Word
from reconciler.control import SOCKET_NAME, ask
from reconciler.generations import Outcome
from reconciling import DEADLINE_S, TWO_NODES, Bench, a_bench, app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.spec import JailSpec
    from reconciler.activity import Snapshot
    from reconciler.conditions import Condition
    from reconciler.status import Status


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2")
        yield bench


async def order(bench: Bench, **request: Any) -> dict[str, Any]:
    return await ask(bench.root / "run" / SOCKET_NAME, request, 10.0)


def running(bench: Bench) -> set[str]:
    look = bench.runtime.look()
    return {jail for jail, facts in look.items() if facts.state is JailState.RUNNING}


def condition(status: Status, word: Word) -> Condition:
    return next(one for one in status.conditions if one.word is word)


def test_suspended_applies_nothing_and_tells_drift_over_a_restart(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
            await order(bench, do="suspend", reason="the disk is being changed")
            bench.runtime.stop("app-echo")
            await daemon.until(lambda s: any(item.held for item in s.status.items))
            second = bench.upstream.commit({**TWO_NODES, "apps/more.yaml": app("more")})
            told = await order(bench, do="sync", timeout_s=10)
            assert told["outcome"] == "suspended"
            assert "the disk is being changed" in told["problems"][0]
            assert running(bench) == {"node-n1", "node-n2"}
        async with bench.running() as daemon:
            s = await daemon.until(
                lambda s: (
                    s.status.revisions.tip == second and any(item.held for item in s.status.items)
                )
            )
            assert s.status.suspended is not None
            assert condition(s.status, Word.READY).reason is Reason.SUSPENDED
            echo = next(item for item in s.status.items if item.name == "echo")
            (ready,) = echo.conditions
            assert (ready.status, ready.reason) == (Truth.FALSE, Reason.DRIFTED)
            assert running(bench) == {"node-n1", "node-n2"}
            await order(bench, do="resume")
            await daemon.applied(second)
            assert running(bench) == {"node-n1", "node-n2", "app-echo", "app-more"}

    asyncio.run(main())


class Held(MemoryRuntime):
    """The first start waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_end = threading.Event(), threading.Event()

    def ensure(self, spec: JailSpec) -> None:
        self.began.set()
        assert self.may_end.wait(DEADLINE_S)
        super().ensure(spec)


@pytest.mark.parametrize("do", ["suspend", "rollback"])
def test_an_order_takes_effect_at_the_next_border_of_a_step(bench: Bench, do: str) -> None:
    good = bench.upstream.commit(TWO_NODES)
    bench.runtime = held = Held()
    held.may_end.set()

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(good)
            held.began.clear()
            held.may_end.clear()
            bench.upstream.commit({f"apps/{name}.yaml": app(name) for name in ("a", "b", "c")})
            await asyncio.to_thread(held.began.wait, DEADLINE_S)
            await order(bench, do=do)
            held.may_end.set()
            await order(bench, do="sync", timeout_s=10)
            extra = running(bench) - {"node-n1", "node-n2", "app-echo"}
            assert extra == ({"app-a"} if do == "suspend" else set())
            assert "start app b" not in bench.log.getvalue()

    asyncio.run(main())


def test_a_suspension_ends_by_itself(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
            until = daemon.snapshot().status.at + 0.5
            await order(bench, do="suspend", until=until)
            second = bench.upstream.commit({"apps/more.yaml": app("more")})
            s = await daemon.applied(second)
            assert s.status.suspended is None
            assert s.status.at >= until

    asyncio.run(main())


def test_a_rollback_stays_over_a_restart_and_the_bad_commit_is_not_tried_again(
    bench: Bench,
) -> None:
    good = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(good)
            bad = bench.upstream.commit({"apps/more.yaml": app("more")})
            await daemon.applied(bad)
            assert (await order(bench, do="rollback"))["revision"] == good
            told = await order(bench, do="sync", timeout_s=10)
            assert (told["outcome"], told["revision"]) == ("rolled back", good)
            assert "app-more" not in running(bench)
        async with bench.running() as daemon:
            s = await daemon.until(lambda s: s.status.revisions.tip == bad)
            assert s.status.pinned == good
            assert not s.status.ready
            await order(bench, do="resume")
            told = await order(bench, do="sync", timeout_s=10)
            assert told["outcome"] == "rolled back"
            assert "app-more" not in running(bench)
            assert condition(daemon.snapshot().status, Word.STALLED).reason is Reason.ROLLED_BACK
            mended = bench.upstream.commit({"apps/other.yaml": app("other")})
            s = await daemon.applied(mended)
            assert s.status.pinned is None
            assert "app-other" in running(bench)

    asyncio.run(main())
    history = store_of(load_settings(bench.config)).history()
    assert [one.outcome for one in history] == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        Outcome.ROLLED_BACK,
        Outcome.APPLIED,
    ]


def test_forgiving_takes_the_bad_commit_again(bench: Bench) -> None:
    good = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(good)
            bad = bench.upstream.commit({"apps/more.yaml": app("more")})
            await daemon.applied(bad)
            await order(bench, do="rollback", revision=good[:8])
            await order(bench, do="resume", forgives=True)
            await daemon.applied(bad)

    asyncio.run(main())


def test_a_rollback_goes_only_where_it_was_before(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
            for named in (None, "f" * 40, first):
                with pytest.raises(UsageError):
                    await order(bench, do="rollback", revision=named)
            assert daemon.snapshot().status.pinned is None

    asyncio.run(main())


def test_conditions_keep_their_time_over_a_restart(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
        before = {item.key: item.conditions for item in stored(bench).status.items}
        async with bench.running() as daemon:
            await daemon.applied(first)
        after = {item.key: item.conditions for item in stored(bench).status.items}
        assert after["app/echo"] == before["app/echo"]
        assert after["app/echo"][0].since > 0
        assert after["app/echo"][0].generation == stored(bench).status.items[-1].generation

    asyncio.run(main())


def stored(bench: Bench) -> Snapshot:
    found = store_of(load_settings(bench.config)).snapshot()
    assert found is not None
    return found


def test_explain_names_commit_file_and_what_happened(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
            told = await order(bench, do="explain", item="echo")
            assert told["item"] == "app/echo"
            assert told["reason"] == "Healthy"
            assert told["origin"]["revision"] == first
            assert told["origin"]["file"] == "apps/echo.yaml"
            assert any(event["name"] == "start" for event in told["events"])
            with pytest.raises(UsageError, match="app/echo"):
                await order(bench, do="explain", item="ecko")

    asyncio.run(main())


def test_events_and_metrics_are_on_disk_and_survive(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def main() -> None:
        for _ in range(2):
            async with bench.running() as daemon:
                await daemon.until(lambda s: s.status.fetch.ok_at and s.status.converged)

    asyncio.run(main())
    store = store_of(load_settings(bench.config))
    counts = {event.name: event.count for event in store.events()}
    assert counts["started"] == 2
    assert {"fetched", "commit_accepted", "start"} <= counts.keys()
    assert f'applied="{first}"' in store.metrics()
    assert 'macula_reconciler_fetches_total{outcome="success"}' in store.metrics()
    assert json.loads((bench.root / "state/status.json").read_text())["conditions"]


def command(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reconciler.cli", *words],
        env={**os.environ, "RECONCILER_CONFIG": str(bench.config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_orders_hold_where_none_runs(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)

    async def reach(revision: str) -> None:
        async with bench.running() as daemon:
            await daemon.applied(revision)

    asyncio.run(reach(first))
    asyncio.run(reach(bench.upstream.commit({"apps/more.yaml": app("more")})))
    done = command(bench, "rollback")
    assert (done.returncode, done.stdout) == (0, f"rolled back {first[:10]}\n")
    assert command(bench, "suspend", "--until", "1h", "--reason", "why").returncode == 0
    progress = store_of(load_settings(bench.config)).progress()
    assert progress.pinned == first
    assert progress.suspended is not None
    assert progress.suspended.reason == "why"
    assert command(bench, "resume").returncode == 0
    assert not store_of(load_settings(bench.config)).progress().is_held
    assert command(bench, "suspend", "--until", "yesterday").returncode == 2
    assert "app/echo" in command(bench, "explain", "ecko").stderr


def test_doctor_judges_a_real_machine(bench: Bench) -> None:
    bench.upstream.commit(TWO_NODES)
    now, folder = time.time(), bench.root
    (folder / "credentials").rename(folder / "pretended")
    create_realm(folder / "realm", "demo", now=now, entropy=SystemEntropy())
    request = Request(name="n1")
    issue(folder / "realm", folder / "credentials", request, now=now, entropy=SystemEntropy())

    async def examined() -> dict[str, str]:
        async with bench.running() as daemon:
            await daemon.until(lambda s: s.status.fetch.ok_at and s.status.reconciled_at)
            done = await asyncio.to_thread(command, bench, "doctor", "--json")
        said = json.loads(done.stdout)
        assert done.returncode == (0 if said["well"] else 1)
        return {one["check"]: one["verdict"] for one in said["checks"]}

    verdicts = asyncio.run(examined())
    for check in ("settings", "git", "runtime", "reconciler", "progress", "credentials n1"):
        assert verdicts[check] == "ok"
    assert verdicts[f"remote {bench.upstream.path}"] == "ok"
    (folder / "credentials/n1/node.key").chmod(0o644)
    bench.upstream.path.rename(folder / "gone")
    done = command(bench, "doctor", "--json")
    assert done.returncode == 1
    failed = {c["check"] for c in json.loads(done.stdout)["checks"] if c["verdict"] == "fail"}
    assert failed == {"credentials n1", f"remote {bench.upstream.path}"}


def test_what_an_app_writes_is_in_no_file_that_others_read(bench: Bench) -> None:
    first = bench.upstream.commit(TWO_NODES)
    bench.runtime = Talking()

    async def main() -> None:
        async with bench.running() as daemon:
            await daemon.applied(first)
            told = await order(bench, do="explain", item="echo")
            assert told["words"] == ["my password is hunter2"]

    asyncio.run(main())
    for name in ("status.json", "events.jsonl", "history.jsonl", "metrics.prom", "state.json"):
        assert "hunter2" not in (bench.root / "state" / name).read_text()
    assert "hunter2" not in bench.log.getvalue()


class Talking(MemoryRuntime):
    """Its programs say what they should not."""

    def logs(self, name: str, lines: int) -> list[str]:
        return ["my password is hunter2"][:lines] if name == "app-echo" else []
