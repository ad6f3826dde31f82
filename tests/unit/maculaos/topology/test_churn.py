"""A realm under churn whose members learn of it late: the graph of links stays connected.

Every node runs its own decider, in virtual time. Whoever joins or crashes is known to each other
node after a delay of its own; a dial takes a while, and one to a crashed node comes to nothing.
A larger realm: ``TOPOLOGY_NODES=1000 TOPOLOGY_MINUTES=10 pytest -s`` on this file; it prints what
it measured.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from maculaos.identity import NodeId
from maculaos.topology.measure import measure
from maculaos.topology.neighbours import Neighbours, Want
from maculaos.topology.settings import TopologySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maculaos.topology.neighbours import Request

SETTINGS = TopologySettings()
NEWS_S_MAX = 8.0
DIAL_S = 0.05
DIAL_TIMEOUT_S = 3.0


class Realm:
    """Many deciders, their links, and one queue of what is to happen when."""

    def __init__(self, count: int, seed: int, churn_per_s: float) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.nodes: dict[NodeId, Neighbours] = {}
        self.links: dict[NodeId, dict[NodeId, None]] = {}
        self.opened = self.closed = 0
        self._churn_per_s = churn_per_s
        self._turn = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._woken: dict[NodeId, float] = {}
        first = [self._new_id() for _ in range(count)]
        for node_id in first:
            self._start(node_id, first)

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._due)
            happen()
        self.now = until

    def begin_churn(self) -> None:
        self._later(self.rng.expovariate(self._churn_per_s), self._churn)

    def graph(self) -> dict[NodeId, list[NodeId]]:
        return {node_id: list(near) for node_id, near in self.links.items()}

    def _churn(self) -> None:
        crashed = self.rng.choice(list(self.nodes))
        self._crash(crashed)
        joined = self._new_id()
        contact = self.rng.choice(list(self.nodes))
        self._start(joined, [*self.nodes[contact].rings])
        for other in list(self.nodes):
            self._tell(other, lambda node, now: node.member_up(joined, now))
        self.begin_churn()

    def _crash(self, node_id: NodeId) -> None:
        del self.nodes[node_id]
        peers = self.links.pop(node_id)
        for other in peers:
            del self.links[other][node_id]
            self._later(DIAL_TIMEOUT_S, lambda o=other: self._link_down(o, node_id))  # type: ignore[misc]
        for other in list(self.nodes):
            self._tell(other, lambda node, now: node.member_down(node_id, now))

    def _link_down(self, node_id: NodeId, other: NodeId) -> None:
        if node_id in self.nodes:
            self._do(node_id, self.nodes[node_id].link_down(other, self.now))

    def _start(self, node_id: NodeId, known: Iterable[NodeId]) -> None:
        node = Neighbours(node_id, "home", SETTINGS, 10_000, random.Random(self.rng.random()))
        self.nodes[node_id] = node
        self.links[node_id] = {}
        for other in known:
            node.member_up(other, self.now)
        self._do(node_id, [])

    def _tell(self, node_id: NodeId, what: Callable[[Neighbours, float], None]) -> None:
        def hear() -> None:
            if node_id in self.nodes:
                what(self.nodes[node_id], self.now)
                self._do(node_id, [])

        self._later(self.rng.uniform(0, NEWS_S_MAX), hear)

    def _do(self, node_id: NodeId, requests: list[Request]) -> None:
        for request in requests:
            if isinstance(request, Want):
                self._dial(node_id, request.node_id)
            elif request.node_id in self.links[node_id]:
                self._close(node_id, request.node_id)
        deadline = self.nodes[node_id].next_deadline()
        if deadline < self._woken.get(node_id, float("inf")):
            self._woken[node_id] = deadline
            self._later(deadline - self.now, lambda: self._wake(node_id, deadline))

    def _wake(self, node_id: NodeId, deadline: float) -> None:
        if self._woken.get(node_id) == deadline:
            del self._woken[node_id]
            if node_id in self.nodes:
                self._do(node_id, self.nodes[node_id].advance(self.now))

    def _dial(self, node_id: NodeId, other: NodeId) -> None:
        wait_s = DIAL_S if other in self.nodes else DIAL_TIMEOUT_S
        self._later(wait_s, lambda: self._dialled(node_id, other))

    def _dialled(self, node_id: NodeId, other: NodeId) -> None:
        if node_id not in self.nodes or other in self.links[node_id]:
            return
        if other not in self.nodes:
            self._do(node_id, self.nodes[node_id].unreachable(other, self.now))
            return
        self.opened += 1
        for one, peer, is_outbound in ((node_id, other, True), (other, node_id, False)):
            self.links[one][peer] = None
            self._do(one, self.nodes[one].link_up(peer, self.now, is_outbound=is_outbound))

    def _close(self, node_id: NodeId, other: NodeId) -> None:
        self.closed += 1
        for one, peer in ((node_id, other), (other, node_id)):
            self.links[one].pop(peer, None)
            self._do(one, self.nodes[one].link_down(peer, self.now))

    def _later(self, wait_s: float, what: Callable[[], None]) -> None:
        self._turn += 1
        heapq.heappush(self._due, (self.now + wait_s, self._turn, what))

    def _new_id(self) -> NodeId:
        return NodeId(hashlib.sha256(self.rng.randbytes(8)).digest())


COUNT = int(os.environ.get("TOPOLOGY_NODES", "80"))
MINUTES = float(os.environ.get("TOPOLOGY_MINUTES", "2"))


@pytest.mark.simulation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [int(os.environ.get("TOPOLOGY_SEED", "7"))])
def test_graph_stays_connected_under_churn_of_a_tenth_a_minute(seed: int) -> None:
    realm = Realm(COUNT, seed, churn_per_s=COUNT * 0.1 / 60)
    realm.run(3.0)
    assert measure(realm.graph()).degrees == {SETTINGS.degree: COUNT}
    realm.begin_churn()
    opened = realm.opened
    degrees: Counter[int] = Counter()
    diameters = []
    second = 3
    while second < 3 + 60 * MINUTES:
        second += 1
        realm.run(second)
        found = measure(realm.graph(), exact_up_to=200)
        # Whoever joined within the last moment may have no link yet.
        small = found.parts[1:]
        assert set(small) <= {1}, f"seed {seed}: parts of {found.parts} at {second} s"
        assert sum(small) <= 1 + COUNT // 100, f"seed {seed}: {found.parts} at {second} s"
        degrees.update(found.degrees)
        diameters.append(found.diameter)
    mean = sum(degree * count for degree, count in degrees.items()) / degrees.total()
    lone = degrees[0]
    print(  # noqa: T201  # figures for whoever runs it by hand
        f"\n{COUNT} nodes, {MINUTES:g} min, seed {seed}: connected throughout; "
        f"nodes just joined and unlinked: {lone} of {degrees.total()} looks; "
        f"degree mean {mean:.2f}, {min(filter(None, degrees))} to {max(degrees)}; "
        f"diameter at most {max(diameters)}; links opened {realm.opened - opened}, "
        f"closed {realm.closed}"
    )
    assert SETTINGS.degree - 1 < mean < 2 * SETTINGS.degree


def test_links_come_to_rest_at_exactly_the_degree_once_views_agree() -> None:
    realm = Realm(60, 3, churn_per_s=1.0)
    realm.run(3.0)
    realm._churn()
    realm._due = [each for each in realm._due if "_churn" not in each[2].__qualname__]
    realm.run(120.0)
    found = measure(realm.graph())
    assert found.degrees == {SETTINGS.degree: 60}
    closed = realm.closed
    realm.run(300.0)
    assert realm.closed == closed
