"""Bodies of publish/subscribe: what clients ask, what travels between nodes, and interest.

They follow the rules of ``messages``: MessagePack arrays whose fields are only ever appended.
Events travel in runs: payloads of one topic and one publisher, one after the other.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

from maculaos.wire.registry import DEFAULT_PRIORITY

# So many bytes of a node id name a target: members with equal ones are told apart by the whole.
TARGET_SIZE: Final = 8
# A day: times to live, and to keep.
MAX_TIME_MS: Final = 86_400_000
# Arrays are bounded where they are decoded, by their headers alone: an item takes a byte or two of
# a frame, and of memory up to a hundred times as much.
MAX_PAYLOADS: Final = 10_000
# Runs that are under way to one target come to less.
MAX_SEQUENCES: Final = 4096
# A run travels over at most 16 links.
MAX_TRACE: Final = 18
# What one node may want has 8 MiB, and no wish counts less than 11 bytes.
MAX_WISHES: Final = 8 * 1024 * 1024 // 11
# ``limits`` allows so many subscriptions, and members besides the node itself. Of runs that it did
# not confirm a client has fewer in its hands, unless its queue has more than 256 MB.
MAX_SUBSCRIPTIONS: Final = 1_000_000
MAX_NODES: Final = 1_000_001
_NODE_ID_SIZE: Final = 32

Payloads: TypeAlias = Annotated[tuple[Raw, ...], Meta(max_length=MAX_PAYLOADS)]
Numbers: TypeAlias = Annotated[tuple[int, ...], Meta(max_length=MAX_SUBSCRIPTIONS)]
# Their size makes sure that a frame holds no more of them than it has bytes for.
NodeIdBytes: TypeAlias = Annotated[bytes, Meta(min_length=_NODE_ID_SIZE, max_length=_NODE_ID_SIZE)]


class Post(Struct, frozen=True, array_like=True):
    """A client asks its node to publish these, in this order, to one topic."""

    # Answered by RPC_RESULT (how many nodes have subscribers, and how many of them confirmed)
    # or RPC_ERROR. 0: no answer is wanted.
    request: int
    topic: str
    payloads: Payloads
    # Answer only when every subscriber has taken them, or with what is in the way.
    acknowledge: bool = False
    # Kept for whoever subscribes within so many milliseconds; 0: not kept.
    retain_ms: int = 0
    # 0 (urgent) to 3 (low).
    priority: int = DEFAULT_PRIORITY
    # Worthless after so many milliseconds; 0: never.
    ttl_ms: int = 0
    # Not delivered: every node on the way says when it had it.
    is_trace: bool = False


class Watch(Struct, frozen=True, array_like=True):
    """A client wants events; answered by RPC_RESULT or RPC_ERROR of that request number."""

    request: int
    # Chosen by the client, for this connection.
    subscription: int
    # A topic, or a pattern with ``*`` (one segment) and a last ``**`` (the rest).
    pattern: str
    # How many events it may be sent before it says TAKEN.
    credit: int
    # Subscribers of one group share events: each goes to one of them.
    group: str = ""
    # How many events may wait in the node beyond that, and what gives way then: see ``Policy``.
    queue: int = 1000
    policy: int = 0


class Unwatch(Struct, frozen=True, array_like=True):
    """A client wants the events of that subscription no more."""

    subscription: int


class Delivery(Struct, frozen=True, array_like=True):
    """Events for subscriptions of a client."""

    # The client says TAKEN of this number once its program is through with them; 0: it need not.
    number: int
    subscriptions: Numbers
    topic: str
    publisher: bytes
    # Of the first payload; the others follow one by one.
    sequence: int
    payloads: Payloads
    # Published before this subscription was there.
    is_retained: bool = False
    # So many milliseconds are left to them; 0: for ever.
    ttl_ms: int = 0


class Taken(Struct, frozen=True, array_like=True):
    """A client's program is through with events."""

    subscription: int
    # So many events more may be sent for that subscription.
    credit: int
    # The numbers of deliveries of which every event was taken.
    deliveries: Numbers = ()


