"""Multicast DNS: announce this node in the local network, and listen for others of its realm.

It shares port 5353 with whoever else answers there, if they share it. Where that or multicast is
impossible it fails, and is tried again. Names and addresses that it hears are hints.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from zeroconf import Error, InterfaceChoice, IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from maculaos.discovery.candidates import Hint
from maculaos.discovery.method import MethodFailed
from maculaos.discovery.service import TYPE, Service, addresses_at, is_other, services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maculaos.discovery.method import Sink, Surroundings

# Services of whatever realm that are told apart; more than that are not looked at.
MAX_SERVICES: Final = 512
# What was heard is said again this often, and forgotten if it was not for three times as long.
_RENEWAL_S: Final = 60.0
# How many services are asked for their addresses at a time, and how long.
_ASKED_AT_ONCE: Final = 16
_ANSWER_MS: Final = 3000
# How long the goodbye may take.
_CLOSE_S: Final = 1.5


class Method:
    """See ``DiscoveryMethod``."""

    def __init__(self, around: Surroundings) -> None:
        self._identity = around.identity
        self._listen = around.settings.listen
        self._settings = around.settings.discovery.mdns
        # Instance -> addresses to dial, none of a stranger; ``None`` while nobody told.
        self._services: dict[str, tuple[str, ...] | None] = {}
        self._news = asyncio.Event()

    async def run(self, sink: Sink) -> None:
        """See ``DiscoveryMethod.run``; raises ``MethodFailed`` where multicast is impossible."""
        try:
            async with self._opened() as responder:
                await self._serve(responder, sink)
        except (OSError, RuntimeError, Error) as error:
            why = str(error) or type(error).__name__
            raise MethodFailed(f"multicast DNS cannot be used: {why}") from error

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncZeroconf]:
        chosen = self._settings.chosen(self._listen.address)
        if chosen:
            responder = AsyncZeroconf(interfaces=list(chosen))
        else:
            is_v4_only = self._listen.address == "0.0.0.0"  # noqa: S104  # compared, not bound
            version = IPVersion.V4Only if is_v4_only else IPVersion.All
            responder = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=version)
        try:
            yield responder
        finally:
            with suppress(TimeoutError, OSError, Error):
                async with asyncio.timeout(_CLOSE_S):
                    await responder.async_close()

    async def _serve(self, responder: AsyncZeroconf, sink: Sink) -> None:
        await responder.zeroconf.async_wait_for_start()
        browser = AsyncServiceBrowser(responder.zeroconf, TYPE, handlers=[self._heard])
        try:
            sink.name(())
            for service in services_of(self._identity, self._listen.advertised):
                announced = await responder.async_register_service(_info(service))
                await announced
            while True:
                await self._look(responder.zeroconf)
                sink.name(Hint(each, 3 * _RENEWAL_S) for each in self._addresses())
                await self._pause(responder)
        finally:
            await browser.async_cancel()

    async def _pause(self, responder: AsyncZeroconf) -> None:
        """Wait for news; if there is none, see whether the machine has other addresses now."""
        try:
            async with asyncio.timeout(_RENEWAL_S):
                await self._news.wait()
        except TimeoutError:
            if not self._settings.chosen(self._listen.address):
                await responder.async_update_interfaces()

    def _heard(
        self,
        zeroconf: Zeroconf,
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """A service came, changed or went; the parameters have the names that are called."""
        del zeroconf, service_type
        if state_change is ServiceStateChange.Removed:
            self._services.pop(name, None)
        elif name in self._services or len(self._services) < MAX_SERVICES:
            self._services[name] = None
        self._news.set()

    async def _look(self, zeroconf: Zeroconf) -> None:
        """Ask the services that are not known yet for their addresses."""
        self._news.clear()
        unknown = [name for name, addresses in self._services.items() if addresses is None]
        for start in range(0, len(unknown), _ASKED_AT_ONCE):
            batch = unknown[start : start + _ASKED_AT_ONCE]
            told = await asyncio.gather(*(self._ask(zeroconf, name) for name in batch))
            for name, addresses in zip(batch, told, strict=True):
                if name in self._services:
                    self._services[name] = addresses

    async def _ask(self, zeroconf: Zeroconf, name: str) -> tuple[str, ...] | None:
        info = AsyncServiceInfo(TYPE, name)
        if not await info.async_request(zeroconf, _ANSWER_MS) or info.port is None:
            return None
        if not is_other(info.properties, self._identity):
            return ()
        return addresses_at(info.parsed_scoped_addresses(), info.port)

    def _addresses(self) -> list[str]:
        """First one address of each service, so that none crowds out another."""
        known = [self._services[name] or () for name in sorted(self._services)]
        turns = range(max(map(len, known), default=0))
        return [each[turn] for turn in turns for each in known if turn < len(each)]


def _info(service: Service) -> ServiceInfo:
    return ServiceInfo(
        TYPE,
        service.instance,
        port=service.port,
        properties=service.txt,
        server=service.host,
        addresses=[ip_address(ip).packed for ip in service.ips],
    )
