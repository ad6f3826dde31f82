"""A machine that follows a Git server which fails it: over real ssh and https, by real processes.

Whatever the server does, what runs goes on, and what is broken on the machine is mended meanwhile.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gitservers import HttpsGit, SshGit, needs_backend, needs_sshd
from jails.process import ProcessRuntime
from maculaos.host.clock import SystemClock
from operated import Operated, app, operated
from rolloutyard import CALM_POLL, a_rollout_bench, cleared, programs
from signing import SshKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench

# Real servers and programs, on a machine that may be busy.
pytestmark = pytest.mark.timeout(300)
APP = "apps/shop.yaml"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench(poll=CALM_POLL) as bench:
        yield bench
        cleared(bench)


def runs(running: Operated, version: str) -> None:
    wanted = {f"shop {version}": 1}
    running.until(f"{wanted} runs", lambda: programs(running.bench) == wanted)


def configure(bench: Bench, url: str, access: dict[str, str]) -> None:
    bench.configure(repository={"url": url, "access": access}, poll=CALM_POLL)


def is_mended_meanwhile(running: Operated, version: str) -> None:
    """What somebody stopped is started again, without any Git."""
    ProcessRuntime(running.bench.root / "state/jails", SystemClock()).stop("app-shop")
    runs(running, version)


@needs_sshd
def test_changed_host_key_is_refused_and_what_runs_goes_on(bench: Bench) -> None:
    reader = SshKey(bench.root, "reader")
    known = bench.root / "known"
    with closing(SshGit(bench.root, reader)) as server:
        known.write_text(server.known_host())
        access = {"ssh_key_file": str(reader.path), "known_hosts_file": str(known)}
        configure(bench, server.url(bench.upstream.path), access)
        first = bench.upstream.commit({APP: app("shop", "v1")})
        with operated(bench) as running:
            running.applied(first)
            runs(running, "v1")
            # Somebody else answers at this address.
            known.write_text(server.known_host(SshKey(bench.root, "impostor")))
            told = "the host key of the Git server has changed"
            running.until("it is told", lambda: told in running.log())
            second = bench.upstream.commit({APP: app("shop", "v2")})
            is_mended_meanwhile(running, "v1")
            assert second not in running.log()
            # The operator pins the new key beside the former one.
            known.write_text(known.read_text() + server.known_host())
            running.applied(second)
            runs(running, "v2")


def stall(server: HttpsGit, over: threading.Event) -> None:
    def hang() -> None:
        over.wait(20)

    server.watch = hang


def refuse(server: HttpsGit, over: threading.Event) -> None:
    del over
    server.token = "another"  # noqa: S105  # of a test


def lead_astray(server: HttpsGit, over: threading.Event) -> None:
    del over
    server.redirect = "https://127.0.0.1:1"


@needs_backend
def test_server_that_hangs_refuses_or_sends_elsewhere_stops_nothing(bench: Bench) -> None:
    token = bench.root / "token"
    token.write_text("right")
    token.chmod(0o600)
    with closing(HttpsGit(bench.root, "right")) as server:
        access = {"token_file": str(token), "ca_file": str(server.ca_file)}
        configure(bench, server.url(bench.upstream.path), access)
        with operated(bench) as running:
            running.applied(bench.upstream.commit({APP: app("shop", "v0")}))
            runs(running, "v0")
            for number, fail in enumerate((stall, refuse, lead_astray)):
                over = threading.Event()
                fail(server, over)
                pushed = bench.upstream.commit({APP: app("shop", f"v{number + 1}")})
                asked = len(server.requests)
                running.until("it asks", lambda: len(server.requests) > asked)  # noqa: B023  # awaited here
                is_mended_meanwhile(running, f"v{number}")
                server.token, server.redirect = "right", ""
                server.watch = lambda: None
                over.set()
                running.applied(pushed)
                runs(running, f"v{number + 1}")
            assert "right" not in running.log()
