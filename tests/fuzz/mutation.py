"""Hostile frames: what honest peers say, changed as an attacker would, and plain noise.

Everything is drawn from one ``random.Random``, so that a seed gives the same frames again.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

import msgspec
from msgspec import Raw

from maculaos.identity import node_id_of
from maculaos.wire.events import (
    Delivery,
    Events,
    Hop,
    Interest,
    InterestDigest,
    InterestState,
    InterestWanted,
    Post,
    Receipt,
    Taken,
    Unwatch,
    Watch,
    Wish,
)
from maculaos.wire.fragments import FRAGMENT_HEADER
from maculaos.wire.frames import HEADER, Frame, encode_frame
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    Heartbeat,
    Message,
    Ping,
    Pong,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    Rumour,
    encode_message,
)
from maculaos.wire.registry import FrameFlag, MessageType
from maculaos.wire.table import FindNode, Routed, Seal

_NODE: Final = bytes(range(32))
_RUMOUR: Final = Rumour(_NODE, "n1", ("127.0.0.1:4701", "[::1]:4701"), 3, 1)
# A key, and its node id: only the signature made with it is not there.
_KEY: Final = bytes([88]) + bytes([102]) * 31
_SIGNER: Final = bytes(node_id_of(bytes.fromhex("302a300506032b6570032100") + _KEY))
_VALUE: Final = Raw(msgspec.msgpack.encode({"a": [1, 2.5, None, "text", b"bytes"], "b": {"c": 1}}))
_LONG: Final = Raw(msgspec.msgpack.encode("words that repeat themselves " * 100))
HONEST: Final[tuple[Message, ...]] = (
    Handshake(2, "home", _NODE, "n1", ("127.0.0.1:4701",), "maculaos/0.1.0", 7),
    HandshakeAck(2, "home", _NODE, "n1", (), "maculaos/0.1.0", 7),
    Heartbeat((_RUMOUR,) * 3, True),
    Ping(1, (_RUMOUR,)),
    Pong(2**63, (_RUMOUR,)),
    RpcCall(1, "m.n", 1000, _NODE, _VALUE),
    RpcResult(1, _LONG),
    RpcError(1, 1, "no"),
    RpcRegister(("m.n",)),
    Post(1, "a.b", (_VALUE, _LONG), True, 1000, 1, 5000),
    Watch(2, 3, "a.*.**", 100, "group", 1000, 1),
    Unwatch(3),
    Delivery(4, (3, 5), "a.b", _NODE, 9, (_VALUE, _VALUE, _LONG), True, 100),
    Taken(3, 10, (4, 5, 6)),
    Events("a.b", _NODE, 12, (_VALUE,) * 20, bytes(range(16)), 16, True, "group", 1, 100),
    Events("a.b", _NODE, 12, (_LONG,), b"", 1, trace=(Hop(_NODE, 2**50), Hop(bytes(32), 0))),
    Events("a.b", _SIGNER, 12, (_VALUE, _LONG), public_key=_KEY, signature=bytes(64)),
    Receipt((9, 10, 11), 8, "not taken", (Hop(_NODE, 1),), "group"),
    Interest(_NODE, 2**40, 3, (Wish("a.*"), Wish("b.**", "group")), (Wish("c"),), True),
    InterestDigest((InterestState(_NODE, 2**40, 3),) * 3),
    InterestWanted((_NODE, bytes(32))),
    RpcCall(2, "m.n", 1000, _NODE, _VALUE, 3, 2, 64),
    RpcResult(2, _VALUE, True),
    RpcCancel(2),
    RpcCredit(2, 64),
    FindNode(1, _NODE),
    Routed(_NODE, bytes(32), 16, encode_message(Ping(1))),
    Routed(
        _NODE, _NODE, 16, encode_message(RpcCancel(2)), Seal(1, 2, 3, 4, (5,), _NODE, bytes(64), 6)
    ),
    Error(2, "no such type", 1),
    Close(0, "bye"),
)
# Bytes at which MessagePack changes its mind, and lengths at which counters do.
_EDGES: Final = (
    b"\x00\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc6\xc7\xc9\xcf\xd9\xdb\xdc\xdd\xdf\xff"
)
_LENGTHS: Final = (0, 1, 7, 8, 9, 255, 256, 65_535, 65_536, 16 * 1024 * 1024, 2**31, 2**32 - 1)
_NESTED: Final = b"\x91" * 2000
_BOMB: Final = zlib.compress(bytes(20_000_000), 9)


class Attacker:
    """Makes hostile frames; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._honest = [encode_message(each) for each in HONEST]
        self._ways = (
            self._noise,
            self._flipped,
            self._spliced,
            self._odd_header,
            self._odd_length,
            self._compressed,
            self._fragment,
            self._nested,
            self._truncated,
            self._honest_frame,
        )

    def frame(self) -> bytes:
        """The next hostile frame."""
        return self._rng.choice(self._ways)()

    def coin(self, chance: float) -> bool:
        """True with that chance."""
        return self._rng.random() < chance

    def _honest_frame(self) -> bytes:
        return self._rng.choice(self._honest)

    def _noise(self) -> bytes:
        return self._rng.randbytes(self._rng.randrange(64))

    def _flipped(self) -> bytes:
        frame = bytearray(self._honest_frame())
        for _ in range(self._rng.randint(1, 6)):
            at = self._rng.randrange(HEADER.size, len(frame))
            frame[at] = self._rng.choice((self._rng.choice(_EDGES), self._rng.randrange(256)))
        return bytes(frame)

    def _spliced(self) -> bytes:
        one, two = self._body(), self._body()
        body = one[: self._rng.randrange(len(one) + 1)] + two[self._rng.randrange(len(two) + 1) :]
        return self._framed(body, 0)

    def _odd_header(self) -> bytes:
        frame = bytearray(self._honest_frame())
        frame[self._rng.randrange(4)] = self._rng.randrange(256)
        return bytes(frame)

    def _odd_length(self) -> bytes:
        frame = bytearray(self._honest_frame())
        struct.pack_into(">I", frame, 4, self._rng.choice(_LENGTHS))
        return bytes(frame)

    def _compressed(self) -> bytes:
        body = self._rng.choice((zlib.compress(self._body(), 1), self._body()))
        if self.coin(0.01):
            body = _BOMB
        if self._rng.randrange(3) == 0:
            body = body[: self._rng.randrange(len(body) + 1)]
        return self._framed(body, FrameFlag.COMPRESSED)

    def _fragment(self) -> bytes:
        size = self._rng.choice((0, 1, 1023, 1024, 3000))
        total = self._rng.choice((*_LENGTHS, 2 * size, size))
        header = FRAGMENT_HEADER.pack(self._rng.randrange(3), total)
        body = header[: self._rng.choice((8, 8, 8, 3))] + self._rng.randbytes(size)
        flags = FrameFlag.FRAGMENTED | self._rng.choice((0, FrameFlag.COMPRESSED, 4))
        return self._framed(body, flags)

    def _nested(self) -> bytes:
        return self._framed(self._body()[:4] + _NESTED, 0)

    def _truncated(self) -> bytes:
        body = self._body()
        return self._framed(body[: self._rng.randrange(len(body))], 0)

    def _body(self) -> bytes:
        return self._honest_frame()[HEADER.size :]

    def _framed(self, body: bytes, flags: int) -> bytes:
        kind = self._rng.choice((*MessageType, self._rng.randrange(256)))
        return encode_frame(Frame(kind, body, flags))
