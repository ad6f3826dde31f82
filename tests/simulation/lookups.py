"""Kademlia among thousands of real cores in virtual time: ``python -m simulation.lookups``.

Only the network is a model: each message takes a latency drawn from the seed, and what is sent to
a dead node is lost without a word, so that only the core's own deadline tells.

Tables are filled by joins through lookups, as in a real mesh, or by a shortcut that thousands of
nodes can afford: of the nodes that belong into a bucket, k are drawn by lot. ``test_lookups``
holds the shortcut against joins.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import heapq
import math
import random
import resource
import statistics
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from maculaos.identity import NodeId
from maculaos.kademlia.contact import Contact
from maculaos.kademlia.distance import ID_BITS
from maculaos.kademlia.kademlia import Kademlia
from maculaos.kademlia.requests import (
    AnswerNode,
    AnswerPing,
    AnswerStore,
    AnswerValue,
    AskNode,
    AskPing,
    AskStore,
    AskValue,
    LookupDone,
    Output,
    RecordPlaced,
    ValueFound,
)
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.signing import Notary

REALM = "lookups"


def seal(node_id: NodeId, text: bytes) -> bytes:
    """A stand-in for Ed25519 that costs little: it binds the text to the node id."""
    return hashlib.blake2b(text, key=node_id, digest_size=64).digest()


def notary_of(node_id: NodeId) -> Notary:
    """What signs as that node, and verifies everybody."""

    def verify(publisher: NodeId, _credential: bytes, text: bytes, signature: bytes) -> bool:
        return seal(publisher, text) == signature

    return Notary(REALM, b"", lambda text: seal(node_id, text), verify)


@dataclass
class Outcome:
    """One lookup by the node at ``seeker``; times in seconds of virtual time."""

    seeker: int
    target: bytes
    started: float
    ended: float
    done: LookupDone


@dataclass
class Network:
    """Nodes by position, the messages between them, and virtual time."""

    seed: int
    settings: KademliaSettings
    shortest_latency_s: float = 0.001
    longest_latency_s: float = 0.020
    now: float = 0.0
    nodes: dict[int, Kademlia] = field(default_factory=dict)
    messages: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    found: list[ValueFound] = field(default_factory=list)
    placed: list[RecordPlaced] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._heap: list[tuple[float, int, int, Any]] = []
        self._order = 0
        self._wakes: dict[int, float] = {}
        self._asked: dict[tuple[int, int], tuple[bytes, float]] = {}
        self._trace = hashlib.blake2b(digest_size=16)

    @property
    def trace(self) -> str:
        """A digest of every message and its time."""
        return self._trace.hexdigest()

    def add(self) -> Kademlia:
        """A node that knows nobody, at a random position."""
        contact = Contact(NodeId(self.rng.randbytes(32)), ("10.0.0.1:4701",))
        node = Kademlia(
            contact,
            notary_of(contact.node_id),
            self.settings,
            random.Random(self.rng.getrandbits(64)),
            self.now,
        )
        self.nodes[contact.position] = node
        return node

    def kill(self, position: int) -> None:
        """It vanishes; nobody is told."""
        del self.nodes[position]
        self._wakes.pop(position, None)

    def settle(self, node: Kademlia) -> None:
        """Carry out what ``node`` wants done, and wake it when it asks for that."""
        position = node.me.position
        for output in node.outputs():
            self._carry_out(position, output)
        due = max(self.now, node.next_deadline())
        if due < self._wakes.get(position, math.inf):
            self._wakes[position] = due
            self._push(due, position, None)

    def look_up(self, node: Kademlia, target: bytes) -> None:
        """Begin a lookup whose outcome is wanted."""
        number = node.find_node(target, self.now)
        self._asked[node.me.position, number] = (target, self.now)
        self.settle(node)

    def run_until(self, end: float) -> None:
        """Let virtual time pass."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, position, message = heapq.heappop(heap)
            node = self.nodes.get(position)
            if node is None:
                continue
            if message is not None:
                self._deliver(node, *message)
            elif self._wakes.get(position) == self.now:
                del self._wakes[position]
                node.advance(self.now)
            else:
                continue
            self.settle(node)
        self.now = end

    def finish_lookups(self, within_s: float = 120.0) -> None:
        """Run until every lookup that was begun by a living node has ended."""
        end = self.now + within_s
        while self._asked and self.now < end:
            self.run_until(self.now + 1.0)
            self._asked = {key: each for key, each in self._asked.items() if key[0] in self.nodes}

    def _push(self, at: float, position: int, message: Any) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, position, message))

    def _carry_out(self, position: int, output: Output) -> None:
        match output:
            case AskPing() | AskNode() | AskValue() | AskStore():
                self._send(position, output.contact.position, output)
            case AnswerPing() | AnswerNode() | AnswerValue() | AnswerStore():
                self._send(position, int.from_bytes(output.to), output)
            case LookupDone():
                if asked := self._asked.pop((position, output.number), None):
                    self.outcomes.append(Outcome(position, *asked, self.now, output))
            case ValueFound():
                self.found.append(output)
            case RecordPlaced():
                self.placed.append(output)

    def _send(self, sender: int, to: int, output: Output) -> None:
        at = self.now + self.rng.uniform(self.shortest_latency_s, self.longest_latency_s)
        self.messages += 1
        name = type(output).__name__
        self._trace.update(f"{at:.9f} {sender:x} {to:x} {name}".encode())
        self._push(at, to, (self.nodes[sender].me, output))

    def _deliver(self, node: Kademlia, sender: Contact, message: Output) -> None:
        match message:
            case AskPing(number):
                node.receive_ping(sender, number, self.now)
            case AskNode(number, _, target):
                node.receive_find_node(sender, number, target, self.now)
            case AskValue(number, _, key):
                node.receive_find_value(sender, number, key, self.now)
            case AskStore(number, _, record):
                node.receive_store(sender, number, record, self.now)
            case _:
                self._deliver_answer(node, sender, message)

    def _deliver_answer(self, node: Kademlia, sender: Contact, message: Output) -> None:
        match message:
            case AnswerNode(_, number, contacts):
                node.receive_nodes(sender, number, contacts, self.now)
            case AnswerPing(_, number):
                node.receive_pong(sender, number, self.now)
            case AnswerValue(_, number, records, contacts):
                node.receive_values(sender, number, (records, contacts), self.now)
            case AnswerStore(_, number, verdict):
                node.receive_stored(sender, number, verdict, self.now)


