"""A node that plays what a test tells it to, at the seam of the client: ``Transport``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from maculaos.client import Mesh, NodeUnreachable
from maculaos.wire.events import Delivery, Post, Watch
from maculaos.wire.messages import HandshakeAck, RpcCall, RpcError, RpcResult
from maculaos.wire.values import Value, encode_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.client.transport import Receiver
    from maculaos.wire.messages import Message

PUBLISHER = bytes(range(32))
NOTHING = encode_value(None)
M = TypeVar("M")


class StageNode:
    """Hears what a program says, and answers at once what it is not told to leave open."""

    def __init__(self) -> None:
        self.ack = HandshakeAck(2, "home", PUBLISHER, "n1", (), "test")
        self.is_full = False
        self.is_up = True
        self.is_closed = False
        # Kinds of messages that are left unanswered.
        self.leaves_open: tuple[type, ...] = ()
        self.said: list[Message] = []
        self.opened = 0
        #: Set when a program has connected since the last ``fall``.
        self.connected = asyncio.Event()
        self._receiver: Receiver

    async def open(self, receiver: Receiver) -> StageNode:
        """See ``Opener``."""
        if not self.is_up:
            raise NodeUnreachable("no node on the stage")
        self.opened += 1
        self.connected.set()
        self._receiver = receiver
        return self

    def send(self, message: Message) -> None:
        """See ``Transport.send``."""
        self.said.append(message)
        if not isinstance(message, self.leaves_open):
            self._answer(message)

    async def close(self) -> None:
        """See ``Transport.close``."""
        self.is_closed = True

    def heard(self, kind: type[M]) -> list[M]:
        """What was said of that kind since this was asked last."""
        found: list[M] = [each for each in self.said if isinstance(each, kind)]
        self.said = [each for each in self.said if not isinstance(each, kind)]
        return found

    def tell(self, message: Message) -> None:
        """Say something to the program."""
        self._receiver.take(message)

    def deliver(
        self, *values: Value, number: int = 0, subscriptions: tuple[int, ...] = (1,), first: int = 1
    ) -> None:
        """Hand out events of the topic t."""
        payloads = tuple(map(encode_value, values))
        self.tell(Delivery(number, subscriptions, "t", PUBLISHER, first, payloads))

    def make_room(self) -> None:
        """Be full no more."""
        self.is_full = False
        self._receiver.room()

    def fall(self, *, for_good: bool = False) -> None:
        """Be gone, until ``is_up`` is set again if ``for_good``."""
        self.is_up = not for_good
        self.connected.clear()
        self._receiver.lost("it fell")

    def _answer(self, message: Message) -> None:
        if isinstance(message, Post) and message.request:
            confirmed = 2 if message.acknowledge else 0
            self.tell(RpcResult(message.request, encode_value([2, confirmed])))
        elif isinstance(message, Watch):
            self.tell(RpcResult(message.request, NOTHING))
        elif isinstance(message, RpcCall) and message.answering != 1:
            if message.method.startswith("macula."):
                self.tell(RpcResult(message.call, NOTHING))
            else:
                self.tell(RpcError(message.call, 1, f"nobody answers {message.method}"))


def on_stage(play: Callable[[StageNode, Mesh], Awaitable[None]], *, reconnect: bool = True) -> None:
    """Run ``play`` with a node and a program that is connected to it; no task is left over."""

    async def main() -> None:
        node = StageNode()
        async with asyncio.timeout(20):
            mesh = Mesh(node.open, "on the stage", reconnect=reconnect)
            await mesh.begin(0.0)
            try:
                await play(node, mesh)
            finally:
                await mesh.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def turn(count: int = 1) -> None:
    """Let the loop come round."""
    for _ in range(count):
        await asyncio.sleep(0)
