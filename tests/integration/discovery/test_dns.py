"""SRV records of a real name server: a good one, one that changes, hangs, or talks nonsense."""

from __future__ import annotations

import asyncio

import pytest

from discovering import bounded, seeking, surroundings
from maculaos.discovery.methods.dns import MAX_TARGETS, Method
from maculaos.discovery.settings import DnsSettings
from nameserver import NameServer, name_server

DOMAIN = "mesh.example"
SERVICE = f"_macula._udp.{DOMAIN}."


def method(server: NameServer, *domains: str, **settings: float) -> Method:
    quick = {"interval_min_s": 0.02, "timeout_s": 5.0, **settings}
    dns = DnsSettings(
        domains=domains or (DOMAIN,),
        nameservers=("127.0.0.1",),
        port=server.port,
        **quick,  # type: ignore[arg-type]
    )
    return Method(surroundings(dns=dns, retry_base_s=0.01, retry_max_s=0.02))


def serve(server: NameServer, *targets: str, ttl_s: int = 0) -> None:
    server.zone[SERVICE, "SRV"] = (ttl_s, list(targets))


def test_targets_come_in_the_order_of_their_priority_with_every_address() -> None:
    async def main() -> None:
        async with name_server() as server:
            serve(server, "20 1 4702 b.example.", "10 1 4701 a.example.", "10 1 4701 none.example.")
            server.zone["a.example.", "A"] = (60, ["10.0.0.1"])
            server.zone["a.example.", "AAAA"] = (60, ["fd00::1"])
            server.zone["b.example.", "A"] = (60, ["10.0.0.2"])
            async with seeking(method(server)) as heard:
                await heard.until(lambda: bool(heard.named))
            found = ("[fd00::1]:4701", "10.0.0.1:4701", "10.0.0.2:4702")
            assert heard.named == {DOMAIN: found}

    bounded(main())


def test_records_are_asked_for_again_when_they_are_over_and_not_before() -> None:
    async def main() -> None:
        async with name_server() as server:
            serve(server, "1 1 4701 a.example.", ttl_s=1)
            server.zone["a.example.", "A"] = (3600, ["10.0.0.1"])
            loop = asyncio.get_running_loop()
            async with seeking(method(server)) as heard:
                await heard.until(lambda: bool(heard.named))
                first = loop.time()
                server.zone["a.example.", "A"] = (3600, ["10.0.0.9"])
                await heard.until(lambda: heard.named == {DOMAIN: ("10.0.0.9:4701",)})
                assert loop.time() - first > 0.9
            assert [kind for _, kind in server.asked].count("SRV") == 2
            assert heard.lifetimes["10.0.0.9:4701"] > 80_000

    bounded(main())


def test_a_domain_that_says_there_is_no_service_names_nobody() -> None:
    async def main() -> None:
        async with name_server() as server:
            serve(server, "0 0 0 .")
            async with seeking(method(server)) as heard:
                await heard.until(lambda: heard.named == {DOMAIN: ()})

    bounded(main())


def test_a_resolver_that_comes_back_is_heard_and_one_that_fails_ends_nothing() -> None:
    async def main() -> None:
        async with name_server() as server, seeking(method(server)) as heard:
            await heard.until(lambda: bool(heard.failures))
            serve(server, "1 1 4701 a.example.")
            server.zone["a.example.", "A"] = (0, ["10.0.0.1"])
            await heard.until(lambda: bool(heard.named))
            failures = len(heard.failures)
            server.zone.clear()
            await heard.until(lambda: len(heard.failures) > failures + 2)
            assert heard.named == {DOMAIN: ("10.0.0.1:4701",)}

    bounded(main())


def test_a_resolver_that_hangs_costs_a_timeout_and_no_other_domain() -> None:
    async def main() -> None:
        async with name_server() as server:
            server.is_silent = True
            async with seeking(method(server, DOMAIN, "b.example", timeout_s=0.05)) as heard:
                await heard.until(lambda: len(heard.failures) >= 4)
                assert any("b.example within 0.05 s" in why for why in heard.failures)
                serve(server, "1 1 4701 10.0.0.1.")
                server.zone["10.0.0.1.", "A"] = (0, ["10.0.0.1"])
                server.is_silent = False
                await heard.until(lambda: DOMAIN in heard.named)

    bounded(main())


def test_a_resolver_that_is_not_there_is_a_failure_like_any_other() -> None:
    async def main() -> None:
        async with name_server() as server:
            pass
        async with seeking(method(server, timeout_s=0.2)) as heard:
            await heard.until(lambda: len(heard.failures) >= 2)

    bounded(main())


NONSENSE = [b"", b"\x81\x80", b"\x81\x80" + b"\xff" * 400, b"\x81\x80\0\1\0\1\0\0\0\0\xc0\x0c" * 9]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_a_failure_or_passed_over(nonsense: bytes) -> None:
    async def main() -> None:
        async with name_server() as server:
            server.nonsense = nonsense
            server.is_silent = True
            async with seeking(method(server, timeout_s=0.1)) as heard:
                await heard.until(lambda: len(heard.failures) >= 2)
                server.nonsense, server.is_silent = b"", False
                serve(server, "1 1 4701 a.example.")
                server.zone["a.example.", "A"] = (0, ["10.0.0.1"])
                await heard.until(lambda: heard.named == {DOMAIN: ("10.0.0.1:4701",)})

    bounded(main())


def test_an_answer_of_any_length_is_looked_at_so_far() -> None:
    async def main() -> None:
        async with name_server() as server:
            serve(server, *(f"1 1 {port} a.example." for port in range(1, 61)))
            server.zone["a.example.", "A"] = (60, [f"10.0.0.{n}" for n in range(1, 41)])
            async with seeking(method(server)) as heard:
                await heard.until(lambda: bool(heard.named))
            ports = {address.rsplit(":", 1)[1] for address in heard.named[DOMAIN]}
            assert len(ports) == MAX_TARGETS
            assert len(heard.named[DOMAIN]) == MAX_TARGETS * 8

    bounded(main())