def join_all(network: Network, size: int, pause_s: float = 0.05) -> None:
    """Nodes come one after the other, each knowing one that is there already."""
    for _ in range(size):
        newcomer = network.add()
        join(network, newcomer)
        network.run_until(network.now + pause_s)
    network.run_until(network.now + 10.0)


def join(network: Network, newcomer: Kademlia) -> None:
    """The newcomer and one random node get a link, and so see each other."""
    others = [each for each in network.nodes.values() if each is not newcomer]
    if others:
        host = network.rng.choice(others)
        host.see(newcomer.me, network.now)
        newcomer.see(host.me, network.now)
        network.settle(host)
        network.settle(newcomer)


def fill_by_shortcut(network: Network, size: int) -> None:
    """Draw the contents of every bucket by lot, from those that belong there."""
    for _ in range(size):
        network.add()
    positions = sorted(network.nodes)
    k = network.settings.k
    for position in positions:
        table = network.nodes[position].table
        for index in range(ID_BITS - 1, -1, -1):
            low, high = _range(positions, position, index)
            chosen = network.rng.sample(range(low, high), min(k, high - low))
            for place in chosen:
                table.see(network.nodes[positions[place]].me, network.now)
            if _is_alone(positions, position, index):
                break


def _range(positions: list[int], position: int, index: int) -> tuple[int, int]:
    """Where in the sorted ``positions`` those of bucket ``index`` of ``position`` stand."""
    start = (position >> index ^ 1) << index
    return bisect_left(positions, start), bisect_left(positions, start + (1 << index))


def _is_alone(positions: list[int], position: int, index: int) -> bool:
    start = position >> index << index
    return bisect_left(positions, start + (1 << index)) - bisect_left(positions, start) == 1


def closest_living(network: Network, target: bytes, seeker: int) -> int:
    """The truly closest living node but for the one that looks, by brute force."""
    others = (position for position in network.nodes if position != seeker)
    return min(others, key=int.from_bytes(target).__xor__)


def kill_share(network: Network, share: float) -> None:
    """Kill that share of all nodes, drawn by lot."""
    for position in network.rng.sample(sorted(network.nodes), int(len(network.nodes) * share)):
        network.kill(position)


def look_up_randomly(network: Network, count: int, pause_s: float = 0.002) -> None:
    """Random living nodes look up random targets, a few at a time."""
    positions = sorted(network.nodes)
    for _ in range(count):
        node = network.nodes[network.rng.choice(positions)]
        network.look_up(node, network.rng.randbytes(32))
        network.run_until(network.now + pause_s)
    network.finish_lookups()


@dataclass(frozen=True)
class Score:
    """How lookups ended; times in seconds of virtual time."""

    lookups: int
    right: int
    hops: float
    asked: float
    latency_s: float
    complete: int

    @property
    def share(self) -> float:
        """Which part of the lookups found the truly closest node."""
        return self.right / self.lookups


