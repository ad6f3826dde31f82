"""Calls that come to a node in letters, by hand; for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bare_node import HI, identity
from letter_parts import WALL, only_routed
from maculaos.kademlia.methods import method_key
from maculaos.node.relay import Arrived
from maculaos.settings import LimitSettings
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import Message, RpcCall, decode_message
from maculaos.wire.registry import Answering
from node_parts import cores_of, found_by, names, node_id, settings_of
from simulation.hosts import LetterSealOf

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node.cores import Cores
    from maculaos.node.letters import Letters
    from maculaos.wire.table import Routed


def provider_of(pending_calls: int = 100) -> Cores:
    """Node ``me`` with client 2 that answers add; linked with m0 and m1, it knows ten members."""
    settings = replace(settings_of(), limits=LimitSettings(pending_calls=pending_calls))
    cores = cores_of(("m0", "m1"), names(10)[2:], settings)
    cores.paths.letters.seal = LetterSealOf(identity("me"))
    cores.calls.set_wall_clock(WALL, 0.0)
    cores.calls.offers.register(2, ("add",), 0)
    return cores


def written(writer: Letters, message: RpcCall, now: float) -> Routed:
    """A letter to ``me``."""
    return only_routed(writer.send(node_id("me"), message, now, now + 60.0))


def brought(
    cores: Cores, routed: Routed, message: Message, now: float, link: int = 1
) -> list[Effect]:
    """It comes to ``me`` over that link."""
    over = cores.links.get(link)
    assert over is not None
    source = next(node_id(name) for name in names(10) if node_id(name) == routed.source)
    return cores.calls.read(Arrived(source, message, over, routed), now)


def held_by(routed: Routed) -> Message:
    """What is in an envelope."""
    (frame,) = FrameReader().feed(routed.frame)
    return decode_message(frame)


def streamed_from(cores: Cores, provider: str, number: int) -> RpcCall:
    """A stream of sub, asked for under that number by client 2, as its letter says it."""
    asked = RpcCall(number, "sub", 9000, b"", HI, answering=Answering.STREAM, credit=64)
    assert cores.calls.call(2, asked, 10.0) == []
    (search,) = cores.calls._seeking._methods
    found = found_by(search, method_key("sub"), provider)
    handed = held_by(only_routed(cores.calls.found(found, 10.0)))
    assert isinstance(handed, RpcCall)
    return handed
