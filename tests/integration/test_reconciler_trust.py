"""What the reconciler does not follow: rewritten histories, and commits that nobody signed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from maculaos.errors import UsageError
from reconciler.assembly import load_settings, store_of
from reconciler.cli import app_for
from reconciler.control import SOCKET_NAME, ask
from reconciler.generations import Outcome
from reconciler.sources.trust import Untrusted
from reconciling import REALM, TWO_NODES, Bench, a_bench, node
from signing import SshKey, needs_ssh_keygen, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.activity import Snapshot

ONE_NODE = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701)}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2")
        yield bench


def names(bench: Bench) -> list[str]:
    return sorted(bench.runtime.look())


def refused(snapshot: Snapshot, revision: str, why: str) -> bool:
    revisions = snapshot.status.revisions
    return (revisions.refused, revisions.refused_for) == (revision, why)


def test_rewritten_history_waits_for_the_consent_to_that_very_commit(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            applied = bench.upstream.commit(TWO_NODES)
            await running.applied(applied)
            tip = bench.upstream.rewrite(ONE_NODE)
            snapshot = await running.until(lambda s: refused(s, tip, "history"))
            assert snapshot.status.revisions.applied == applied
            assert snapshot.status.revisions.attempted == tip
            assert f"reconciler consent {tip}" in snapshot.status.problems[-1]
            reasons = {claim.reason for claim in snapshot.status.claims()}
            assert "Untrusted" in reasons
            # What runs goes on being repaired.
            bench.runtime.remove("node-n2")
            await running.until(lambda _: "node-n2" in names(bench))
            socket = load_settings(bench.config).run_dir / SOCKET_NAME
            with pytest.raises(UsageError, match=f"the one that does: {tip}"):
                await ask(socket, {"do": "consent", "revision": applied})
            await ask(socket, {"do": "consent", "revision": tip})
            await running.applied(tip)
            assert names(bench) == ["node-n1"]
            progress = store_of(load_settings(bench.config)).progress()
            assert (progress.anchor, progress.consented) == (tip, None)
            with pytest.raises(UsageError, match="no commit waits"):
                await ask(socket, {"do": "consent", "revision": tip})

    asyncio.run(main())


def test_refusal_survives_a_restart_and_a_lost_clone(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            applied = bench.upstream.commit(TWO_NODES)
            await running.applied(applied)
        tip = bench.upstream.rewrite(ONE_NODE)
        clone = bench.root / "state/repository.git"
        clone.rename(bench.root / "lost.git")
        async with bench.running() as running:
            snapshot = await running.until(lambda s: refused(s, tip, "history"))
            assert snapshot.status.revisions.applied == applied
        history = store_of(load_settings(bench.config)).history()
        assert (history[-1].revision, history[-1].outcome) == (tip, Outcome.REFUSED)

    asyncio.run(main())


def test_branch_that_comes_back_needs_no_consent(bench: Bench) -> None:
    async def main() -> None:
        async with bench.running() as running:
            old = bench.upstream.commit(ONE_NODE)
            applied = bench.upstream.commit(TWO_NODES)
            await running.applied(applied)
            work = bench.upstream.work
            bench.upstream.git("reset", "--quiet", "--hard", old, cwd=work)
            bench.upstream.push()
            await running.until(lambda s: refused(s, old, "history"))
            bench.upstream.git("reset", "--quiet", "--hard", applied, cwd=work)
            bench.upstream.push()
            snapshot = await running.applied(applied)
            await running.until(lambda s: s.status.revisions.refused is None)
            assert snapshot.status.realm == "demo"

    asyncio.run(main())


def test_consent_without_a_running_reconciler_is_kept_for_it(bench: Bench) -> None:
    tips: list[str] = []

    async def main() -> None:
        async with bench.running() as running:
            await running.applied(bench.upstream.commit(TWO_NODES))
            tips.append(bench.upstream.rewrite(ONE_NODE))
            await running.until(lambda s: refused(s, tips[0], "history"))

    async def again() -> None:
        async with bench.running() as running:
            await running.applied(tips[0])

    asyncio.run(main())
    words = ["--config", str(bench.config)]
    assert CliRunner().invoke(app_for(["consent"]), ["consent", "1" * 40, *words]).exit_code != 0
    done = CliRunner().invoke(app_for(["consent"]), ["consent", tips[0], *words])
    assert done.exit_code == 0, done.output
    asyncio.run(again())


@needs_ssh_keygen
def test_unsigned_commit_is_refused_until_its_signer_is_allowed(bench: Bench) -> None:
    ann, bob = SshKey(bench.root, "ann"), SshKey(bench.root, "bob")
    signers = bench.root / "allowed_signers"
    signers.write_text(ann.allowed())
    bench.configure(trust={"allowed_signers": "allowed_signers"})

    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            first = sign(bench.upstream, ann)
            await running.applied(first)
            tip = sign(bench.upstream, bob)
            snapshot = await running.until(lambda s: refused(s, tip, "signatures"))
            assert snapshot.status.revisions.applied == first
            assert "signed by a key that is not on the list" in snapshot.status.problems[0]
            signers.write_text(ann.allowed() + bob.allowed())
            socket = load_settings(bench.config).run_dir / SOCKET_NAME
            answer = await ask(socket, {"do": "sync", "timeout_s": 20}, 20)
            assert answer["outcome"] == "applied"
            await running.applied(tip)

    asyncio.run(main())


@needs_ssh_keygen
def test_plan_is_refused_for_a_commit_that_would_be(bench: Bench) -> None:
    ann = SshKey(bench.root, "ann")
    (bench.root / "allowed_signers").write_text(ann.allowed())
    bench.configure(trust={"allowed_signers": "allowed_signers"})
    bench.upstream.commit(TWO_NODES)
    words = ["plan", "--json", "--config", str(bench.config)]
    done = CliRunner().invoke(app_for(words), words)
    assert isinstance(done.exception, Untrusted)
    revision = sign(bench.upstream, ann)
    done = CliRunner().invoke(app_for(words), words)
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["revision"] == revision


@needs_ssh_keygen
def test_check_says_what_is_wrong_with_the_lists(bench: Bench) -> None:
    bench.configure(trust={"allowed_signers": "gone"})
    bench.upstream.commit(TWO_NODES)
    words = ["check", str(bench.upstream.work), "--config", str(bench.config)]
    done = CliRunner().invoke(app_for(words), words)
    assert "allowed_signers" in str(done.exception)


def test_unreachable_fallback_shows_in_the_status(bench: Bench) -> None:
    gone = bench.root / "gone.git"
    repository = {"url": str(bench.upstream.path), "fallbacks": [{"url": str(gone)}]}
    bench.configure(repository=repository)

    async def main() -> None:
        async with bench.running() as running:
            revision = bench.upstream.commit(TWO_NODES)
            snapshot = await running.applied(revision)
            first, second = snapshot.status.fetch.remotes
            assert (first.head, first.error) == (revision, "")
            assert "there is no repository" in second.error
            assert second.retry_at is not None
            assert snapshot.status.fetch.error == ""
            assert "there is no repository" in snapshot.status.as_text()

    asyncio.run(main())