def score(network: Network) -> Score:
    """Hold all outcomes against brute force, while nobody has died since they began."""
    outcomes = network.outcomes
    right = 0
    for outcome in outcomes:
        best = closest_living(network, outcome.target, outcome.seeker)
        right += bool(outcome.done.contacts) and outcome.done.contacts[0].position == best
    return Score(
        lookups=len(outcomes),
        right=right,
        hops=statistics.median(outcome.done.hops for outcome in outcomes),
        asked=statistics.mean(outcome.done.asked for outcome in outcomes),
        latency_s=statistics.median(each.ended - each.started for each in outcomes),
        complete=sum(outcome.done.is_complete for outcome in outcomes),
    )


def churn(network: Network, share_per_minute: float, minutes: float, lookups: int) -> Score:
    """Nodes die and others join all the time, while random nodes look up random targets.

    A lookup is right if nothing that lived all through it, and had joined 30 s before it began,
    is closer to the target than what it found, and what it found lived when it began.
    """
    end = network.now + 60.0 * minutes
    step_s = 60.0 / (len(network.nodes) * share_per_minute)
    lookup_step_s = 60.0 * minutes / lookups
    died: dict[int, float] = {}
    # Who was there before had time enough to join.
    born = dict.fromkeys(network.nodes, -math.inf)
    next_death, next_lookup = network.now, network.now
    while network.now < end:
        if next_death <= network.now:
            next_death += step_s
            victim = network.rng.choice(sorted(network.nodes))
            died[victim] = network.now
            network.kill(victim)
            newcomer = network.add()
            born[newcomer.me.position] = network.now
            join(network, newcomer)
        if next_lookup <= network.now:
            next_lookup += lookup_step_s
            node = network.nodes[network.rng.choice(sorted(network.nodes))]
            network.look_up(node, network.rng.randbytes(32))
        network.run_until(min(next_death, next_lookup, end))
    network.finish_lookups()
    outcomes = network.outcomes
    right = sum(_is_right(outcome, born, died) for outcome in outcomes)
    return Score(
        lookups=len(outcomes),
        right=right,
        hops=statistics.median(outcome.done.hops for outcome in outcomes),
        asked=statistics.mean(outcome.done.asked for outcome in outcomes),
        latency_s=statistics.median(each.ended - each.started for each in outcomes),
        complete=sum(outcome.done.is_complete for outcome in outcomes),
    )


def _is_right(outcome: Outcome, born: dict[int, float], died: dict[int, float]) -> bool:
    if not outcome.done.contacts:
        return False
    key = int.from_bytes(outcome.target).__xor__
    steady = (
        position
        for position, since in born.items()
        if position != outcome.seeker
        and since <= outcome.started - 30.0
        and died.get(position, math.inf) > outcome.ended
    )
    found = outcome.done.contacts[0].position
    if died.get(found, math.inf) < outcome.started:
        return False
    return key(found) <= key(min(steady, key=key))


def main() -> None:
    """Print what one run of the table of ``test_lookups`` gives, at any size."""
    parser = argparse.ArgumentParser(prog="python -m simulation.lookups", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lookups", type=int, default=1_000)
    parser.add_argument("--dead", type=float, default=0.2, help="share of nodes killed before")
    parser.add_argument("--join", action="store_true", help="fill the tables by real joins")
    parser.add_argument("--churn", type=float, default=0.0, help="share per minute, for 10 minutes")
    parser.add_argument("--refresh", type=float, default=600.0, help="refresh interval, seconds")
    arguments = parser.parse_args()
    settings = KademliaSettings(refresh_interval_s=arguments.refresh)
    network = Network(arguments.seed, settings)
    began = time.process_time()
    (join_all if arguments.join else fill_by_shortcut)(network, arguments.nodes)
    filled = time.process_time()
    # What lives to the end is no garbage: looking through it again and again takes half the time.
    gc.freeze()
    if arguments.churn:
        result = churn(network, arguments.churn, 10.0, arguments.lookups)
        took_s = time.process_time() - filled
    else:
        kill_share(network, arguments.dead)
        look_up_randomly(network, arguments.lookups)
        took_s = time.process_time() - filled
        result = score(network)
    sizes = statistics.mean(len(node.table) for node in network.nodes.values())
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = (
        f"{arguments.nodes} nodes, seed {arguments.seed}, {result.lookups} lookups",
        f"right {result.share:.4%}, complete {result.complete}, median hops {result.hops},"
        f" bound {math.log2(arguments.nodes) / 2:.2f}, requests {result.asked:.1f},"
        f" median latency {result.latency_s:.3f} s, contacts per table {sizes:.0f}",
        f"CPU: filled in {filled - began:.1f} s, ran {took_s:.1f} s: {result.lookups / took_s:.0f}"
        f" lookups/s, {network.messages} messages, {memory_mib:.0f} MiB",
        f"trace {network.trace}",
    )
    print("\n".join(lines))  # noqa: T201 - the point of running this as a program


if __name__ == "__main__":
    main()
