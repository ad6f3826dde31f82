"""A small DNS server for tests: UDP on a free port of the loopback interface, made by dnspython."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import dns.message
import dns.rcode
import dns.rrset
from dns.exception import DNSException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class NameServer(asyncio.DatagramProtocol):
    """Answers from ``zone``; what is not in it does not exist. It may hang, or talk nonsense."""

    def __init__(self) -> None:
        # (name, type) -> seconds to live, and the data of the records.
        self.zone: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.is_silent = False
        self.nonsense = b""
        self.port = 0
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.DatagramProtocol``."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See ``asyncio.DatagramProtocol``."""
        try:
            question = dns.message.from_wire(data)
        except DNSException:
            return
        if self.nonsense:
            # With the number of the question, so that it is taken for an answer.
            self._transport.sendto(data[:2] + self.nonsense, addr)
        wanted = question.question[0]
        name, kind = wanted.name.to_text(), wanted.rdtype.name
        self.asked.append((name, kind))
        if not self.is_silent:
            self._transport.sendto(self._answer(question, name, kind).to_wire(), addr)

    def _answer(self, question: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(question)
        if not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif (name, kind) in self.zone:
            ttl_s, records = self.zone[name, kind]
            answer.answer.append(dns.rrset.from_text(name, ttl_s, "IN", kind, *records))
        return answer


@asynccontextmanager
async def name_server(port: int = 0) -> AsyncIterator[NameServer]:
    """A running server; ``port`` 0 is one that is free."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", port)
    )
    try:
        yield server
    finally:
        transport.close()
        await asyncio.sleep(0)
