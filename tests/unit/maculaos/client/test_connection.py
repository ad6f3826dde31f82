"""One connection to a control socket whose other end is no good node."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maculaos.client import NodeUnreachable, connect
from maculaos.client.connection import Connection
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    Message,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import ErrorCode
from stagenode import PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ACK = encode_message(HandshakeAck(2, "home", PUBLISHER, "n1", (), "test"))


def with_answer(answer: bytes, program: Callable[[Path], Awaitable[None]]) -> list[Message]:
    """Run ``program`` against a socket that answers the first words so; return what it said."""
    said: list[Message] = []
    folder = Path(tempfile.mkdtemp(prefix="conn", dir="/tmp"))  # short

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        writer.write(answer)
        while data := await reader.read(65_536):
            said.extend(map(decode_message, frames.feed(data)))
        writer.close()

    async def main() -> None:
        async with asyncio.timeout(20):
            server = await asyncio.start_unix_server(serve, folder / "n.sock")
            await program(folder / "n.sock")
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others)

    try:
        asyncio.run(main())
    finally:
        shutil.rmtree(folder)
    return said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (encode_message(Error(ErrorCode.UNSUPPORTED_VERSION, "protocol 2")), "protocol 2"),
        (encode_message(Close(ErrorCode.SHUTTING_DOWN)), "code 10"),
        (b"GET / HTTP/1.1\r\n", "version 71"),
        (b"\x01\x02\x00\x00\x00\x00\x00\x01\xc1", "MALFORMED"),
    ],
)
def test_whoever_is_no_node_is_told_apart_with_the_reason(answer: bytes, why: str) -> None:
    async def program(path: Path) -> None:
        with pytest.raises(NodeUnreachable, match=f"is gone: .*{why}.*look at its log"):
            await connect(path)

    with_answer(answer, program)


def test_a_node_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maculaos.client.connection.CONNECT_DEADLINE_S", 0.05)

    async def program(path: Path) -> None:
        with pytest.raises(NodeUnreachable, match=r"did not answer within 0.05 s; look at its log"):
            await connect(path)

    with_answer(b"", program)


def test_a_connection_that_breaks_when_nobody_waits_for_it_any_more_is_no_complaint() -> None:
    complaints: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: complaints.append(what))
        given_up = Connection(Idle())
        given_up.connection_lost(OSError("too many open files"))

    asyncio.run(main())
    gc.collect()
    assert complaints == []


class Idle:
    """A receiver that nothing reaches."""

    def take(self, message: Message) -> None:
        raise AssertionError(message)

    def lost(self, reason: str) -> None:
        raise AssertionError(reason)

    def room(self) -> None:
        raise AssertionError


def test_a_program_says_who_it_is_and_says_goodbye() -> None:
    async def program(path: Path) -> None:
        async with connect(path, name="thermostat") as mesh:
            assert (mesh.node_name, mesh.realm, mesh.node_id) == ("n1", "home", PUBLISHER.hex())

    hello, goodbye = with_answer(ACK, program)
    assert isinstance(hello, Handshake)
    assert (hello.protocol, hello.name) == (2, "thermostat")
    assert isinstance(goodbye, Close)


def test_what_breaks_the_protocol_later_ends_the_connection() -> None:
    async def program(path: Path) -> None:
        async with connect(path, reconnect=False) as mesh:
            assert "UNKNOWN_TYPE" in str(await mesh.wait_lost())

    with_answer(ACK + b"\x01\x7e\x00\x00\x00\x00\x00\x00", program)