class Hop(Struct, frozen=True, array_like=True):
    """Where a traced event was, and when: microseconds since the epoch, by that node's clock."""

    node: bytes
    at_us: int


Trace: TypeAlias = Annotated[tuple[Hop, ...], Meta(max_length=MAX_TRACE)]


class Events(Struct, frozen=True, array_like=True):
    """Published events of one topic on their way to subscribers, between nodes."""

    topic: str
    publisher: bytes
    # Of the first payload; the others follow one by one.
    sequence: int
    payloads: Payloads
    # Whom they are for: node ids, the first 8 bytes of each. Empty: for who gets them.
    targets: bytes = b""
    # So many more links they may travel.
    hops: int = 0
    # Every target says RECEIPT to the publisher.
    acknowledge: bool = False
    # The shared subscription that this copy is for, if it is for one.
    group: str = ""
    priority: int = DEFAULT_PRIORITY
    ttl_ms: int = 0
    is_retained: bool = False
    # Not empty: a trace; every node adds itself.
    trace: Trace = ()
    # Of the publisher, if it signs; see ``wire.signatures``.
    public_key: bytes = b""
    signature: bytes = b""
    # Of an acknowledged run: the sequence of the run sent before it on the way to these targets,
    # 0 if there is none to wait for; and a number that the publisher draws at every start.
    after: int = 0
    life: int = 0
    # Targets keep the last payload for so many milliseconds; 0: they do not.
    retain_ms: int = 0


class Receipt(Struct, frozen=True, array_like=True):
    """A target to the publisher: these runs were taken by every subscriber there, or refused."""

    # The sequence numbers of runs, each of its first payload. None: one before is missing.
    sequences: Annotated[tuple[int, ...], Meta(max_length=MAX_SEQUENCES)]
    # 0, or why not (``RpcErrorCode``).
    code: int = 0
    detail: str = ""
    trace: Trace = ()
    # The group whose copy is meant.
    group: str = ""
    # Not taken yet, but with the subscribers: it need not be sent again soon.
    is_under_way: bool = False
    # Every run sent to that target, group and priority up to this number was taken.
    through: int = 0
    # Of the runs: each priority keeps an order of its own.
    priority: int = DEFAULT_PRIORITY
    # With NO_PROVIDER: so many milliseconds ago the target began its life.
    up_ms: int = 0


class Wish(Struct, frozen=True, array_like=True, gc=False):
    """Somebody on a node wants events of that pattern, shared within ``group`` if it has one."""

    pattern: str
    group: str = ""
    # How many subscriptions share there: so often it is the node's turn.
    weight: int = 1


Wishes: TypeAlias = Annotated[tuple[Wish, ...], Meta(max_length=MAX_WISHES)]


class Interest(Struct, frozen=True, array_like=True):
    """What the clients of one node want, flooded over links: link state (RFC 2328, 13).

    A change of version ``n`` applies to version ``n - 1``; with ``is_whole`` it replaces all.
    """

    node: bytes
    # Drawn at every start of that node, rising.
    life: int
    version: int
    added: Wishes
    removed: Wishes = ()
    is_whole: bool = False


class InterestState(Struct, frozen=True, array_like=True, gc=False):
    """Which version of whose interest the sender has."""

    node: NodeIdBytes
    life: int
    version: int


class InterestDigest(Struct, frozen=True, array_like=True):
    """What the sender knows of interest, said when a link is up and now and then afterwards."""

    states: Annotated[tuple[InterestState, ...], Meta(max_length=MAX_NODES)]


class InterestWanted(Struct, frozen=True, array_like=True):
    """The sender misses the whole interest of these nodes."""

    nodes: Annotated[tuple[NodeIdBytes, ...], Meta(max_length=MAX_NODES)]
