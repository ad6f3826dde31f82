"""Traces: the hops that an event of a topic takes to each subscriber's node, and when.

A traced run goes the way of others and is delivered to nobody; every node on the way adds itself,
with the time by its own clock. The clocks of nodes differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, SendToClient
from maculaos.identity import NODE_ID_SIZE, NodeId
from maculaos.wire.events import Events, Hop
from maculaos.wire.messages import RpcResult
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.swim.members import Members
    from maculaos.swim.rumour import Rumour
    from maculaos.wire.values import Value

# How long the receipts of all targets are waited for, in seconds, if the client says nothing.
_WAIT_S: Final = 4.0
#: At one time.
MAX_TRACES: Final = 256
# A run travels over at most 16 links.
MAX_TRACE: Final = 18


@dataclass(slots=True)
class _Trace:
    asked: tuple[int, int]
    until: float
    waits_for: dict[NodeId, None]
    routes: dict[NodeId, tuple[Hop, ...]] = field(default_factory=dict)


class Traces:
    """The traces that clients of this node wait for; times are monotonic seconds."""

    def __init__(self, me: Rumour, members: Members) -> None:
        self._me = me
        self._members = members
        self._waiting: dict[int, _Trace] = {}
        # What is to be added to the monotonic clock for the time since the epoch.
        self._wall_offset = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether as many traces are under way as may be."""
        return len(self._waiting) >= MAX_TRACES

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch."""
        self._wall_offset = wall - now

    def here(self, now: float) -> Hop:
        """This node, at this time."""
        return Hop(self._me.node_id, round((self._wall_offset + now) * 1_000_000))

    def extended(self, run: Events, now: float) -> tuple[Hop, ...]:
        """The trace of a run that came here; empty for one that no honest node makes.

        Whoever brings it is not blamed: it grows on its way, and an honest node may have added the
        hop that was one too many.
        """
        if not is_sound(run.trace) or len(run.trace) >= MAX_TRACE:
            return ()
        return (*run.trace, self.here(now))

    def begin(
        self,
        asked: tuple[int, int],
        sequence: int,
        targets: Iterable[NodeId],
        ttl_ms: int,
        now: float,
    ) -> list[Effect]:
        """Wait for these targets of a traced run, for a client and the number of its request.

        There is room: ``is_full`` was asked before the run was sent.
        """
        wait_s = ttl_ms / 1000 if ttl_ms else _WAIT_S
        waits_for = dict.fromkeys(targets)
        trace = self._waiting[sequence] = _Trace(asked, now + wait_s, waits_for)
        if self._me.node_id in waits_for:
            trace.routes[self._me.node_id] = (self.here(now),)
        return self._answered(sequence, trace)

    def receipt(self, source: NodeId, sequence: int, hops: tuple[Hop, ...]) -> list[Effect]:
        """A target tells over which nodes a run came."""
        trace = self._waiting.get(sequence)
        if trace is None or source not in trace.waits_for or not is_sound(hops):
            return []
        trace.routes[source] = hops
        return self._answered(sequence, trace)

    def advance(self, now: float) -> list[Effect]:
        """Answer with what is there when the time is over."""
        effects: list[Effect] = []
        for sequence, trace in list(self._waiting.items()):
            if trace.until <= now:
                effects += self._answer(sequence, trace)
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min((trace.until for trace in self._waiting.values()), default=math.inf)

    def _answered(self, sequence: int, trace: _Trace) -> list[Effect]:
        is_complete = len(trace.routes) == len(trace.waits_for)
        return self._answer(sequence, trace) if is_complete else []

    def _answer(self, sequence: int, trace: _Trace) -> list[Effect]:
        del self._waiting[sequence]
        client, request = trace.asked
        routes: list[Value] = [
            {
                "node": self._name(node),
                "hops": [self._told(hop) for hop in trace.routes.get(node, ())],
            }
            for node in trace.waits_for
        ]
        return [SendToClient(client, RpcResult(request, encode_value(routes)))]

    def _told(self, hop: Hop) -> Value:
        return {"node": self._name(hop.node), "at_us": hop.at_us}

    def _name(self, node: bytes) -> str:
        if node == self._me.node_id:
            return self._me.name
        member = self._members.get(NodeId(node))
        return bytes(node).hex()[:16] if member is None else member.name


def is_sound(trace: tuple[Hop, ...]) -> bool:
    """Whether these are hops of nodes, and not too many."""
    return len(trace) <= MAX_TRACE and all(len(hop.node) == NODE_ID_SIZE for hop in trace)
