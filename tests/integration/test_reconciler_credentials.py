"""Credentials of real nodes under a reconciler: renewed, revoked and replaced while they run."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

import jailyard
import namespaceyard
from maculaos.cli import realm as realm_verbs
from maculaos.client import connect
from maculaos.errors import MaculaError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue, realm_files
from maculaos.security.credentials import read_certificate
from maculaos.security.revoker import renew_list, revoke
from node_process import free_port
from reconciler.assembly import load_settings, source_of, store_of
from reconciler.doctor import Finding, Verdict
from reconciler.examination import Examination
from reconciler.halt import remove_all
from reconciler.journal import Journal
from reconciling import REALM, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jails.runtime import Runtime

pytestmark = pytest.mark.timeout(120)
DEADLINE_S = 60.0
DAY_S = 86_400.0


def give(bench: Bench, name: str, *, days: int = 30, is_renewal: bool = False) -> None:
    """An identity that the realm's authority signs now."""
    request = Request(name=name, days=days, is_renewal=is_renewal)
    now, folder = SystemClock().now(), bench.root / "credentials"
    issue(bench.root / "realm", folder, request, now=now, entropy=SystemEntropy())


@pytest.fixture
def bench() -> Iterator[Bench]:
    """With a realm, whose authority the reconciler's settings name."""
    with a_bench() as bench:
        start = SystemClock().now() - 10 * DAY_S
        create_realm(bench.root / "realm", "demo", now=start, entropy=SystemEntropy())
        bench.configure(realm_dir="realm")
        yield bench


@pytest.fixture(params=["process", "namespaces"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    if request.param == "namespaces":
        namespaceyard.need_namespaces()
        with namespaceyard.yard() as root:
            yield namespaceyard.runtime_at(root)
    else:
        with jailyard.yard() as root:
            yield jailyard.runtime_at(root)


async def links(bench: Bench, name: str) -> int:
    """How many links a node has; less than none if it cannot be asked."""
    try:
        async with connect(bench.root / "run" / name / "control.sock", reconnect=False) as mesh:
            count: int = (await mesh.stats())["links"]
            return count
    except (MaculaError, OSError):
        return -1


async def until_links(bench: Bench, name: str, count: int) -> None:
    while await links(bench, name) != count:  # noqa: ASYNC110  # the bench has the deadline
        await asyncio.sleep(0.02)


def said(runtime: Runtime, name: str) -> str:
    return "\n".join(runtime.logs(f"node-{name}", 1000))


def bring_list(bench: Bench, name: str) -> None:
    """Copy the authority's newest list to where the reconciler looks for it."""
    newest = realm_files(bench.root / "realm").revocations
    shutil.copyfile(newest, bench.root / "credentials" / name / "realm.crl")


def pid_of(runtime: Runtime, name: str) -> int | None:
    return runtime.look()[f"node-{name}"].pid


def test_renewed_certificate_and_first_list_reach_running_nodes(
    bench: Bench, runtime: Runtime
) -> None:
    async def main() -> None:
        for name in ("n1", "n2"):
            give(bench, name)
        specs = {
            "realm.yaml": REALM,
            # One of them dials, so that there is never more than one link to count.
            "nodes/n1.yaml": node("n1", free_port()) + "peers: []\n",
            "nodes/n2.yaml": node("n2", free_port()),
        }
        revision = bench.upstream.commit(specs)
        async with bench.running(runtime, DEADLINE_S) as running:
            await running.applied(revision)
            await until_links(bench, "n1", 1)
            before = [pid_of(runtime, name) for name in ("n1", "n2")]

            give(bench, "n1", days=99, is_renewal=True)
            await running.until(lambda _: "credentials_renewed" in said(runtime, "n1"))
            assert await links(bench, "n1") == 1
            assert "link_down" not in said(runtime, "n1") + said(runtime, "n2")

            revoke(bench.root / "realm", "n2", now=SystemClock().now())
            bring_list(bench, "n1")
            await until_links(bench, "n1", 0)
            assert "links_closed=1" in said(runtime, "n1")

            # The node watches the file itself from here on: a newer list is none of our business.
            file = runtime.data_path("node-n1") / "node.yaml"
            settled = file.read_bytes()
            renew_list(bench.root / "realm", now=SystemClock().now() + 5)
            bring_list(bench, "n1")
            looked = running.snapshot().status.reconciled_at
            await running.until(lambda s: s.status.reconciled_at != looked)
            assert file.read_bytes() == settled
            assert [pid_of(runtime, name) for name in ("n1", "n2")] == before
        assert await remove_all(runtime, bench.root / "run") == {}

    asyncio.run(main())


def test_node_that_refuses_what_changed_is_restarted(bench: Bench) -> None:
    async def main(runtime: Runtime) -> None:
        give(bench, "n1")
        specs = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", free_port())}
        renew_list(bench.root / "realm", now=SystemClock().now())
        bring_list(bench, "n1")
        async with bench.running(runtime, DEADLINE_S) as running:
            await running.applied(bench.upstream.commit(specs))
            await until_links(bench, "n1", 0)
            before = pid_of(runtime, "n1")
            # What is gone from its settings could give revoked peers their place back.
            (bench.root / "credentials/n1/realm.crl").unlink()
            await running.until(lambda _: pid_of(runtime, "n1") not in (before, None))
            assert "credentials.revocations cannot be left out" in bench.log.getvalue()
        assert await remove_all(runtime, bench.root / "run") == {}

    with jailyard.yard() as root:
        asyncio.run(main(jailyard.runtime_at(root)))


def doctor(bench: Bench) -> Finding:
    settings = load_settings(bench.config)
    runner, clock = SystemRunner(), SystemClock()
    source = source_of(settings, Journal(bench.log, clock))
    examination = Examination(settings, store_of(settings), source, runner, clock)
    return examination.credentials("n1")()


def obey(fix: str) -> None:
    """Run the command that a fix ends with."""
    app = typer.Typer()
    app.add_typer(realm_verbs.app, name="realm")
    words = shlex.split(fix[fix.index("macula ") :])[1:]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0


def key_of(folder: Path) -> object:
    return read_certificate(folder / "node.crt").public_key()


def test_doctor_names_commands_that_mend_credentials(bench: Bench) -> None:
    folder = bench.root / "credentials" / "n1"
    missing = doctor(bench)
    assert missing.verdict is Verdict.FAIL
    obey(missing.fix)
    assert doctor(bench).verdict is Verdict.OK
    first = key_of(folder)
    give(bench, "n1", days=3, is_renewal=True)
    ending = doctor(bench)
    assert ending.verdict is Verdict.WARN
    obey(ending.fix)
    (folder / "node.crt").unlink()
    obey(doctor(bench).fix)
    assert doctor(bench).verdict is Verdict.OK
    assert key_of(folder) == first
