"""Git notes pushed by a running reconciler: real Git over https, over ssh and from a folder."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gitservers import HttpsGit, SshGit, needs_backend, needs_sshd
from reconciler.notices.gitnotes import Annotator
from reconciler.notices.ledger import NotTold
from reconciler.notices.notice import Notice, State
from reconciler.sources.remotes import Remote
from reconciling import TWO_NODES, Bench, a_bench, node
from signing import SshKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "a-token-of-this-test"  # noqa: S105
REF = "refs/notes/reconciler/{}"
QUICK = {"timeout_s": 20, "backoff_base_s": 0.05, "backoff_max_s": 0.2}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def configure(bench: Bench, machine: str = "edge-7", **repository: Any) -> None:
    bench.configure(
        repository={"url": str(bench.upstream.path), **repository},
        notify={"notes": True, **QUICK},
        machine={"name": machine},
    )


def note(bench: Bench, revision: str, machine: str = "edge-7") -> dict[str, Any]:
    """What Git itself shows of the note; nothing for none."""
    try:
        words = ("notes", "--ref", REF.format(machine), "show", revision)
        said = bench.upstream.git(*words, cwd=bench.upstream.path)
    except Exception:  # noqa: BLE001  # there is none yet
        return {}
    return dict(json.loads(said))


async def noted(bench: Bench, revision: str) -> dict[str, Any]:
    while True:
        if found := await asyncio.to_thread(note, bench, revision):
            return found
        await asyncio.sleep(0.1)


def test_every_outcome_is_a_note_of_its_commit(bench: Bench) -> None:
    async def main() -> None:
        configure(bench)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await running.applied(first)
            said = await noted(bench, first)
            assert (said["attempted"], said["applied"]) == (first, first)
            assert (said["result"], said["machine"]) == ("applied", "edge-7")
            assert said["duration_s"] >= 0
            bad = bench.upstream.commit({"realm.yaml": "version: 1\nname: [\n"})
            said = await noted(bench, bad)
            assert (said["result"], said["applied"]) == ("refused", first)
            assert said["reason"].startswith("refused: realm.yaml:")
            # The branch is as it was: nothing but the notes was pushed.
            assert bench.upstream.git("rev-parse", "main", cwd=bench.upstream.path) == bad

    asyncio.run(main())


def test_notes_go_on_after_all_state_was_lost(bench: Bench) -> None:
    async def main() -> None:
        configure(bench)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running():
            await noted(bench, first)
        words = ("mv", str(bench.root / "state"), str(bench.root / "lost"))
        await (await asyncio.create_subprocess_exec(*words)).wait()
        second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
        async with bench.running():
            await noted(bench, second)
        assert note(bench, first)["result"] == "applied"

    asyncio.run(main())


@needs_backend
def test_notes_go_over_https_with_the_token_of_the_fetch(bench: Bench) -> None:
    async def main() -> None:
        server = HttpsGit(bench.root, TOKEN)
        try:
            (bench.root / "token").write_text(TOKEN)
            (bench.root / "token").chmod(0o600)
            access = {"token_file": "token", "ca_file": str(server.ca_file)}
            url = server.url(bench.upstream.path)
            configure(bench, url=url, access=access)
            revision = bench.upstream.commit(TWO_NODES)
            async with bench.running() as running:
                await running.applied(revision)
                # Nobody may push yet: told once, and no problem of the work.
                snapshot = await running.until(lambda s: s.status.untold)
                assert "does not take notes" in snapshot.status.untold[0]
                assert snapshot.status.converged
                assert not snapshot.status.problems
                words = ("config", "http.receivepack", "true")
                bench.upstream.git(*words, cwd=bench.upstream.path)
                assert (await noted(bench, revision))["result"] == "applied"
                await running.until(lambda s: not s.status.untold)
            assert bench.log.getvalue().count("cannot_tell") == 1
            assert TOKEN not in bench.log.getvalue()
        finally:
            await asyncio.to_thread(server.close)

    asyncio.run(main())


@needs_sshd
def test_notes_go_over_ssh_with_the_key_of_the_fetch(bench: Bench) -> None:
    async def main() -> None:
        key = SshKey(bench.root, "reader")
        server = SshGit(bench.root, key)
        try:
            (bench.root / "known").write_text(server.known_host())
            access = {"ssh_key_file": str(key.path), "known_hosts_file": "known"}
            configure(bench, url=server.url(bench.upstream.path), access=access)
            revision = bench.upstream.commit(TWO_NODES)
            async with bench.running():
                assert (await noted(bench, revision))["result"] == "applied"
        finally:
            server.close()

    asyncio.run(main())


def _notice(revision: str, number: int) -> Notice:
    return Notice(
        revision=revision,
        state=State.SUCCESS,
        text=f"applied, {number}",
        result="applied",
        attempted_at=float(number),
        finished_at=float(number + 1),
    )


def _annotator(bench: Bench, folder: Path, machine: str) -> Annotator:
    remote = Remote("origin", str(bench.upstream.path))
    return Annotator(remote, folder, machine, 30.0)


def test_machines_that_push_at_once_never_clash(bench: Bench) -> None:
    async def main() -> None:
        revision = bench.upstream.commit(TWO_NODES)
        machines = [f"edge-{number}" for number in range(4)]
        for name in machines:
            (bench.root / name).mkdir(mode=0o700)
        ways = [_annotator(bench, bench.root / name, name) for name in machines]
        for number in range(2):
            await asyncio.gather(*(way.tell(_notice(revision, number)) for way in ways))
        assert {note(bench, revision, name)["reason"] for name in machines} == {"applied, 1"}

    asyncio.run(main())


def test_two_of_one_name_both_get_through(bench: Bench) -> None:
    async def main() -> None:
        first = bench.upstream.commit(TWO_NODES)
        second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
        for name in ("one", "two"):
            (bench.root / name).mkdir(mode=0o700)
        one, two = (_annotator(bench, bench.root / name, "edge-7") for name in ("one", "two"))
        await one.tell(_notice(first, 1))
        await two.tell(_notice(second, 2))
        await one.tell(_notice(first, 3))
        assert note(bench, first)["reason"] == "applied, 3"
        assert note(bench, second)["reason"] == "applied, 2"

    asyncio.run(main())


def test_enquiry_pushes_nothing_and_finds_a_refusal(bench: Bench) -> None:
    async def main() -> None:
        bench.upstream.commit(TWO_NODES)
        (bench.root / "state").mkdir(mode=0o700)
        way = _annotator(bench, bench.root / "state", "edge-7")
        await way.enquire()
        refs = bench.upstream.git("for-each-ref", "refs/notes", cwd=bench.upstream.path)
        assert not refs
        bench.upstream.hide()
        with pytest.raises(NotTold, match="does not take notes"):
            await way.enquire()
        bench.upstream.show()

    asyncio.run(main())
