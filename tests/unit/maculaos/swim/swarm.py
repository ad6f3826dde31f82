"""Many membership cores on a random regular graph, in one thread and virtual time; no nodes.

The same seed gives the same run. Every message may be lost, also those that a stream would carry:
harder than life. A dead node falls silent, and its links are given up after an idle timeout.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from maculaos.identity import NodeId
from maculaos.settings import SwimSettings
from maculaos.swim.membership import Membership
from maculaos.swim.requests import (
    MemberChanged,
    Request,
    SendDigest,
    SendNack,
    SendPing,
    SendPingRequest,
    SendPong,
    SendRelayedPing,
    SendState,
)
from maculaos.swim.rumour import Health, Rumour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IDLE_TIMEOUT_S = 10.0


@dataclass
class _RelayedPong:
    """What the nodes between bring back."""

    to: NodeId
    sequence: int


def rumour_of(number: int, incarnation: int = 0) -> Rumour:
    """What the node of that number says of itself at first."""
    node_id = NodeId(hashlib.sha256(str(number).encode()).digest())
    return Rumour(incarnation, Health.ALIVE, (f"10.0.0.1:{number + 1}",), f"n{number}", node_id)


@dataclass
class Swarm:
    """``size`` nodes with ``degree`` links each (all, if there are no more); times in seconds."""

    size: int
    seed: int
    degree: int = 6
    loss: float = 0.0
    latency_s: tuple[float, float] = (0.001, 0.020)
    settings: SwimSettings = field(default_factory=SwimSettings)
    limit: int = 20_000

    def __post_init__(self) -> None:
        self.now = 0.0
        self.sent = 0
        self.sent_rumours = 0
        self.sent_by_kind: dict[str, int] = {}
        # (when, by whom, what it changed to): every change of health of another.
        self.deaths: list[tuple[float, int, Rumour]] = []
        self.suspicions: list[tuple[float, int, Rumour]] = []
        self.on_change: Callable[[int, MemberChanged], None] | None = None
        self.is_cut: Callable[[int, int], bool] | None = None
        self.rng = random.Random(self.seed)
        self.me = [rumour_of(number) for number in range(self.size)]
        self.number_of = {me.node_id: number for number, me in enumerate(self.me)}
        self.links: list[dict[int, None]] = [{} for _ in range(self.size)]
        self.dead: dict[int, None] = {}
        self._heap: list[tuple[float, int, int, Any, Any]] = []
        self._events = 0
        self._wakes = [0.0] * self.size
        self.nodes = [self._made(number) for number in range(self.size)]
        self._kinds: dict[type, Callable[[Membership, NodeId, Any], list[Request]]] = {
            SendPing: lambda n, s, m: n.hear_ping(s, m.sequence, m.rumours, self.now),
            SendPong: lambda n, s, m: n.hear_pong(s, m.sequence, m.rumours, self.now),
            _RelayedPong: lambda n, s, m: n.hear_relayed_pong(s, m.sequence, self.now),
            SendPingRequest: lambda n, s, m: n.hear_ping_request(s, m.sequence, m.target, self.now),
            SendNack: lambda n, s, m: n.hear_nack(s, m.sequence),
            SendDigest: lambda n, s, m: n.hear_digest(s, m.members, m.total, m.buckets, self.now),
            SendState: lambda n, s, m: n.hear_state(
                s, m.rumours, m.wants_reply, m.buckets, self.now
            ),
        }

    def _made(self, number: int) -> Membership:
        rng = random.Random(self.rng.random())
        return Membership(self.me[number], self.settings, self.limit, rng, self.now)

    def acquaint(self) -> None:
        """Everybody knows everybody already, and has told it."""
        for number, node in enumerate(self.nodes):
            node.hear([each for each in self.me if each is not self.me[number]], self.now)

    def connect(self) -> None:
        """Link all along random rings: the links of a regular graph (Law and Siu, 2003)."""
        if self.size <= self.degree + 1:
            pairs = [(a, b) for a in range(self.size) for b in range(a)]
        else:
            pairs = []
            for _ in range(self.degree // 2):
                ring = list(range(self.size))
                self.rng.shuffle(ring)
                pairs += list(zip(ring, ring[1:] + ring[:1], strict=True))
        for one, other in pairs:
            self.link(one, other)

    def link(self, one: int, other: int) -> None:
        """Bring up a link."""
        if other in self.links[one]:
            return
        self.links[one][other] = self.links[other][one] = None
        self.carry(one, self.nodes[one].peer_up(self.me[other], self.now))
        self.carry(other, self.nodes[other].peer_up(self.me[one], self.now))

    def unlink(self, one: int, other: int, *, is_lost: bool = True) -> None:
        """Take a link down."""
        if other not in self.links[one]:
            return
        del self.links[one][other], self.links[other][one]
        for near, far in ((one, other), (other, one)):
            if near not in self.dead:
                node, node_id = self.nodes[near], self.me[far].node_id
                self.carry(near, node.peer_down(node_id, self.now, is_lost=is_lost))

    def kill(self, number: int) -> None:
        """``kill -9``: silence, and the end of its links after the idle timeout."""
        self.dead[number] = None
        for peer in list(self.links[number]):
            self.later(IDLE_TIMEOUT_S, partial(self.unlink, number, peer))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after that time."""
        self._push(self.now + seconds, -1, None, action)

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to ``deadline``."""
        heap = self._heap
        while heap and heap[0][0] <= deadline:
            self.now, _, number, sender, what = heapq.heappop(heap)
            if number < 0:
                what()
            elif number in self.dead:
                continue
            elif sender is None:
                if self._wakes[number] == self.now:
                    self._wakes[number] = 0.0
                    self.carry(number, self.nodes[number].advance(self.now))
            elif type(what) is SendRelayedPing:
                self._send(number, _RelayedPong(self.me[sender].node_id, what.sequence))
            elif sender in self.links[number] or type(what) is _RelayedPong:
                node_id = self.me[sender].node_id
                handle = self._kinds[type(what)]
                self.carry(number, handle(self.nodes[number], node_id, what))
        self.now = deadline

    def run_until_true(self, holds: Callable[[], bool], within_s: float) -> float:
        """Run until ``holds``, looked at every 50 ms; return how long it took."""
        started = self.now
        while not holds():
            assert self.now < started + within_s, f"not within {within_s} s, seed {self.seed}"
            self.run_until(self.now + 0.05)
        return self.now - started

    def carry(self, number: int, requests: Iterable[Request]) -> None:
        """Send what a node wants sent, note what it notes, and wake it when it wants."""
        for request in requests:
            if type(request) is MemberChanged:
                self._note(number, request)
            elif hasattr(request, "to"):
                self._send(number, request)
        self._sleep(number)

    def living(self) -> list[int]:
        """The nodes that were not killed."""
        return [number for number in range(self.size) if number not in self.dead]

    def health(self, seen_by: int, number: int) -> Health | None:
        """How one node sees another."""
        member = self.nodes[seen_by].members.get(self.me[number].node_id)
        return None if member is None else member.health

    def all_see(self, number: int, *healths: Health | None) -> bool:
        """Whether every living node, but itself, sees that one so."""
        node_id = self.me[number].node_id
        for each in self.living():
            member = self.nodes[each].members.get(node_id)
            if each != number and (member.health if member else None) not in healths:
                return False
        return True

    def is_whole(self) -> bool:
        """Whether all the living hold the same view, and each other alive."""
        wanted = {self.me[number].node_id for number in self.living()}
        digests = set()
        for number in self.living():
            node = self.nodes[number]
            digests.add(node.members.digest.total)
            if node.members.count_present() + 1 != len(wanted):
                return False
        return len(digests) == 1

    def false_deaths(self) -> list[tuple[float, int, Rumour]]:
        """Deaths of living nodes that somebody believed."""
        gone = {self.me[number].node_id for number in self.dead}
        return [each for each in self.deaths if each[2].node_id not in gone]

    def _note(self, number: int, change: MemberChanged) -> None:
        if change.after.health is Health.DEAD:
            self.deaths.append((self.now, number, change.after))
        elif change.after.health is Health.SUSPECT:
            self.suspicions.append((self.now, number, change.after))
        if self.on_change is not None:
            self.on_change(number, change)

    def _send(self, number: int, request: Any) -> None:
        target = self.number_of[request.to]
        self.sent += 1
        kind = type(request).__name__
        self.sent_by_kind[kind] = self.sent_by_kind.get(kind, 0) + 1
        self.sent_rumours += len(getattr(request, "rumours", ()))
        if self.loss and self.rng.random() < self.loss:
            return
        if self.is_cut is not None and self.is_cut(number, target):
            return
        if isinstance(request, SendRelayedPing | _RelayedPong) and not self._joined(number, target):
            return
        low, high = self.latency_s
        self._push(self.now + low + (high - low) * self.rng.random(), target, number, request)

    def _joined(self, one: int, other: int) -> bool:
        """Whether links of the living lead from one node to another."""
        seen, waiting = {one: None}, [one]
        while waiting:
            for peer in self.links[waiting.pop()]:
                if peer not in seen and peer not in self.dead:
                    seen[peer] = None
                    waiting.append(peer)
        return other in seen

    def _sleep(self, number: int) -> None:
        due = max(self.now, self.nodes[number].next_deadline())
        if due != self._wakes[number] and due < 1e9:
            self._wakes[number] = due
            self._push(due, number, None, None)

    def _push(self, when: float, number: int, sender: int | None, what: Any) -> None:
        self._events += 1
        heapq.heappush(self._heap, (when, self._events, number, sender, what))
