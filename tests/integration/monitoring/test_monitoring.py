"""Listeners of a running reconciler: what they answer, and how they follow their settings."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import certificates
import webhooks
from reconciler.assembly import assemble, load_settings, store_of
from reconciler.daemon import Daemon
from reconciling import TWO_NODES, Bench, Running, a_bench

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2")
        secret = bench.root / "secret"
        secret.write_text(f"{webhooks.SECRET}\n")
        secret.chmod(0o600)
        yield bench


@asynccontextmanager
async def following(bench: Bench) -> AsyncIterator[Running]:
    """A daemon that follows its settings file, as ``reconciler run`` does."""
    settings = load_settings(bench.config)
    with store_of(settings).locked():
        worker = assemble(settings, bench.log, bench.runtime)
        daemon = Daemon(worker, bench.config)
        task = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(40):
                yield Running(daemon, worker.snapshot, task)
        finally:
            daemon.stop()
            await task


async def addresses(bench: Bench, running: Running, name: str, number: int = 1) -> list[str]:
    """Where that listener was until now; waits until there are ``number`` places."""
    found: list[str] = []
    while len(found) < number:
        await running.until(lambda _: True)
        await asyncio.sleep(0.02)
        found = re.findall(rf" {name} at=(\S+)", bench.log.getvalue())
    return found


async def get(
    at: str, path: str, tls: ssl.SSLContext | None = None, method: str = "GET"
) -> tuple[int, str, str]:
    """Status, head and body of the answer."""
    sent = f"{method} {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n".encode()
    said = (await webhooks.raw(at, sent, tls)).decode()
    head, _, body = said.partition("\r\n\r\n")
    return (int(head.split()[1]) if head else 0), head, body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_metrics_health_and_readiness_are_answered(bench: Bench) -> None:
    async def main() -> None:
        bench.configure(metrics={"listen": "127.0.0.1:0"})
        revision = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            (at,) = await addresses(bench, running, "metrics")
            await running.applied(revision)
            status, head, body = await get(at, "/metrics")
            assert status == 200
            assert "text/plain; version=0.0.4" in head
            families = {one.name: one for one in text_string_to_metric_families(body)}
            assert families["macula_reconciler_converged"].samples[0].value == 1
            assert (await get(at, "/healthz"))[::2] == (200, "ok\n")
            # The nodes of this test answer nobody.
            status, _, body = await get(at, "/readyz")
            assert (status, body.startswith("not ready: ")) == (503, True)
            assert (await get(at, "/metrics", method="HEAD"))[::2] == (200, "")
            assert (await get(at, "/metrics", method="POST"))[0] == 405
            assert (await get(at, "/status"))[0] == 404

    asyncio.run(main())


def test_too_many_questions_are_refused(bench: Bench) -> None:
    async def main() -> None:
        bench.configure(metrics={"listen": "127.0.0.1:0", "requests_per_minute": 10})
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            (at,) = await addresses(bench, running, "metrics")
            said = [(await get(at, "/healthz"))[0] for _ in range(12)]
            assert said[0] == 200
            assert said[-1] == 429

    asyncio.run(main())


def test_listeners_follow_the_settings_without_a_restart(bench: Bench) -> None:
    async def main() -> None:
        senders = [{"provider": "github", "secret_file": "secret"}]
        hook: dict[str, Any] = {"listen": "127.0.0.1:0", "senders": senders}
        bench.configure(webhook=hook)
        revision = bench.upstream.commit(TWO_NODES)
        async with following(bench) as running:
            await running.applied(revision)
            (at,) = await addresses(bench, running, "webhook")
            assert await webhooks.deliver(at, webhooks.github()) == 202
            # A listener that was not there, one with a sender more, and what needs a restart.
            port = free_port()
            senders.append({"provider": "gitea", "secret_file": "secret"})
            bench.configure(
                webhook=hook, metrics={"listen": f"127.0.0.1:{port}"}, machine={"name": "edge-8"}
            )
            (metrics,) = await addresses(bench, running, "metrics")
            assert (await get(metrics, "/healthz"))[0] == 200
            *_, at = await addresses(bench, running, "webhook", 2)
            assert await webhooks.deliver(at, webhooks.gitea()) == 202
            assert running.snapshot().activity.deliveries == {"accepted": 2}
            assert "settings_changed settings=machine" in bench.log.getvalue()
            # A file that is wrong, and a port that is taken, change nothing.
            bench.config.write_text("version: 1\nwebhook: [\n")
            await running.until(lambda _: "cannot_take" in bench.log.getvalue())
            with socket.create_server(("127.0.0.1", 0)) as taken:
                there = f"127.0.0.1:{taken.getsockname()[1]}"
                bench.configure(webhook=hook, metrics={"listen": there})
                await running.until(lambda _: "cannot_move" in bench.log.getvalue())
                assert (await get(metrics, "/healthz"))[0] == 200
            # And it goes again.
            bench.configure(webhook=hook)
            await running.until(lambda _: 'metrics at=""' in bench.log.getvalue())
            assert await refused(metrics)

    asyncio.run(main())


async def refused(at: str) -> bool:
    try:
        await get(at, "/healthz")
    except OSError:
        return True
    return False


def test_certificate_that_is_renewed_is_shown_without_a_restart(bench: Bench) -> None:
    async def main() -> None:
        first = certificates.for_loopback(bench.root)
        trusted = first.client()
        port = free_port()
        metrics = {
            "listen": f"127.0.0.1:{port}",
            "certificate": "server.crt",
            "key": "server.key",
        }
        bench.configure(metrics=metrics)
        bench.upstream.commit(TWO_NODES)
        async with following(bench) as running:
            (at,) = await addresses(bench, running, "metrics")
            assert (await get(at, "/healthz", trusted))[0] == 200
            # A key that does not fit is not taken; the old pair goes on.
            key = first.key.read_bytes()
            first.key.write_bytes(b"no key")
            await running.until(lambda _: "cannot_move" in bench.log.getvalue())
            assert (await get(at, "/healthz", trusted))[0] == 200
            first.key.write_bytes(key)
            renewed = certificates.for_loopback(bench.root).client()
            await addresses(bench, running, "metrics", 2)
            assert (await get(at, "/healthz", renewed))[0] == 200

    asyncio.run(main())
