"""What tests of links over the loopback interface share: a deadline, nodes, small messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from maculaos.settings import LinkSettings
from maculaos.wire.events import Events
from maculaos.wire.registry import StreamClass
from mesh_peers import node

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager

    from credentials import RealmFolder
    from mesh_peers import Node

# For who must notice silence: short, yet a handshake fits in on a busy machine.
QUICK = LinkSettings(handshake_timeout_s=0.5)
# For who never gets an answer.
AT_ONCE = LinkSettings(handshake_timeout_s=0.1)
CONTROL, MESSAGES, BULK = StreamClass.CONTROL, StreamClass.MESSAGES, StreamClass.BULK


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run ``test`` with a deadline; it leaves no task, and no callback of the loop fails."""
    failures: list[dict[str, Any]] = []

    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, failure: failures.append(failure))
        async with asyncio.timeout(50):
            await test
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert failures == []

    asyncio.run(bounded())


def open_node(realm: RealmFolder, name: str, **changes: Any) -> AbstractAsyncContextManager[Node]:
    """A recording node with good credentials; ``changes`` are for its settings."""
    return node(realm.node_settings(name, **changes), realm.credentials(name))


def event(payload: bytes, sequence: int = 1) -> Events:
    """An event that carries ``payload``."""
    return Events("topic", bytes(32), sequence, (Raw(msgspec.msgpack.encode(payload)),))
