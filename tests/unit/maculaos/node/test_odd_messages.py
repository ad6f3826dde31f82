"""Messages that are sane but for a field or two: none ends the node, or costs its bearer a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct, structs

from bare_node import HI, closed, identity, make_node, met, sent
from eventful_node import LOTS, A, B, C, D, wanting, watching
from maculaos.node.routing import MAX_HOPS
from maculaos.wire.events import (
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
from maculaos.wire.messages import (
    Message,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
    encode_message,
)
from maculaos.wire.table import Routed, Seal
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node import Node

T = TypeVar("T", bound=Struct)

LAST = (1 << 62) - 1
MOST = (1 << 64) - 1

# What a frame can say, and nobody should.
NUMBERS = (0, 1, 3, 4, 16, 17, 255, LAST, LAST + 1, MOST - 1, MOST, -1, -(1 << 63))
NODES = (A, B, C, D, b"", B[:8], B + B, bytes(32), A[:8] + B[:8] + D[:8], b"x", bytes(8 * 1001))
TEXTS = ("", "news.x", "news.*", "**", "a..b", "a*", " ", "x" * 70, "\u00e9" * 255, "add", "g")
HOP = Hop(B, 1)
LONG = encode_value("x" * 5000)
ODD: dict[type, tuple[object, ...]] = {
    int: NUMBERS,
    bool: (False, True),
    str: TEXTS,
    bytes: NODES,
    Raw: (HI, Raw(b"\xc0"), LONG),
    Hop: ((), (HOP,), (HOP,) * 17, (HOP,) * 18, (Hop(b"x" * 5000, MOST),), (Hop(b"", -1),)),
    Wish: ((), (Wish("**"), Wish("news.*", "g", 64)), (Wish("a..b"),), (Wish("a", "g", MOST),)),
}
TUPLES: dict[str, tuple[object, ...]] = {
    "payloads": ((), (HI,), (HI, HI, LONG), (HI,) * 20),
    "trace": ODD[Hop],
    "added": ODD[Wish],
    "removed": ODD[Wish],
    "sequences": ((), (1,), (MOST, -1), tuple(range(2000))),
    "deliveries": ((), (1, 2, 3), (MOST, -1), tuple(range(2000))),
    "taken": ((), (1, 2), (MOST, -1), tuple(range(2000))),
    "methods": ((), ("add", "add"), ("",), ("\u00e9",), ("x" * 300,)),
    "nodes": ((), NODES, (A, B, C)),
    "states": ((), (InterestState(A, LAST, LAST), InterestState(A, 1, 1)),
               (InterestState(D, MOST, -1),), (InterestState(b"", 1, 1),)),
}  # fmt: skip
OF_CALLS: tuple[Message, ...] = (
    RpcCall(1, "add", 1000, b"", HI),
    RpcCall(2, "add", 1000, b"", HI, 0, 2, 5),
    RpcResult(1, HI),
    RpcError(1, 3, "no"),
    RpcRegister(("add",)),
    RpcUnregister(("add",)),
    RpcCancel(1),
    RpcCredit(1, 5),
)
OF_PEERS: tuple[Message, ...] = (
    Events("news.x", B, 5, (HI, HI)),
    Events("news.x", B, 6, (HI, HI), acknowledge=True, life=1, ttl_ms=500),
    Events("news.x", B, 7, (HI, HI), acknowledge=True, life=1, group="g"),
    Events("news.x", B, 8, (HI, HI), group="g"),
    Events("news.x", B, 9, (HI, HI), A[:8] + C[:8] + D[:8], MAX_HOPS),
    Events("news.x", C, 9, (HI, HI), A[:8] + C[:8] + bytes(8), 9, acknowledge=True, life=1),
    Events("news.x", B, 10, (HI,), retain_ms=500),
    Events("news.x", B, 10, (HI,), is_retained=True, retain_ms=500),
    Events("news.x", B, 11, (), A[:8] + C[:8], MAX_HOPS, trace=(HOP,)),
    Receipt((1,)),
    Receipt((1,), trace=(HOP, HOP)),
    Interest(B, 2, 1, (Wish("news.*"),)),
    Interest(A, 2, 1, (Wish("news.*"),)),
    Interest(D, 2, 1, (Wish("**"),)),
    InterestDigest((InterestState(A, 1, 1),)),
    InterestWanted((A, B)),
    *OF_CALLS,
)
OF_CLIENTS: tuple[Message, ...] = (
    Post(1, "news.x", (HI, HI)),
    Post(2, "news.x", (HI, HI), acknowledge=True),
    Post(3, "news.x", (HI, HI), retain_ms=500),
    Post(4, "news.x", (), is_trace=True),
    Watch(5, 5, "news.*", LOTS),
    Watch(6, 6, "news.*", 1, "g", 3, 1),
    Watch(7, 7, "**", 0, "", 3, 3),
    Unwatch(5),
    Taken(5, 5, (1, 2, 3)),
    *OF_CALLS,
)


ENVELOPES = (Routed(A, C, 9, b""), Routed(D, C, 9, b""), Routed(A, B, 16, b""))


@st.composite
def odd(draw: st.DrawFn, sane: tuple[T, ...]) -> T:
    """A message that was sane, but for two of its fields at most."""
    message = draw(st.sampled_from(sane))
    names = [name for name in message.__struct_fields__ if name != "seal"]
    for name in draw(st.sets(st.sampled_from(names), max_size=2)):
        held = getattr(message, name)
        pool = TUPLES[name] if isinstance(held, tuple) else ODD[type(held)]
        message = structs.replace(message, **{name: draw(st.sampled_from(pool))})
    return message


def sayable(effects: list[Effect]) -> list[Effect]:
    """The same, if all of it can be written into frames."""
    for each in effects:
        message: Message | None = getattr(each, "message", None)
        if message is not None:
            encode_message(message)
    return effects


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), odd(OF_PEERS), odd(OF_CLIENTS)), max_size=12))
def test_nothing_that_peers_and_clients_say_ends_the_node(
    said: list[tuple[int, Message, Message]],
) -> None:
    node = watching("b", "c", "d", pending_calls=10)
    node.client_up(2, 0.0)
    wanting(node, 1, "b", Wish("news.*"), Wish("news.*", "g"))
    now = 0.0
    for speaker, from_peer, from_client in said:
        now += 0.3
        sayable(node.receive_from_client(1 + speaker % 2, from_client, now))
        sayable(node.receive(1 + speaker, from_peer, now))
        sayable(node.advance(now))
        assert node.next_deadline() > 0
    sayable(node.client_down(1, now))
    sayable(node.link_down(1, "lost", now))


@settings(max_examples=300, deadline=None)
@given(odd(ENVELOPES), odd(OF_PEERS), odd((Seal(1, 1, 1000, 0, (), b"k", b"s", 0),)), st.booleans())
def test_nothing_in_an_envelope_ends_the_node_or_costs_its_bearer_the_link(
    envelope: Routed, held: Message, seal: Seal, is_sealed: bool
) -> None:
    node = watching("b", "c")
    node.set_wall_clock(1.0, 0.0)
    frame = encode_message(held) if envelope.frame == b"" else envelope.frame
    routed = structs.replace(envelope, frame=frame, seal=seal if is_sealed else None)
    effects = sayable(node.receive(1, routed, 1.0))
    sayable(node.advance(2.0))
    is_framed = len(routed.target) == len(routed.source) == len(A)
    if is_framed and 0 < routed.hops <= MAX_HOPS:
        assert closed(effects) == []


@settings(max_examples=200, deadline=None)
@given(odd(OF_PEERS))
def test_what_an_honest_node_passes_on_never_costs_it_its_link(message: Message) -> None:
    node = watching("b", "c", "d")
    for link, passed in (*sent(node.receive(1, message, 1.0), Events), *heard(node, message)):
        if link == 2:
            assert closed(at_the_next(passed)) == []


def heard(node: Node, message: Message) -> list[tuple[int, Message]]:
    """What a node says of interest when it hears that."""
    return sent(node.receive(1, message, 1.0), Interest)


def at_the_next(message: Message) -> list[Effect]:
    """What node c does with what node a sends it."""
    node = make_node("c")
    node.link_up(1, identity("a"), met("a", is_outbound=True), 0.0)
    return node.receive(1, message, 1.0)
