"""What a reconciler owns: only that is removed, much of it with consent, and names may move."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from jails.memory import MemoryRuntime
from jails.spec import JailSpec
from maculaos.host.clock import SystemClock
from reconciler.assembly import load_settings
from reconciler.control import SOCKET_NAME, ask
from reconciler.halt import remove_all
from reconciler.runtimes import open_runtime
from reconciling import REALM, Bench, a_bench, app, node

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN_APP = "version: 1\nname: [echo\n"


def apps(*names: str) -> dict[str, str]:
    made = {f"apps/{name}.yaml": app(name) for name in names}
    return {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701), **made}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1")
        yield bench


def names(bench: Bench) -> list[str]:
    return sorted(bench.runtime.look())


async def asked(bench: Bench, **request: object) -> dict[str, object]:
    return await ask(load_settings(bench.config).run_dir / SOCKET_NAME, request, 20.0)


def test_what_this_reconciler_did_not_make_is_left_alone(bench: Bench) -> None:
    bench.runtime.ensure(JailSpec(name="app-guest", command=("sleep", "9")))

    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("a", "b")))
            await running.applied(bench.upstream.commit({"apps/b.yaml": None}))
            assert names(bench) == ["app-a", "app-guest", "node-n1"]

    asyncio.run(main())


def test_what_went_while_nobody_looked_is_removed_by_the_next_one(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("a", "b")))
        revision = bench.upstream.commit({"apps/b.yaml": None})
        async with bench.running() as running:
            await running.applied(revision)
            assert names(bench) == ["app-a", "node-n1"]

    asyncio.run(main())


def test_many_removals_wait_for_consent_and_the_rest_is_done(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("a", "b", "c", "d")))
            gone = dict.fromkeys(f"apps/{name}.yaml" for name in "abc")
            revision = bench.upstream.commit({**gone, "apps/e.yaml": app("e")})
            snapshot = await running.until(lambda _: "app-e" in bench.runtime.look())
            answer = await asked(bench, do="sync")
            assert answer["outcome"] == "partial"
            (line,) = [str(one) for one in answer["problems"]]  # type: ignore[attr-defined]
            assert "3 items would be removed, too many at once: app a, app b, app c" in line
            assert f"reconciler consent {revision}" in line
            assert names(bench) == ["app-a", "app-b", "app-c", "app-d", "app-e", "node-n1"]
            await asked(bench, do="consent", revision=revision)
            snapshot = await running.applied(revision)
            assert snapshot.status.problems == ()
            assert names(bench) == ["app-d", "app-e", "node-n1"]

    asyncio.run(main())


def test_consent_is_for_one_commit(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("a", "b", "c", "d")))
            gone = dict.fromkeys(f"apps/{name}.yaml" for name in "abc")
            bench.upstream.commit(gone)
            await running.until(lambda s: any("would be removed" in p for p in s.status.problems))
            later = bench.upstream.commit({"README": "more"})
            await asked(bench, do="sync")
            with pytest.raises(Exception, match="consent"):
                await asked(bench, do="consent", revision="0" * 40)
            assert "app-a" in names(bench)
            await asked(bench, do="consent", revision=later)
            await running.applied(later)
            assert names(bench) == ["app-d", "node-n1"]

    asyncio.run(main())


def test_a_broken_app_goes_on_as_it_was_after_a_restart_too(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("echo", "other")))
        before = bench.runtime.look()["app-echo"]
        bench.upstream.commit({"apps/echo.yaml": BROKEN_APP})
        async with bench.running() as running:
            await running.until(lambda s: s.status.fetch.ok_at)
            await asked(bench, do="sync")
            assert bench.runtime.look()["app-echo"] == before
            bench.runtime.remove("app-echo")
            await running.until(lambda _: "app-echo" in bench.runtime.look())
            assert bench.runtime.look()["app-echo"].program_digest == before.program_digest

    asyncio.run(main())


def test_a_renamed_app_takes_what_it_kept_along(bench: Bench) -> None:
    settings = load_settings(bench.config)
    bench.runtime = open_runtime(settings, SystemClock()).runtime
    renamed = {"apps/stale.yaml": None, "apps/fresh.yaml": app("fresh") + "moved_from: stale\n"}

    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(apps("stale", "b")))
            (bench.runtime.data_path("app-stale") / "diary").write_text("day one")
            snapshot = await running.applied(bench.upstream.commit(renamed))
            assert names(bench) == ["app-b", "app-fresh", "node-n1"]
            assert (bench.runtime.data_path("app-fresh") / "diary").read_text() == "day one"
            assert any("was app stale before" in each.text for each in snapshot.activity.events)
            # Done once: what is called stale from now on is another app.
            await running.applied(bench.upstream.commit({"apps/fresh.yaml": app("fresh")}))
            await running.applied(bench.upstream.commit({"apps/stale.yaml": app("stale")}))
            assert not (bench.runtime.data_path("app-stale") / "diary").exists()

    try:
        asyncio.run(main())
    finally:
        asyncio.run(remove_all(bench.runtime, settings.run_dir))


class Slow(MemoryRuntime):
    """Starts apps one at a time, each when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.waiting: list[str] = []

    def ensure(self, spec: JailSpec) -> None:
        if spec.name.startswith("app-") and spec.name not in self.look():
            self.waiting.append(spec.name)
            assert self.gate.acquire(timeout=20)
        super().ensure(spec)


def test_a_newer_commit_overtakes_the_older_one_at_the_border_of_a_step(bench: Bench) -> None:
    slow = Slow()

    async def main() -> None:
        async with bench.running(slow) as running:
            bench.upstream.commit(apps("a", "b", "c"))
            await running.until(lambda _: slow.waiting == ["app-a"])
            newer = bench.upstream.commit({"apps/b.yaml": None, "apps/c.yaml": None})
            await running.until(lambda s: s.status.revisions.tip == newer)
            slow.gate.release(4)
            await running.applied(newer)
            # The steps to b and c were planned, and never begun.
            assert slow.started == ["node-n1", "app-a"]

    asyncio.run(main())
