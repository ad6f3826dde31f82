"""Which messages a dialler may say before it has the answer to its HANDSHAKE."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from maculaos.wire.events import Events, Interest
from maculaos.wire.messages import (
    Heartbeat,
    Message,
    Ping,
    Pong,
    RpcCall,
    may_travel_early,
)

NOTHING = Raw(msgspec.msgpack.encode(None))


@pytest.mark.parametrize("message", [Ping(1), Heartbeat((), wants_reply=True)])
def test_what_is_the_same_twice_may_travel_early(message: Message) -> None:
    assert may_travel_early(message)


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(()),
        Pong(1),
        Interest(bytes(32), 1, 1, ()),
        Events("a", bytes(32), 1, (NOTHING,)),
        RpcCall(1, "a", 10, bytes(32), NOTHING),
    ],
)
def test_what_counts_each_time_must_wait(message: Message) -> None:
    assert not may_travel_early(message)
