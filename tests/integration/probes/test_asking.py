"""Probes against real servers, good, bad and malicious; each costs its timeout at the most."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jails.memory import MemoryRuntime
from loopback import run
from maculaos.host.clock import SystemClock
from reconciler.probes.run import AT_ONCE, Place, Prober
from reconciler.probes.spec import HttpProbe, TcpProbe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from reconciler.probes.judge import Result
    from reconciler.probes.spec import Probe

HERE = Place(jail="app-a")


class Server:
    """Answers every connection with the same bytes, at some pace; remembers the requests."""

    def __init__(self, answer: bytes, *, pause_s: float = 0.0, ends: bool = True) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.most_at_once = 0
        self._answer, self._pause_s, self._ends = answer, pause_s, ends
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self._open -= 1
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        size = 1 if self._pause_s else max(1, len(self._answer))
        for start in range(0, len(self._answer), size):
            writer.write(self._answer[start : start + size])
            await writer.drain()
            await asyncio.sleep(self._pause_s)
        if not self._ends:
            await reader.read()


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[Server]:
    """``server`` on a free port of the loopback interface."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        # Who was accepted has a task by now.
        await asyncio.sleep(0)
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def asked(server: Server, make: Callable[[int], Probe]) -> Result:
    """What a probe of ``server`` says."""
    answers: list[Result] = []

    async def main() -> None:
        prober = Prober(MemoryRuntime(), SystemClock())
        async with listening(server):
            answers.append(await prober.ask(make(server.port), HERE))
        prober.close()

    run(main())
    return answers[0]


def test_a_web_server_with_the_right_status_is_healthy_and_gets_a_proper_request() -> None:
    server = Server(b"HTTP/1.1 204 No Content\r\n\r\n")
    said = asked(
        server,
        lambda port: HttpProbe(port=port, path="/up?a=1", status=204, headers={"Host": "shop"}),
    )
    assert (said.is_good, said.reason) == (True, "")
    assert server.requests[0].splitlines()[0] == b"GET /up?a=1 HTTP/1.1"
    assert server.requests[0].count(b"Host: ") == 1
    assert b"Host: shop\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503, not 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n", "answered 302, not 200"),
        (b"", "the connection ended without an answer"),
        (b"HTTP/1.1 200", "the connection ended without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what answers is no web server"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "what answers is no web server"),
        (b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n\r\n", "what answers is no web server"),
        (b"\x1b[2J\x07" * 4096, "what answers is no web server"),
    ],
)
def test_any_other_answer_is_not_and_the_reason_says_which(answer: bytes, reason: str) -> None:
    said = asked(Server(answer), lambda port: HttpProbe(port=port))
    assert (said.is_good, said.reason) == (False, reason)


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(Server(b"", ends=False), id="says nothing"),
        pytest.param(Server(b"HTTP/1.1 200 OK\r\n", pause_s=0.05), id="a byte at a time"),
        pytest.param(Server(b"HTTP/1.1 200 OK", ends=False), id="never ends the line"),
    ],
)
def test_a_server_that_hangs_costs_the_timeout(server: Server) -> None:
    clock = SystemClock()
    begun = clock.monotonic()
    said = asked(server, lambda port: HttpProbe(port=port, timeout_s=0.3))
    assert (said.is_good, said.reason) == (False, "no answer within 0.3 s")
    assert clock.monotonic() - begun < 10.0


def test_a_body_without_end_is_not_read() -> None:
    body = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(50_000_000)
    assert asked(Server(body, ends=False), lambda port: HttpProbe(port=port)).is_good


def test_a_port_that_takes_connections_is_healthy() -> None:
    assert asked(Server(b""), lambda port: TcpProbe(port=port)).is_good


def test_a_port_is_asked_where_the_instance_itself_listens() -> None:
    async def main() -> None:
        async with listening(Server(b"")) as server:
            place = replace(HERE, ports={"web": server.port, 8080: server.port})
            prober = Prober(MemoryRuntime(), SystemClock())
            for port in ("web", 8080):
                assert (await prober.ask(TcpProbe(port=port), place)).is_good
            said = await prober.ask(TcpProbe(port="www"), place)
            assert said.reason == "the app has no port www"
            # A host that is named has ports of its own.
            elsewhere = TcpProbe(port=1, host="127.0.0.1")
            said = await prober.ask(elsewhere, replace(place, ports={1: server.port}))
            assert not said.is_good
            prober.close()

    run(main())


def test_a_port_where_nobody_listens_is_not() -> None:
    async def main() -> None:
        async with listening(Server(b"")) as server:
            port = server.port
        prober = Prober(MemoryRuntime(), SystemClock())
        for probe in (TcpProbe(port=port), HttpProbe(port=port)):
            said = await prober.ask(probe, HERE)
            assert not said.is_good
            assert "onnect" in said.reason
        prober.close()

    run(main())


def test_many_probes_at_once_are_bounded() -> None:
    async def main() -> None:
        prober = Prober(MemoryRuntime(), SystemClock())
        async with listening(Server(b"", ends=False)) as server:
            probe = HttpProbe(port=server.port, timeout_s=0.5)
            said = await asyncio.gather(*(prober.ask(probe, HERE) for _ in range(2 * AT_ONCE)))
        assert not any(each.is_good for each in said)
        assert server.most_at_once == AT_ONCE
        prober.close()

    run(main())
