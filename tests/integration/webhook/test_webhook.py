"""Webhooks into a running reconciler: real HTTP and HTTPS, real Git; jails in memory."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import certificates
import webhooks
from maculaos.errors import UsageError
from reconciler.control import SOCKET_NAME, ask
from reconciling import TWO_NODES, Bench, Running, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER_S = 3600.0
PROVIDERS = ("github", "gitlab", "gitea", "generic")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        secret = bench.root / "secret"
        secret.write_text(f"{webhooks.SECRET}\n")
        secret.chmod(0o600)
        yield bench


def configure(bench: Bench, **changes: Any) -> None:
    """A reconciler that asks Git once at its start, and then only if somebody tells it to."""
    senders = [{"provider": provider, "secret_file": "secret"} for provider in PROVIDERS]
    webhook = {"listen": "127.0.0.1:0", "senders": senders, "coalesce_s": 0.2, **changes}
    bench.configure(webhook=webhook, poll={"interval_s": NEVER_S})


async def address(bench: Bench, running: Running) -> str:
    await running.until(lambda _: " webhook at=" in bench.log.getvalue())
    found = re.search(r" webhook at=(\S+)", bench.log.getvalue())
    assert found is not None
    return found[1]


def counts(running: Running) -> dict[str, int]:
    return running.snapshot().activity.deliveries


def signed_now(**words: Any) -> Any:
    """A delivery of GitLab that is signed when it is made."""
    return webhooks.gitlab_signed(at=time.time(), **words)


@pytest.mark.parametrize("make", [*webhooks.ALL, signed_now])
def test_a_push_with_a_webhook_is_applied_without_a_poll(bench: Bench, make: Any) -> None:
    async def main() -> None:
        configure(bench)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            at = await address(bench, running)
            await running.applied(first)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            began = time.monotonic()
            assert await webhooks.deliver(at, make()) == 202
            await running.applied(second)
            took_s = time.monotonic() - began
            sys.stdout.write(f"{make}: applied {took_s:.3f} s after delivery\n")
            assert counts(running) == {"accepted": 1}

    asyncio.run(main())


def test_forgeries_change_nothing(bench: Bench) -> None:
    async def main() -> None:
        configure(bench)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            at = await address(bench, running)
            await running.applied(first)
            bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            forged = webhooks.github(secret="x" * 32)
            unsigned = webhooks.github()
            unsigned.headers.pop("X-Hub-Signature-256")
            assert await webhooks.deliver(at, forged) == 403
            assert await webhooks.deliver(at, unsigned) == 401
            assert await webhooks.deliver(at, webhooks.github("refs/heads/other")) == 200
            async with asyncio.timeout(2):
                # A look at the machine came and went, and Git was not asked.
                reconciled = running.snapshot().status.reconciled_at
                await running.until(lambda s: s.status.reconciled_at != reconciled)
            assert running.snapshot().status.revisions.tip == first
            assert counts(running) == {"forged": 1, "ignored": 1, "unsigned": 1}
            assert webhooks.SECRET not in bench.log.getvalue()

    asyncio.run(main())


def test_a_burst_is_fetched_once_or_twice(bench: Bench) -> None:
    async def main() -> None:
        configure(bench, deliveries_per_minute=6000, requests_per_minute=6000, coalesce_s=5)
        first = bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            at = await address(bench, running)
            await running.applied(first)
            before = running.snapshot().status.fetch.ok_at
            seen: set[float | None] = set()
            sampling = asyncio.create_task(running.until(lambda s: seen.add(s.status.fetch.ok_at)))
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            for start in range(0, 100, 20):
                batch = [
                    webhooks.deliver(at, webhooks.github(delivery=str(start + number)))
                    for number in range(20)
                ]
                assert set(await asyncio.gather(*batch)) == {202}
            await running.applied(second)
            assert counts(running) == {"accepted": 100}
            sampling.cancel()
            assert 1 <= len(seen - {before}) <= 2

    asyncio.run(main())


def test_tls_is_spoken_and_plain_text_is_not(bench: Bench) -> None:
    async def main() -> None:
        files = certificates.for_loopback(bench.root)
        configure(bench, certificate="server.crt", key="server.key")
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            at = await address(bench, running)
            assert await webhooks.deliver(at, webhooks.gitea(), files.client()) == 202
            assert not (await webhooks.raw(at, webhooks.gitea().raw())).startswith(b"HTTP")

    asyncio.run(main())


def test_garbage_and_slowness_are_cut_off(bench: Bench) -> None:
    async def main() -> None:
        configure(bench, timeout_s=0.3, body_bytes=2048)
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            at = await address(bench, running)
            for sent in (b"\x16\x03\x01 garbage\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"x" * 40_000):
                said = await webhooks.raw(at, sent)
                assert said == b"" or said.split()[1].startswith(b"4")
            one = webhooks.github()
            slow = one.raw()[: -len(one.body)] + b"{"
            assert (await webhooks.raw(at, slow)).split()[1] == b"408"
            assert await webhooks.raw(at, b"POST /hooks/github HTTP/1.1\r\nX-A: ") == b""
            one.extra["Content-Length"] = str(1 << 30)
            head = one.raw()[: -len(one.body)]
            assert (await webhooks.raw(at, head)).split()[1] == b"413"
            chunked = webhooks.github()
            chunked.extra = {"Transfer-Encoding": "chunked"}
            sent = chunked.raw()[: -len(chunked.body)]
            sent = re.sub(rb"Content-Length: \d+\r\n", b"", sent) + b"1000\r\n" + b"x" * 4096
            assert (await webhooks.raw(at, sent)).split()[1] == b"413"
            assert await webhooks.deliver(at, webhooks.github()) == 202

    asyncio.run(main())


def test_a_changed_secret_counts_at_once_and_an_open_one_never(bench: Bench) -> None:
    async def main() -> None:
        configure(bench)
        bench.upstream.commit(TWO_NODES)
        file = bench.root / "secret"
        async with bench.running() as running:
            at = await address(bench, running)
            assert await webhooks.deliver(at, webhooks.github(delivery="1", secret="n" * 32)) == 403
            file.write_text(f"{'n' * 32}\n{webhooks.SECRET}\n")
            assert await webhooks.deliver(at, webhooks.github(delivery="2", secret="n" * 32)) == 202
            assert await webhooks.deliver(at, webhooks.github(delivery="3")) == 202
            file.chmod(0o644)
            assert await webhooks.deliver(at, webhooks.github(delivery="4")) == 403
            assert "chmod 600" in bench.log.getvalue()

    asyncio.run(main())


def test_plain_text_beyond_loopback_needs_a_proxy(bench: Bench) -> None:
    async def main() -> None:
        configure(bench, listen="0.0.0.0:0")
        with pytest.raises(UsageError, match="plain text"):
            async with bench.running() as running:
                await running.task

    asyncio.run(main())


def test_sync_without_waiting_only_asks(bench: Bench) -> None:
    async def main() -> None:
        configure(bench)
        bench.upstream.commit(TWO_NODES)
        async with bench.running() as running:
            await address(bench, running)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            request = {"do": "sync", "wait": False}
            answer = await ask(bench.root / "run" / SOCKET_NAME, request)
            assert answer["outcome"] == "asked"
            await running.applied(second)

    asyncio.run(main())
