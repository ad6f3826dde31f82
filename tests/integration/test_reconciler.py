"""The reconciler at work: real Git repositories, jails in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from jails.memory import MemoryRuntime
from jails.runtime import JailError
from jails.spec import JailState
from reconciler.assembly import load_settings, store_of
from reconciler.control import SOCKET_NAME, ask
from reconciler.generations import Progress
from reconciler.status import Status
from reconciling import BROKEN, REALM, TWO_NODES, Bench, Running, a_bench, app, node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jails.spec import JailFacts

JAILS = ["app-echo", "node-n1", "node-n2"]
HISTORY = "state/history.jsonl"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def names(bench: Bench) -> list[str]:
    return sorted(bench.runtime.look())


def test_push_converges_and_the_next_push_too(bench: Bench) -> None:
    async def main() -> None:
        first = bench.upstream.commit(TWO_NODES, "Two nodes")
        async with bench.running() as running:
            snapshot = await running.applied(first)
            assert names(bench) == JAILS
            assert snapshot.activity.subject == "Two nodes"
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            await running.applied(second)
            assert names(bench) == [*JAILS, "node-n3"]

    asyncio.run(main())


def test_what_leaves_the_repository_leaves_the_machine(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.until(lambda s: s.status.converged)
            await running.applied(bench.upstream.commit({"nodes/n2.yaml": None}))
            assert names(bench) == ["app-echo", "node-n1"]

    asyncio.run(main())


def test_broken_commit_is_refused_and_everything_keeps_running(bench: Bench) -> None:
    async def main() -> None:
        good = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(good)
            started = list(bench.runtime.started)
            bad = bench.upstream.commit({"realm.yaml": BROKEN})
            snapshot = await running.until(lambda s: s.status.revisions.refused == bad)
            assert any(p.startswith("realm.yaml:3:6: ") for p in snapshot.status.problems)
            assert snapshot.status.revisions.applied == good
            assert not snapshot.status.ready
            wanted = bench.runtime.look()["node-n1"].files_digest
            bench.runtime.tamper("node-n1", "node.yaml", b"not ours")
            await running.until(
                lambda _: (
                    bench.runtime.look()["node-n1"].files_digest == wanted
                    and bench.runtime.started == [*started, "node-n1"]
                )
            )
            fixed = bench.upstream.commit({"realm.yaml": REALM, "nodes/n2.yaml": node("n2", 4712)})
            snapshot = await running.applied(fixed)
            assert snapshot.status.problems == ()
            said = [json.loads(line) for line in (bench.root / HISTORY).read_text().splitlines()]
            outcomes = [(one["revision"], one["outcome"]) for one in said]
            assert outcomes == [(good, "applied"), (bad, "refused"), (fixed, "applied")]
            assert all(one["subject"] for one in said)

    asyncio.run(main())


def test_refusal_is_remembered_over_a_restart(bench: Bench) -> None:
    async def main() -> None:
        bad = bench.upstream.commit({**TWO_NODES, "realm.yaml": BROKEN})
        for _ in range(2):
            async with bench.running() as running:
                snapshot = await running.until(lambda s: s.status.revisions.tip == bad)
                snapshot = await running.until(lambda s: s.status.revisions.refused == bad)
                assert any("realm.yaml:3:6: " in p for p in snapshot.status.problems)
        assert names(bench) == []

    asyncio.run(main())


def test_symbolic_link_among_the_specs_breaks_its_own_item(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        (bench.upstream.work / "nodes/n3.yaml").symlink_to("/etc/passwd")
        revision = bench.upstream.record()
        async with bench.running() as running:
            snapshot = await running.applied(revision)
            assert "nodes/n3.yaml:1:1: it is a symbolic link" in snapshot.status.problems[0]
            assert names(bench) == ["app-echo", "node-n1", "node-n2"]

    asyncio.run(main())


def test_broken_item_stays_as_it_is_and_the_rest_is_applied(bench: Bench) -> None:
    async def main() -> None:
        good = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(good)
            before = bench.runtime.look()
            changes = {
                "apps/echo.yaml": "version: 1\nname: echo\nnode: n1\ncomand: [x]\n",
                "apps/more.yaml": app("more"),
                "apps/never.yaml": BROKEN,
                "nodes/n2.yaml": None,
            }
            snapshot = await running.applied(bench.upstream.commit(changes))
            assert names(bench) == ["app-echo", "app-more", "node-n1"]
            after = bench.runtime.look()
            assert after["app-echo"].program_digest == before["app-echo"].program_digest
            items = {f"{item.kind}/{item.name}": item for item in snapshot.status.items}
            assert items["app/echo"].state == "running"
            assert items["app/never"].state == "broken"
            for key, where in (("app/echo", "apps/echo.yaml:"), ("app/never", "apps/never.yaml:")):
                assert items[key].stalled
                assert items[key].reason.startswith(where)
            assert not items["app/more"].stalled
            assert not snapshot.status.ready
            said = [json.loads(line) for line in (bench.root / HISTORY).read_text().splitlines()]
            assert [one["outcome"] for one in said] == ["applied", "partial"]
            await running.applied(bench.upstream.commit({**TWO_NODES, "apps/never.yaml": None}))
            assert running.snapshot().status.problems == ()

    asyncio.run(main())


def test_unreachable_repository_leaves_the_machine_repaired(bench: Bench) -> None:
    async def main() -> None:
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(revision)
            bench.upstream.hide()
            snapshot = await running.until(lambda s: s.status.fetch.error)
            assert "there is no repository" in snapshot.status.fetch.error
            bench.runtime.remove("node-n1")
            await running.until(lambda _: "node-n1" in bench.runtime.look())
            bench.upstream.show()
            snapshot = await running.until(lambda s: not s.status.fetch.error)
            assert snapshot.status.revisions.applied == revision

    asyncio.run(main())


def test_empty_repository_is_said_and_the_first_commit_is_taken(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            snapshot = await running.until(lambda s: s.status.fetch.error)
            assert "the repository is empty; push a commit to main" in snapshot.status.fetch.error
            await running.applied(bench.upstream.commit(TWO_NODES))

    asyncio.run(main())


def test_repository_that_becomes_empty_removes_nothing(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            bench.upstream.empty()
            await running.until(lambda s: "is empty" in s.status.fetch.error)
            bench.runtime.stop("node-n1")
            await running.until(
                lambda _: bench.runtime.look()["node-n1"].state is JailState.RUNNING
            )
            assert names(bench) == JAILS

    asyncio.run(main())


def test_rewritten_history_is_followed_and_said_where_that_is_wanted(bench: Bench) -> None:
    bench.configure(trust={"history": "follow"})

    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.until(lambda s: s.status.converged)
            files = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)}
            snapshot = await running.applied(bench.upstream.rewrite(files))
            assert "the history of main was rewritten" in snapshot.activity.notice
            assert names(bench) == ["node-n1"]

    asyncio.run(main())


@pytest.mark.parametrize("harm", ["crash", "orphan", "remove", "stop"])
def test_drift_is_repaired_without_a_commit(bench: Bench, harm: str) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            getattr(bench.runtime, harm)("node-n2")
            if harm == "crash":
                bench.runtime.restart("node-n2")  # its supervisor's business
            await running.until(lambda _: runs(bench, "node-n2"))

    asyncio.run(main())


def runs(bench: Bench, jail: str) -> bool:
    facts = bench.runtime.look().get(jail)
    return facts is not None and facts.state is JailState.RUNNING


def test_failing_step_stops_no_other_and_is_tried_again(bench: Bench) -> None:
    async def main() -> None:
        bench.runtime.fail_next_ensure("node-n1", "its port is taken")
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            assert names(bench) == JAILS
        history = (bench.root / HISTORY).read_text()
        assert "its port is taken" in history
        assert json.loads(history)["outcome"] == "applied"

    asyncio.run(main())


def test_node_without_credentials_is_blocked_alone(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit({**TWO_NODES, "nodes/n4.yaml": node("n4", 4704)})
        async with bench.running() as running:
            snapshot = await running.until(lambda s: len(s.status.items) == 4 and s.status.problems)
            assert "macula realm issue n4" in snapshot.status.problems[0]
            assert not snapshot.status.converged
            await running.until(lambda _: names(bench) == JAILS)
            bench.pretend_credentials("n4")
            await running.until(lambda s: s.status.converged)
            assert "node-n4" in names(bench)

    asyncio.run(main())


def test_node_that_cannot_be_told_of_its_renewed_certificate_is_restarted_alone(
    bench: Bench,
) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            (bench.root / "credentials/n1/node.crt").write_text("renewed")
            await running.until(lambda _: bench.runtime.ended)
            await running.until(lambda s: s.status.converged)
            assert bench.runtime.ended == ["node-n1"]

    asyncio.run(main())


class BlindRuntime(MemoryRuntime):
    """A runtime that cannot look while it is blind."""

    is_blind = False
    looks = 0

    def look(self) -> Mapping[str, JailFacts]:
        self.looks += 1
        if self.is_blind:
            raise JailError("all", "the disk is full")
        return super().look()


def test_machine_that_cannot_be_looked_at_is_a_problem_told_once(bench: Bench) -> None:
    async def main() -> None:
        runtime = BlindRuntime()
        async with bench.running(runtime) as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            runtime.is_blind = True
            await running.until(lambda s: "all: the disk is full" in s.status.problems)
            before = runtime.looks
            await running.until(lambda _: runtime.looks > before + 20)
            assert bench.log.getvalue().count("cannot_look") <= 2
            runtime.is_blind = False
            await running.until(lambda s: s.status.ready or not s.status.problems)

    asyncio.run(main())


def test_next_reconciler_adopts_what_runs(bench: Bench) -> None:
    async def main() -> None:
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(revision)
        started = list(bench.runtime.started)
        async with bench.running() as running:
            await running.until(lambda s: s.status.converged and s.status.revisions.tip)
        assert bench.runtime.started == started
        assert bench.runtime.ended == []

    asyncio.run(main())


def test_after_a_restart_the_goal_is_repaired_though_git_is_gone(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
        bench.upstream.hide()
        bench.runtime.remove("node-n1")
        async with bench.running() as running:
            await running.until(lambda s: s.status.converged)
            assert names(bench) == JAILS

    asyncio.run(main())


def test_silent_git_server_keeps_nothing_from_repair_or_stop(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            bench.configure(repository={"url": f"https://127.0.0.1:{port}/x"}, drift_interval_s=0.1)
            bench.runtime.remove("node-n1")
            async with bench.running() as running:
                await running.until(lambda _: names(bench) == JAILS)
                bench.runtime.remove("node-n2")
                await running.until(lambda _: names(bench) == JAILS)
                begun = time.monotonic()
            assert time.monotonic() - begun < 10

    asyncio.run(main())


@pytest.mark.parametrize("is_reachable", [True, False])
def test_goal_that_no_longer_compiles_is_refused_and_left_running(
    bench: Bench, is_reachable: bool
) -> None:
    async def main() -> None:
        bad = bench.upstream.commit({**TWO_NODES, "realm.yaml": BROKEN})
        async with bench.running() as running:
            await running.until(lambda s: s.status.revisions.refused == bad)
        # As if an older version of this program had accepted and applied it.
        store_of(load_settings(bench.config)).save_progress(
            Progress(last_accepted=bad, last_applied=bad)
        )
        (bench.root / HISTORY).unlink()
        if not is_reachable:
            bench.upstream.hide()
        async with bench.running() as running:
            snapshot = await running.until(lambda s: s.status.revisions.refused == bad)
            assert snapshot.status.problems[0].startswith("realm.yaml:3:6: ")
            if is_reachable:
                await running.applied(bench.upstream.commit(TWO_NODES))
        assert bench.log.getvalue().count("commit_refused") == 2
        assert "cannot_look" not in bench.log.getvalue()

    asyncio.run(main())


def test_events_are_sentences_that_name_nodes_and_apps(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            first = bench.upstream.commit(TWO_NODES, "Two nodes")
            await running.applied(first)
            bad = bench.upstream.commit({"realm.yaml": BROKEN})
            await running.until(lambda s: s.status.revisions.refused == bad)
            bench.runtime.crash("app-echo")
            bench.runtime.restart("app-echo")
            await running.until(lambda _: "app echo was restarted" in said(running))
            for sentence in (
                f"fetched {first[:10]}: Two nodes\n",
                f"accepted {first[:10]}\n",
                "start node n1: is not there yet (",
                f"refused {bad[:10]}: 1 problem\n",
            ):
                assert sentence in said(running)
            assert "node-n" not in said(running)

    asyncio.run(main())


def said(running: Running) -> str:
    return "".join(f"{event.text}\n" for event in running.snapshot().activity.events)


def test_clone_damaged_at_rest_is_cloned_again(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
        for file in (bench.root / "state/repository.git/objects").rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                file.write_bytes(b"garbage")
        async with bench.running() as running:
            await running.applied(bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)}))
            assert "node-n3" in names(bench)
        assert "cloning" in bench.log.getvalue()

    asyncio.run(main())


def test_sync_waits_for_the_outcome(bench: Bench) -> None:
    async def main() -> None:
        bench.configure(poll={"interval_s": 3600.0})
        bench.upstream.commit(TWO_NODES)
        path = bench.root / "run" / SOCKET_NAME
        async with bench.running() as running:
            await running.until(lambda s: s.status.converged)
            for files, outcome in (
                ({"nodes/n3.yaml": node("n3", 4703)}, "applied"),
                ({"realm.yaml": BROKEN}, "refused"),
                ({"realm.yaml": REALM}, "applied"),
                ({"nodes/n2.yaml": BROKEN}, "partial"),
                ({"nodes/n2.yaml": node("n2", 4702)}, "applied"),
                ({"nodes/n4.yml": node("n4", 4704)}, "partial"),
                ({"nodes/n4.yml": None}, "applied"),
            ):
                revision = bench.upstream.commit(files)
                answer = await ask(path, {"do": "sync", "timeout_s": 10}, 10)
                assert (answer["outcome"], answer["revision"]) == (outcome, revision)
            bench.upstream.hide()
            answer = await ask(path, {"do": "sync", "timeout_s": 10}, 10)
            assert answer["outcome"] == "unreachable"

    asyncio.run(main())


def test_status_file_is_the_status_and_holds_no_content(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
        said = json.loads((bench.root / "state/status.json").read_text())
        said.pop("activity")
        assert Status.from_json(said).converged
        assert (bench.root / "state/status.json").stat().st_mode & 0o777 == 0o644
        assert (bench.root / "state/state.json").stat().st_mode & 0o777 == 0o600

    asyncio.run(main())
