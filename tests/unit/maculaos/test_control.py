"""The control socket: handshake, bounds, and the file it lives in."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lone_node import IDENTITY, lone_node
from maculaos.control import AlreadyRunning
from maculaos.control.server import FLUSH_DEADLINE_S, HANDSHAKE_DEADLINE_S
from maculaos.control.socket_file import MAX_PATH_BYTES, listen
from maculaos.errors import UsageError
from maculaos.settings import LimitSettings
from maculaos.wire.events import Delivery, Post, Unwatch, Watch
from maculaos.wire.frames import Frame, FrameReader, encode_frame
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    Message,
    Ping,
    RpcCall,
    RpcResult,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import ErrorCode
from maculaos.wire.values import encode_value
from waits import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from lone_node import LoneNode

HELLO = Handshake(2, "", b"", "test", (), "test")


class Raw:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.frames = reader, writer, FrameReader()
        self.heard: list[Message] = []

    @classmethod
    async def connect(cls, path: Path, *said: Message) -> Raw:
        raw = cls(*await asyncio.open_unix_connection(str(path)))
        raw.say(*said)
        return raw

    def say(self, *said: Message) -> None:
        self.writer.write(b"".join(map(encode_message, said)))

    async def hear(self) -> Message | None:
        """The next message; None at the end."""
        while not self.heard:
            data = await self.reader.read(65536)
            if not data:
                return None
            self.heard += map(decode_message, self.frames.feed(data))
        return self.heard.pop(0)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return


async def entered(node: LoneNode) -> Raw:
    """A client that has shaken hands."""
    raw = await Raw.connect(node.path, HELLO)
    assert isinstance(await raw.hear(), HandshakeAck)
    return raw


def _says_close(raw: Raw) -> None:
    raw.say(Close(ErrorCode.NO_ERROR))


def _ends_its_stream(raw: Raw) -> None:
    raw.writer.write_eof()


def run(main: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await main

    asyncio.run(limited())


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="sock", dir="/tmp"))  # short
    yield made
    shutil.rmtree(made)


def test_handshake_tells_who_the_node_is_and_then_calls_are_answered() -> None:
    async def main() -> None:
        async with lone_node() as node:
            raw = await Raw.connect(node.path, HELLO)
            ack = await raw.hear()
            assert isinstance(ack, HandshakeAck)
            assert (ack.realm, ack.node_id, ack.name) == ("home", IDENTITY.node_id, "n1")
            raw.say(RpcCall(7, "macula.ping", 1000, b"", encode_value(None)))
            answer = await raw.hear()
            assert isinstance(answer, RpcResult)
            assert answer.call == 7
            await raw.close()

    run(main())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (encode_message(Unwatch(1)), ErrorCode.NOT_ALLOWED_YET),
        (encode_message(Handshake(1, "", b"", "x", (), "")), ErrorCode.UNSUPPORTED_VERSION),
        (encode_message(HELLO) + encode_message(Ping(1)), ErrorCode.MALFORMED),
        (encode_message(HELLO) + encode_frame(Frame(0x7E, b"")), ErrorCode.UNKNOWN_TYPE),
        (encode_message(HELLO) + encode_frame(Frame(0x14, b"\xc1")), ErrorCode.MALFORMED),
        (b"GET / HTTP/1.1\r\n", ErrorCode.UNSUPPORTED_VERSION),
        (b"\x01\x01\x00\x00\xff\xff\xff\xff", ErrorCode.TOO_LARGE),
    ],
)
def test_a_client_that_breaks_the_protocol_is_told_why_and_let_go(
    said: bytes, code: ErrorCode
) -> None:
    async def main() -> None:
        async with lone_node() as node:
            raw = await Raw.connect(node.path)
            raw.writer.write(said)
            heard = [await raw.hear()]
            while heard[-1] is not None:
                heard.append(await raw.hear())
            refusal = heard[-2]
            assert isinstance(refusal, Error)
            assert refusal.code == code
            await raw.close()

    run(main())


def test_a_silent_client_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maculaos.control.server.HANDSHAKE_DEADLINE_S", 0.05)
    assert HANDSHAKE_DEADLINE_S > 1

    async def main() -> None:
        async with lone_node() as node:
            raw = await Raw.connect(node.path)
            refusal = await raw.hear()
            assert isinstance(refusal, Error)
            assert refusal.code == ErrorCode.HANDSHAKE_TIMEOUT
            assert await raw.hear() is None
            await raw.close()

    run(main())


def test_clients_beyond_the_limit_are_refused() -> None:
    async def main() -> None:
        async with lone_node(LimitSettings(clients=1)) as node:
            first = await entered(node)
            second = await Raw.connect(node.path, HELLO)
            refusal = await second.hear()
            assert isinstance(refusal, Error)
            assert refusal.code == ErrorCode.LIMIT_EXCEEDED
            await second.close()
            await first.close()

    run(main())


def test_a_client_that_does_not_read_loses_events_then_its_connection() -> None:
    async def main() -> None:
        async with lone_node(LimitSettings(client_queue_bytes=262_144)) as node:
            slow = await Raw.connect(node.path, HELLO, Watch(1, 1, "t", 1000))
            assert isinstance(await slow.hear(), HandshakeAck)
            assert isinstance(await slow.hear(), RpcResult)
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            quick = await entered(node)
            payload = encode_value(b"x" * 60_000)
            request = 0
            while not node.events_overflowed:
                request += 1
                quick.say(Post(request, "t", (payload,)))
                assert isinstance(await quick.hear(), RpcResult)
            # The bounds of mailbox and socket, and what the kernel holds between the two.
            assert request < 60
            assert node.control.events_dropped == 0
            # What is left for answers fills up too: then there is no way to go on.
            while not node.went:
                slow.say(RpcCall(1, "macula.members", 1000, b"", encode_value(None)))
                await asyncio.sleep(0)
            assert "wait for this client" in node.went[0]
            await quick.close()
            await slow.close()

    run(main())


@pytest.mark.parametrize("goes", [_says_close, _ends_its_stream])
def test_a_client_that_goes_and_does_not_read_is_let_go(
    goes: Callable[[Raw], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maculaos.control.server.FLUSH_DEADLINE_S", 0.05)
    assert FLUSH_DEADLINE_S >= 1

    async def main() -> None:
        async with lone_node(LimitSettings(client_queue_bytes=262_144)) as node:
            slow = await Raw.connect(node.path, HELLO, Watch(1, 1, "t", 1000))
            assert isinstance(await slow.hear(), HandshakeAck)
            assert isinstance(await slow.hear(), RpcResult)
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            quick = await entered(node)
            payload = encode_value(b"x" * 60_000)
            while not node.events_overflowed:
                quick.say(Post(1, "t", (payload,)))
                assert isinstance(await quick.hear(), RpcResult)
            goes(slow)
            try:
                await until(lambda: bool(node.went))
            finally:
                await slow.close()
            assert node.went == ["the client ended the connection"]
            await quick.close()

    run(main())


def test_a_client_that_several_hold_back_is_read_again_when_the_last_lets_go() -> None:
    async def main() -> None:
        async with lone_node() as node:
            held = await entered(node)
            other = await entered(node)
            client = node.control.find(1)
            assert client is not None
            client.pause()
            client.pause()
            client.resume()
            ping = RpcCall(7, "macula.ping", 1000, b"", encode_value(None))
            held.say(ping)
            answer = asyncio.create_task(held.hear())
            for _ in range(10):
                other.say(ping)
                assert isinstance(await other.hear(), RpcResult)
            assert not answer.done()
            client.resume()
            assert isinstance(await answer, RpcResult)
            await other.close()
            await held.close()

    run(main())


def test_closing_says_goodbye_and_leaves_no_file() -> None:
    async def main() -> None:
        async with lone_node() as node:
            raw = await entered(node)
            assert stat.S_IMODE(node.path.stat().st_mode) == 0o600
            await node.control.close()
            goodbye = await raw.hear()
            assert isinstance(goodbye, Close)
            assert goodbye.code == ErrorCode.SHUTTING_DOWN
            assert not node.path.exists()
            await raw.close()

    run(main())


def test_events_reach_whoever_subscribed() -> None:
    async def main() -> None:
        async with lone_node() as node:
            raw = await Raw.connect(
                node.path, HELLO, Watch(1, 1, "t", 10), Post(2, "t", (encode_value([1]),))
            )
            heard = [await raw.hear() for _ in range(4)]
            assert {type(message) for message in heard[1:]} == {Delivery, RpcResult}
            await raw.close()

    run(main())


def test_the_socket_of_a_dead_node_is_replaced(folder: Path) -> None:
    path = folder / "n1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listening = asyncio.run(listen(path, 1))
    listening.close()


def test_the_socket_of_a_living_node_is_left_alone(folder: Path) -> None:
    path = folder / "n1.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen(1)
        with pytest.raises(AlreadyRunning, match="already runs"):
            asyncio.run(listen(path, 1))
    assert path.exists()


def test_two_nodes_that_start_at_once_do_not_both_win(folder: Path) -> None:
    path = folder / "n1.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def both() -> list[object]:
        return [*await asyncio.gather(listen(path, 1), listen(path, 1), return_exceptions=True)]

    found = asyncio.run(both())
    winners = [one for one in found if isinstance(one, socket.socket)]
    for one in winners:
        one.close()
    assert len(winners) == 1
    assert sum(isinstance(one, AlreadyRunning) for one in found) == 1


def test_whoever_looks_at_the_folder_meanwhile_is_waited_for(folder: Path) -> None:
    path = folder / "n1.sock"

    async def main() -> None:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_SH)
        starting = asyncio.create_task(listen(path, 1))
        done, _ = await asyncio.wait([starting], timeout=0.1)
        assert not done
        os.close(handle)
        (await starting).close()

    run(main())


def test_a_path_that_cannot_be_is_refused_with_the_next_move(folder: Path) -> None:
    with pytest.raises(UsageError, match="use a shorter path"):
        asyncio.run(listen(folder / ("x" * MAX_PATH_BYTES), 1))
    (folder / "file").write_text("keep me")
    with pytest.raises(UsageError, match="is no socket; choose another path"):
        asyncio.run(listen(folder / "file", 1))
    with pytest.raises(UsageError, match="create the folder"):
        asyncio.run(listen(folder / "file" / "n1.sock", 1))
    assert (folder / "file").read_text() == "keep me"


def test_a_folder_that_others_can_write_to_is_refused(folder: Path) -> None:
    open_folder = folder / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    with pytest.raises(UsageError, match="chmod go-w"):
        asyncio.run(listen(open_folder / "n1.sock", 1))
