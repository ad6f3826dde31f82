"""Statuses told to real HTTPS servers by a running reconciler: real Git, jails in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from noticeboard import TOKEN, Board
from reconciling import REALM, TWO_NODES, Bench, Running, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHERE = {
    "github": ("/repos/plant/site/statuses/{}", "authorization"),
    "gitlab": ("/projects/plant%2Fsite/statuses/{}", "private-token"),
    "gitea": ("/repos/plant/site/statuses/{}", "authorization"),
    "generic": ("/", "authorization"),
}
FAILURE = {"gitlab": "failed"}
QUICK = {"timeout_s": 15.0, "backoff_base_s": 0.05, "backoff_max_s": 0.2}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        token = bench.root / "token"
        token.write_text(f"{TOKEN}\n")
        token.chmod(0o600)
        yield bench


@pytest.fixture
def board(bench: Bench) -> Iterator[Board]:
    board = Board(bench.root)
    yield board
    board.close()


def configure(bench: Bench, board: Board, provider: str = "github", **changes: Any) -> None:
    target: dict[str, Any] = {"provider": provider, "url": board.url, "token_file": "token"}
    target["ca_file"] = str(board.ca_file)
    if provider != "generic":
        target["repository"] = "plant/site"
    bench.configure(notify={"statuses": [target], **QUICK, **changes}, machine={"name": "edge-7"})


async def until(running: Running, holds: Callable[[], object]) -> None:
    await running.until(lambda _: holds())


@pytest.mark.parametrize("provider", list(WHERE))
def test_each_provider_is_told_of_success_and_of_failure(
    bench: Bench, board: Board, provider: str
) -> None:
    async def main() -> None:
        configure(bench, board, provider)
        good = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(good)
            await until(running, lambda: board.states(good)[-1:] == ["success"])
            bad = bench.upstream.commit({"realm.yaml": "version: 1\nname: [\n"})
            failed = FAILURE.get(provider, "failure")
            await until(running, lambda: board.states(bad)[-1:] == [failed])
            last = board.posts[-1]
            shown = last.said.get("context") or last.said.get("name")
            assert shown == "macula/edge-7"
            reason = last.said.get("description") or last.said["reason"]
            assert reason.startswith("refused: realm.yaml:")
            path, header = WHERE[provider]
            assert last.path == path.format(bad)
            assert last.headers[header].endswith(TOKEN)
            assert TOKEN not in bench.log.getvalue()

    asyncio.run(main())


def test_host_that_hangs_holds_up_no_pass_and_is_told_when_it_is_back(
    bench: Bench, board: Board
) -> None:
    async def main() -> None:
        configure(bench, board, timeout_s=0.5)
        board.open.clear()
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(first)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            snapshot = await running.applied(second)
            assert snapshot.status.converged
            snapshot = await running.until(lambda s: s.status.untold)
            assert "does not answer within 0.5 s" in snapshot.status.untold[0]
            assert snapshot.status.converged
            assert not snapshot.status.problems
            board.open.set()
            await until(running, lambda: board.states(second)[-1:] == ["success"])
            await running.until(lambda s: not s.status.untold)
            assert bench.log.getvalue().count("cannot_tell") == 1

    asyncio.run(main())


def test_refusals_are_retried_and_told_once(bench: Bench, board: Board) -> None:
    async def main() -> None:
        configure(bench, board)
        board.answers = [(500, b"oops"), (500, b"oops"), (429, b"later")]
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await until(running, lambda: board.states(revision)[-1:] == ["success"])
        assert board.asked >= 4
        assert 1 <= bench.log.getvalue().count("cannot_tell") <= 2

    asyncio.run(main())


def test_commit_that_the_host_does_not_know_holds_up_no_other(bench: Bench, board: Board) -> None:
    async def main() -> None:
        configure(bench, board)
        unknown = b'{"message": "No commit found, ' + TOKEN.encode() + b'"}'
        board.answers = [(422, unknown)] * 10
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await until(running, lambda: board.asked >= 3)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            await running.applied(second)
            board.answers = []
            await until(running, lambda: board.states(second)[-1:] == ["success"])
        assert TOKEN not in bench.log.getvalue()
        assert board.states(first) in ([], ["success"])

    asyncio.run(main())


def test_restart_tells_nothing_twice_and_what_was_missed(bench: Bench, board: Board) -> None:
    async def main() -> None:
        configure(bench, board)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await until(running, lambda: board.states(first)[-1:] == ["success"])
        told = len(board.posts)
        board.answers = [(503, b"")] * 1000
        async with bench.running() as running:
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            await running.applied(second)
            await running.until(lambda s: s.status.untold)
        assert len(board.posts) == told
        board.answers = []
        async with bench.running() as running:
            await until(running, lambda: board.states(second)[-1:] == ["success"])
        assert board.states(second)[-1] == "success"
        assert [one.revision for one in board.posts[told:]] == [second]

    asyncio.run(main())


def test_server_that_nobody_vouches_for_is_told_nothing(bench: Bench, board: Board) -> None:
    async def main() -> None:
        target = {"provider": "generic", "url": board.url}
        bench.configure(notify={"statuses": [target], **QUICK})
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(revision)
            snapshot = await running.until(lambda s: s.status.untold)
            assert "is not trusted" in snapshot.status.untold[0]
        assert board.asked == 0

    asyncio.run(main())


def test_token_that_others_may_read_is_not_sent(bench: Bench, board: Board) -> None:
    async def main() -> None:
        configure(bench, board)
        (bench.root / "token").chmod(0o644)
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(revision)
            snapshot = await running.until(lambda s: s.status.untold)
            assert "others may read it" in snapshot.status.untold[0]
            (bench.root / "token").chmod(0o600)
            await until(running, lambda: board.states(revision)[-1:] == ["success"])

    asyncio.run(main())


def test_rollback_is_told_as_failure_of_what_was_left(bench: Bench, board: Board) -> None:
    async def main() -> None:
        configure(bench, board)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(first)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            await running.applied(second)
            await until(running, lambda: board.states(second)[-1:] == ["success"])
            await running.daemon.answer({"do": "rollback"})
            await until(running, lambda: board.states(second)[-1:] == ["failure"])
            await until(running, lambda: board.states(first)[-1:] == ["success"])

    asyncio.run(main())


def test_partly_applied_commit_is_told_as_failure_and_shown_as_partly(
    bench: Bench, board: Board
) -> None:
    async def main() -> None:
        configure(bench, board)
        broken = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701), "nodes/n2.yaml": "a: [\n"}
        revision = bench.upstream.commit(broken)
        async with bench.running() as running:
            await until(running, lambda: board.states(revision)[-1:] == ["failure"])
            assert "applied in part: nodes/n2.yaml" in board.posts[-1].said["description"]
            snapshot = await running.until(lambda s: s.status.revisions.missing)
            assert snapshot.status.revisions.missing == ("node n2 is broken",)
            assert "partly: node n2 is broken" in snapshot.status.as_text()
        # A restart knows it before it looks.
        async with bench.running() as running:
            assert running.snapshot().status.revisions.missing == ("node n2 is broken",)
            mended = bench.upstream.commit(TWO_NODES)
            await running.applied(mended)
            assert "partly" not in running.snapshot().status.as_text()

    asyncio.run(main())
