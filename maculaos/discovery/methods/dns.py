"""DNS: the targets of ``_macula._udp.<domain>``, asked for again when their records are over.

Every domain is followed on its own. A resolver that hangs costs a timeout, one that lies costs
dials that no certificate answers; while one fails, what it said last counts for a time. Nothing
is ever registered in DNS.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import dns.asyncresolver
from dns.exception import DNSException
from dns.rdatatype import RdataType
from dns.resolver import NoNameservers, NoResolverConfiguration

from maculaos.discovery.candidates import Hint
from maculaos.discovery.srv import Target, ordered
from maculaos.host.threads import in_thread

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.resolver import Answer

    from maculaos.discovery.method import Sink, Surroundings

PREFIX: Final = "_macula._udp"
# What is looked at of one answer, however long it is.
MAX_TARGETS: Final = 32
MAX_IPS: Final = 8
_KINDS: Final = (RdataType.AAAA, RdataType.A)


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses behind a domain, and how long the first of the records lives."""

    addresses: tuple[str, ...]
    ttl_s: float


class Method:
    """See ``DiscoveryMethod``."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._settings = around.settings.discovery.dns

    async def run(self, sink: Sink) -> None:
        """See ``DiscoveryMethod.run``."""
        async with asyncio.TaskGroup() as tasks:
            for domain in self._settings.domains:
                tasks.create_task(self._follow(domain, sink.part(domain)))

    async def _follow(self, domain: str, sink: Sink) -> None:
        settings, failures = self._settings, 0
        while True:
            try:
                async with asyncio.timeout(settings.timeout_s):
                    found = await self._ask(domain)
            except (DNSException, OSError, TimeoutError) as error:
                failures += 1
                sink.failed(_why(error, domain, settings.timeout_s))
                pause_s = self._pause_s(failures)
            else:
                failures, pause_s = 0, settings.pause_s(found.ttl_s)
                sink.name(Hint(each, pause_s + settings.stale_s) for each in found.addresses)
            await self._around.clock.wait(pause_s)

    def _pause_s(self, failures: int) -> float:
        ceiling_s = self._around.settings.discovery.retry_ceiling_s(failures)
        return max(self._settings.interval_min_s, self._around.rng.uniform(0, ceiling_s))

    async def _ask(self, domain: str) -> Found:
        """Everything behind ``domain``; raises ``DNSException`` if nobody tells its targets."""
        resolver = await self._resolver()
        answer = await resolver.resolve(f"{PREFIX}.{domain}.", RdataType.SRV)
        targets = ordered(_targets(answer), self._around.rng)
        hosts = tuple(dict.fromkeys(each.host for each in targets))
        told = await asyncio.gather(*(_look_up(resolver, host) for host in hosts))
        by_host = dict(zip(hosts, told, strict=True))
        addresses = (
            f"[{ip}]:{each.port}" if ":" in ip else f"{ip}:{each.port}"
            for each in targets
            for ip in by_host[each.host].addresses
        )
        ttls = (found.ttl_s for found in told if found.addresses)
        return Found(tuple(addresses), min((_ttl_s(answer), *ttls)))

    async def _resolver(self) -> Resolver:
        """A resolver without memory, by the machine's configuration of this moment."""
        settings = self._settings
        if settings.nameservers:
            resolver = dns.asyncresolver.Resolver(configure=False)
            # Before the servers, which take it over.
            resolver.port = settings.port
            resolver.nameservers = list(settings.nameservers)
        else:
            resolver = await in_thread(dns.asyncresolver.Resolver)
        resolver.lifetime = settings.timeout_s
        return resolver


async def _look_up(resolver: Resolver, host: str) -> Found:
    """The IP addresses of a target, IPv6 first; none if it has none, or nobody tells."""
    answers = await asyncio.gather(
        *(resolver.resolve(f"{host}.", kind) for kind in _KINDS), return_exceptions=True
    )
    ips: list[str] = []
    ttls: list[float] = []
    for answer in answers:
        if isinstance(answer, DNSException | OSError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        ips += [record.address for record in islice(answer, MAX_IPS)]
        ttls.append(_ttl_s(answer))
    return Found(tuple(ips), min(ttls, default=0.0))


def _targets(answer: Answer) -> list[Target]:
    return [
        Target(
            record.priority,
            record.weight,
            record.target.to_text(omit_final_dot=True).removeprefix("."),
            record.port,
        )
        for record in islice(answer, MAX_TARGETS)
    ]


def _ttl_s(answer: Answer) -> float:
    """How long an answer lives, with every alias on the way to it."""
    return float(answer.chaining_result.minimum_ttl)


def _why(error: BaseException, domain: str, timeout_s: float) -> str:
    if isinstance(error, TimeoutError | dns.exception.Timeout):
        return f"no answer about {PREFIX}.{domain} within {timeout_s:g} s"
    if isinstance(error, NoResolverConfiguration):
        return "this machine has no resolver; name some in discovery.dns.nameservers"
    if isinstance(error, NoNameservers):
        return f"no name server can tell of {PREFIX}.{domain}"
    return str(error) or type(error).__name__
