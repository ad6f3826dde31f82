"""Datagrams, passed on: each sender has an instance, and what that says goes back to the sender.

A sender stays with its instance while that is there and something passes. Datagrams that nobody
can take now are dropped, as a network may do with any.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from reconciler.front.bounds import (
    DATAGRAM_BYTES,
    DATAGRAM_IDLE_S,
    DATAGRAMS_AT_ONCE,
    MOST_SOURCES,
)
from reconciler.front.flows import Flows

if TYPE_CHECKING:
    from maculaos.host.clock import Clock
    from reconciler.front.balance import Balance, Endpoint
    from reconciler.front.flows import Source


class UdpPort:
    """Listens at one place, until it is closed; flows end with it."""

    def __init__(self, balance: Balance, clock: Clock) -> None:
        self.balance = balance
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._bound: socket.socket | None = None
        self._flows = Flows(MOST_SOURCES, DATAGRAM_IDLE_S)
        self._outlets: dict[Source, tuple[Endpoint, socket.socket]] = {}

    def listen(self, bound: socket.socket) -> None:
        """Take datagrams at ``bound``, which is ours from now on."""
        self._bound = bound
        self._loop.add_reader(bound.fileno(), self._take, bound)

    async def close(self) -> None:
        """Take no more datagrams, and forget every sender."""
        if self._bound is not None:
            self._loop.remove_reader(self._bound.fileno())
            self._bound.close()
            self._bound = None
        self.cut()

    def switched(self) -> None:
        """Who is gone loses its senders at once: their next datagram goes to somebody else."""
        for source, (endpoint, _) in [*self._outlets.items()]:
            if self.balance.is_gone(endpoint):
                self._forget(source)

    def sweep(self, now: float) -> None:
        """Forget who has been silent for too long."""
        for source in self._flows.idle(now):
            self._forget(source)

    def cut(self) -> None:
        """Forget every sender."""
        for source in [*self._outlets]:
            self._forget(source)

    def _take(self, bound: socket.socket) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data, source = bound.recvfrom(DATAGRAM_BYTES)
            except OSError:
                return
            self._pass_on(data, source)

    def _pass_on(self, data: bytes, source: Any) -> None:
        for _ in range(2):
            outlet = self._outlets.get(source) or self._open(source)
            if outlet is None:
                return
            self._see(source)
            try:
                outlet[1].send(data)
            except BlockingIOError:
                return
            except OSError:
                # It told us of the datagram before that nobody listens there.
                self._forget(source, has_failed=True)
            else:
                return

    def _open(self, source: Source) -> tuple[Endpoint, socket.socket] | None:
        endpoint = self.balance.choose(self._clock.monotonic())
        if endpoint is None:
            return None
        family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
        try:
            outlet = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            self.balance.release(endpoint)
            return None
        try:
            outlet.setblocking(False)
            outlet.connect((endpoint.address, endpoint.port))
        except OSError:
            outlet.close()
            self.balance.fail(endpoint, self._clock.monotonic())
            return None
        self._outlets[source] = (endpoint, outlet)
        self._loop.add_reader(outlet.fileno(), self._answer, source, outlet)
        return endpoint, outlet

    def _see(self, source: Source) -> None:
        displaced = self._flows.see(source, self._clock.monotonic())
        if displaced is not None:
            self._forget(displaced)

    def _answer(self, source: Any, outlet: socket.socket) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data = outlet.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._forget(source, has_failed=True)
                return
            self._see(source)
            if self._bound is not None:
                try:
                    self._bound.sendto(data, source)
                except OSError:
                    return

    def _forget(self, source: Source, *, has_failed: bool = False) -> None:
        self._flows.forget(source)
        known = self._outlets.pop(source, None)
        if known is None:
            return
        endpoint, outlet = known
        self._loop.remove_reader(outlet.fileno())
        outlet.close()
        if has_failed:
            self.balance.fail(endpoint, self._clock.monotonic())
        else:
            self.balance.release(endpoint)
