"""Multicast DNS: announce this node in the local network, and listen for others of its realm.

It shares port 5353 with whoever else answers there, if they share it. Where that or multicast is
impossible it fails, and is tried again. Names and addresses that it hears are hints.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Final

from zeroconf import Error, InterfaceChoice, IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from maculaos.discovery.candidates import Hint
from maculaos.discovery.method import MethodFailed
from maculaos.discovery.service import TYPE, Service, addresses_at, is_other, services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maculaos.discovery.method import Sink, Surroundings

_GROUP: Final = "224.0.0.251"
_PORT: Final = 5353
# Services of whatever realm that are told apart; more than that are not looked at.
MAX_SERVICES: Final = 256
# What was heard is said again this often, and forgotten if it was not for three times as long.
_RENEWAL_S: Final = 60.0
# How many services are asked for their addresses at a time, and how long.
_ASKED_AT_ONCE: Final = 64
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
        # Those that did not tell; they are asked again with the next renewal, not before others.
        self._silent: dict[str, None] = {}
        self._news = asyncio.Event()

    async def run(self, sink: Sink) -> None:
        """See ``DiscoveryMethod.run``; raises ``MethodFailed`` where multicast is impossible."""
        try:
            async with self._opened() as responder:
                await self._serve(responder, sink)
        except (OSError, RuntimeError, Error) as error:
            raise MethodFailed(f"multicast DNS cannot be used: {_why(error)}") from error

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncZeroconf]:
        chosen = self._settings.chosen(self._listen.address)
        _probe(chosen)
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
        announcing = asyncio.create_task(self._announce(responder, sink))
        try:
            self._say(sink)
            while True:
                self._news.clear()
                while batch := self._unknown():
                    await self._look(responder.zeroconf, batch)
                    self._say(sink)
                self._say(sink)
                await self._pause(responder)
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            await browser.async_cancel()

    async def _announce(self, responder: AsyncZeroconf, sink: Sink) -> None:
        """Make this node known; whoever keeps it from that does not keep it from listening."""
        waiting = list(services_of(self._identity, self._listen.advertised))
        while waiting:
            try:
                # A name is nothing but a name: another one does when somebody claims it.
                service = _info(waiting[0])
                await (await responder.async_register_service(service, allow_name_change=True))
            except (OSError, RuntimeError, Error) as error:
                sink.failed(f"this node cannot be announced: {_why(error)}")
                await asyncio.sleep(_RENEWAL_S)
            else:
                del waiting[0]

    async def _pause(self, responder: AsyncZeroconf) -> None:
        """Wait for news; if there is none, see whether the machine has other addresses now."""
        try:
            async with asyncio.timeout(_RENEWAL_S):
                await self._news.wait()
        except TimeoutError:
            self._silent.clear()
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
            self._silent.pop(name, None)
        elif name in self._services or len(self._services) < MAX_SERVICES:
            self._services[name] = None
            self._silent.pop(name, None)
        self._news.set()

    def _unknown(self) -> list[str]:
        """Services to ask for their addresses next."""
        unknown = (
            name
            for name, addresses in self._services.items()
            if addresses is None and name not in self._silent
        )
        return list(islice(unknown, _ASKED_AT_ONCE))

    async def _look(self, zeroconf: Zeroconf, batch: list[str]) -> None:
        """Ask some services for their addresses, all at once."""
        told = await asyncio.gather(*(self._ask(zeroconf, name) for name in batch))
        for name, addresses in zip(batch, told, strict=True):
            if name not in self._services:
                continue
            self._services[name] = addresses
            if addresses is None:
                self._silent[name] = None

    def _say(self, sink: Sink) -> None:
        sink.name(Hint(each, 3 * _RENEWAL_S) for each in self._addresses())

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


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _probe(chosen: tuple[str, ...]) -> None:
    """Raise ``OSError`` where the port or multicast cannot be had, and leave nothing open.

    The library itself forgets an open socket when the next step fails.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("", _PORT))
        for ip in chosen:
            if ":" not in ip:
                group = socket.inet_aton(_GROUP) + socket.inet_aton(ip)
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)


def _info(service: Service) -> ServiceInfo:
    return ServiceInfo(
        TYPE,
        service.instance,
        port=service.port,
        properties=service.txt,
        server=service.host,
        addresses=[ip_address(ip).packed for ip in service.ips],
    )
