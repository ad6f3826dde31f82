"""Many real nodes in one thread and virtual time: the same seed gives the same run.

The world carries out the effects of each ``Node`` as daemon, control socket and QUIC do, at the
level of messages: a heap of events and one ``random.Random(seed)``. It simulates no packets.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from maculaos.effects import (
    CloseClient,
    CloseLink,
    Dial,
    Effect,
    Note,
    Send,
    SendToClient,
)
from maculaos.identity import Identity, NodeId
from maculaos.node import Introduction, Node
from maculaos.settings import CredentialSettings, ListenSettings, NodeSettings
from maculaos.wire.messages import Message, RpcCall, RpcResult, encode_message
from maculaos.wire.values import Value, decode_value, encode_value
from simulation.faults import Faults

Action: TypeAlias = Callable[[], None]
REALM = "simulated"
BASE_PORT = 10_000


@dataclass(eq=False)
class Pipe:
    """One link between two running nodes: ``ends`` are (owner, the owner's number for it)."""

    ends: tuple[tuple[Host, int], tuple[Host, int]]
    is_open: bool = True
    # Messages arrive in the order they were sent, in each direction.
    last_arrival: dict[str, float] = field(default_factory=dict)

    def far_end(self, host: Host) -> tuple[Host, int]:
        """The other owner, and its number for this link."""
        return self.ends[1] if self.ends[0][0] is host else self.ends[0]

    def number_at(self, host: Host) -> int:
        """What that owner calls this link."""
        return self.ends[0][1] if self.ends[0][0] is host else self.ends[1][1]


@dataclass(eq=False)
class Host:
    """One life of a node: a restart makes another host of the same identity."""

    identity: Identity
    address: str
    node: Node
    life: int
    is_running: bool = True
    pipes: dict[int, Pipe] = field(default_factory=dict)
    heard: dict[int, list[Message]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    wakes_at: float = math.inf
    last_link: int = 0
    last_call: int = 0

    @property
    def name(self) -> str:
        """The name of the node."""
        return self.identity.name

    def number_link(self, pipe: Pipe) -> int:
        """Take up a link under a new number."""
        self.last_link += 1
        self.pipes[self.last_link] = pipe
        return self.last_link


class World:
    """Nodes by name, the network between them, and the clock."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.seed = seed
        self.now = 0.0
        # Whether a link comes with the address that was dialled for it, or the node finds out.
        self.tells_dialled = False
        self.faults = faults or Faults()
        self.hosts: dict[str, Host] = {}
        self._lives = 0
        # Other ways to write an address: what a name service says.
        self.aliases: dict[str, str] = {}
        self.sent_messages = 0
        self._rng = random.Random(seed)  # a seed replays the run
        self._heap: list[tuple[float, int, Action]] = []
        self._events = 0
        self._trace = hashlib.sha256()

    @property
    def trace(self) -> str:
        """A digest of every effect so far, with its time and node."""
        return self._trace.hexdigest()

    @property
    def replay(self) -> str:
        """How to run this again."""
        return f"seed {self.seed}: make simulate N={len(self.hosts)} SEED={self.seed}"

    def start(self, name: str, peers: tuple[str, ...] = (), address: str | None = None) -> Host:
        """Start a node; the same name is the same identity, in another life."""
        node_id = NodeId(hashlib.sha256(name.encode()).digest())
        identity = Identity(REALM, node_id, name)
        taken = self.hosts.get(name)
        if address is None:
            address = taken.address if taken else f"127.0.0.1:{BASE_PORT + len(self.hosts)}"
        settings = settings_for(name, address, peers)
        rng = random.Random(self._rng.random())  # a seed replays the run
        node = Node(identity, settings, rng, self.now, "simulated")
        self._lives += 1
        host = Host(identity, address, node, self._lives)
        self.hosts[name] = host
        self._sleep(host)
        return host

    def kill(self, name: str) -> None:
        """``kill -9``: no farewell; its peers notice by silence."""
        host = self.hosts[name]
        host.is_running = False
        for pipe in tuple(host.pipes.values()):
            self._break_later(pipe, "idle timeout")

    def leave(self, name: str) -> None:
        """A graceful stop."""
        host = self.hosts[name]
        self._carry_out(host, host.node.leave(self.now))
        host.is_running = False

    def partition(self, *islands: tuple[str, ...]) -> None:
        """Cut the network; links across the cut end when they have been idle for too long."""
        self.faults.partition(*islands)
        for pipe in self._pipes():
            (one, _), (other, _) = pipe.ends
            if self.faults.is_cut(one.name, other.name):
                self._break_later(pipe, "idle timeout")

    def connect_client(self, name: str, client: int = 1) -> None:
        """Open a control connection to a node."""
        host = self.hosts[name]
        host.heard[client] = []
        self._carry_out(host, host.node.client_up(client, self.now))

    def disconnect_client(self, name: str, client: int = 1) -> None:
        """Close a control connection."""
        host = self.hosts[name]
        self._carry_out(host, host.node.client_down(client, self.now))

    def say(self, name: str, message: Message, client: int = 1) -> None:
        """A client says something to its node."""
        host = self.hosts[name]
        self._carry_out(host, host.node.receive_from_client(client, message, self.now))

    def heard(self, name: str, kind: type[Message], client: int = 1) -> list[Message]:
        """What a client was told, of one kind."""
        return [each for each in self.hosts[name].heard[client] if isinstance(each, kind)]

    def ask(self, name: str, method: str, argument: Value = None) -> Value:
        """What a node answers itself; raises ``AssertionError`` if it refuses."""
        host = self.hosts[name]
        host.last_call += 1
        host.heard.setdefault(0, [])
        self._carry_out(host, host.node.client_up(0, self.now))
        call = RpcCall(host.last_call, method, 1000, b"", encode_value(argument))
        self.say(name, call, client=0)
        answer = host.heard.pop(0)[-1]
        self._carry_out(host, host.node.client_down(0, self.now))
        assert isinstance(answer, RpcResult), f"{method}: {answer}; {self.replay}"
        return decode_value(answer.payload)

    def health(self, seen_by: str, name: str) -> str | None:
        """How one node sees another; ``None`` if it does not know it."""
        health = self.field_of(seen_by, name, "health")
        return health if isinstance(health, str) else None

    def field_of(self, seen_by: str, name: str, key: str) -> Value:
        """One field of what one node believes of another."""
        for member in self._members(seen_by):
            if member["name"] == name:
                return member[key]
        return None

    def is_full_mesh(self, *names: str) -> bool:
        """Whether these nodes see each other alive and linked, by exactly one link each."""
        wanted = names or tuple(self.hosts)
        return all(self._sees_all(name, wanted) for name in wanted)

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to ``deadline``."""
        while self._heap and self._heap[0][0] <= deadline:
            self._step()
        self.now = deadline

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        self.run_until(self.now + seconds)

    def run_until_true(self, holds: Callable[[], bool], within_s: float) -> float:
        """Run until ``holds``; return how long that took. Fails with the seed if it never does."""
        started, checked = self.now, -math.inf
        while not holds():
            checked = self.now
            while self._heap and self.now - checked < 0.01:
                if self._heap[0][0] > started + within_s:
                    raise AssertionError(f"not within {within_s} s; {self.replay}")
                self._step()
        return self.now - started

    def _step(self) -> None:
        self.now, _, action = heapq.heappop(self._heap)
        action()

    def _at(self, when: float, action: Action) -> None:
        # The number makes the order of simultaneous events that of their making.
        self._events += 1
        heapq.heappush(self._heap, (when, self._events, action))

    def _latency(self) -> float:
        return self._rng.uniform(self.faults.shortest_latency_s, self.faults.longest_latency_s)

    def _sleep(self, host: Host) -> None:
        """Wake ``host`` when it wants to be woken."""
        due = max(self.now, host.node.next_deadline())
        if due == math.inf or due == host.wakes_at:
            return
        host.wakes_at = due
        self._at(due, lambda: self._wake(host, due))

    def _wake(self, host: Host, due: float) -> None:
        if host.is_running and host.wakes_at == due:
            host.wakes_at = math.inf
            self._carry_out(host, host.node.advance(self.now))

    def _carry_out(self, host: Host, effects: list[Effect]) -> None:
        for effect in effects:
            self._trace.update(f"{self.now:.9f} {host.name} ".encode() + _traced(effect))
            self._carry_out_one(host, effect)
        if host.is_running:
            self._sleep(host)

    def _carry_out_one(self, host: Host, effect: Effect) -> None:
        match effect:
            case Dial():
                self._dial(host, effect.address)
            case Send():
                self._send(host, effect)
            case CloseLink():
                self._close(host, effect)
            case SendToClient():
                host.heard.setdefault(effect.client, []).append(effect.message)
            case CloseClient():
                host.heard.pop(effect.client, None)
            case Note():
                host.notes.append(effect)

    def _dial(self, host: Host, address: str) -> None:
        """Three latencies to a link, two of them to be seen by who was dialled."""
        latency = self._latency()
        is_lost = self._rng.random() < self.faults.dial_loss
        self._at(self.now + 2 * latency, lambda: self._accept(host, address, latency, is_lost))

    def _accept(self, host: Host, address: str, latency: float, is_lost: bool) -> None:
        if not host.is_running:
            return
        place = self.aliases.get(address, address)
        target = next((each for each in self.hosts.values() if each.address == place), None)
        if is_lost or target is None or self._is_out_of_reach(host, target):
            timeout_s = settings_for("x", "127.0.0.1:1", ()).link.handshake_timeout_s
            self._at(self.now + timeout_s, lambda: self._fail(host, address, "timeout"))
            return
        if target is host or not target.is_running:
            # The handshake tells a node that it reached itself; to the dialler it is a failure.
            self._fail(host, address, "refused")
            return
        pipe = Pipe(((host, 0), (target, 0)))
        numbers = host.number_link(pipe), target.number_link(pipe)
        pipe.ends = ((host, numbers[0]), (target, numbers[1]))
        self._link_up(target, host, pipe, None)
        self._at(self.now + latency, lambda: self._link_up(host, target, pipe, address))

    def _is_out_of_reach(self, host: Host, target: Host) -> bool:
        return self.faults.is_cut(host.name, target.name)

    def _fail(self, host: Host, address: str, reason: str) -> None:
        if host.is_running:
            self._carry_out(host, host.node.dial_failed(address, reason, self.now))

    def _link_up(self, host: Host, peer: Host, pipe: Pipe, dialled: str | None) -> None:
        if not host.is_running:
            return
        if not pipe.is_open and dialled is not None:
            self._fail(host, dialled, "closed during the handshake")
            return
        number, is_outbound = pipe.number_at(host), dialled is not None
        told = dialled if self.tells_dialled else None
        met = Introduction(
            addresses=(peer.address,), is_outbound=is_outbound, dialled=told, life=peer.life
        )
        self._carry_out(host, host.node.link_up(number, peer.identity, met, self.now))

    def _send(self, host: Host, effect: Send) -> None:
        pipe = host.pipes.get(effect.link)
        if pipe is None or not pipe.is_open:
            return
        self.sent_messages += 1
        target, number = pipe.far_end(host)
        arrival = max(self.now + self._latency(), pipe.last_arrival.get(host.name, 0.0))
        pipe.last_arrival[host.name] = arrival
        self._at(arrival, lambda: self._deliver(pipe, host, target, number, effect.message))

    def _deliver(
        self, pipe: Pipe, sender: Host, target: Host, number: int, message: Message
    ) -> None:
        if number not in target.pipes or not target.is_running:
            return
        if self.faults.is_cut(sender.name, target.name):
            # QUIC sends again until the link is given up.
            if pipe.is_open:
                later = self.now + 0.5
                self._at(later, lambda: self._deliver(pipe, sender, target, number, message))
            return
        self._carry_out(target, target.node.receive(number, message, self.now))

    def _close(self, host: Host, effect: CloseLink) -> None:
        """End a link: the other end hears so after everything that was sent before."""
        pipe = host.pipes.pop(effect.link, None)
        if pipe is None:
            return
        pipe.is_open = False
        target, number = pipe.far_end(host)
        arrival = max(self.now + self._latency(), pipe.last_arrival.get(host.name, 0.0))
        reason = f"closed by peer: {effect.code.name}"
        self._at(arrival, lambda: self._link_down(target, number, reason))
        # The transport reports the end of every link, also of those the node closed itself.
        self._at(self.now, lambda: self._link_down(host, effect.link, "closed"))

    def _break_later(self, pipe: Pipe, reason: str) -> None:
        """Both ends notice the silence after the idle timeout, unless it ends before."""
        idle_s = settings_for("x", "127.0.0.1:1", ()).link.idle_timeout_s
        self._at(self.now + idle_s, lambda: self._break(pipe, reason))

    def _break(self, pipe: Pipe, reason: str) -> None:
        (one, one_number), (other, other_number) = pipe.ends
        is_silent = not (one.is_running and other.is_running) or self.faults.is_cut(
            one.name, other.name
        )
        if is_silent:
            pipe.is_open = False
            self._link_down(one, one_number, reason)
            self._link_down(other, other_number, reason)

    def _link_down(self, host: Host, number: int, reason: str) -> None:
        host.pipes.pop(number, None)
        if host.is_running:
            self._carry_out(host, host.node.link_down(number, reason, self.now))

    def _pipes(self) -> list[Pipe]:
        pipes = (pipe for host in self.hosts.values() for pipe in host.pipes.values())
        return list(dict.fromkeys(pipes))

    def _members(self, name: str) -> list[dict[str, Value]]:
        members = self.ask(name, "macula.members")
        assert isinstance(members, list)
        return [member for member in members if isinstance(member, dict)]

    def _sees_all(self, name: str, wanted: tuple[str, ...]) -> bool:
        members = {member["name"]: member for member in self._members(name)}
        seen = all(
            other in members
            and members[other]["health"] == "alive"
            and (other == name or members[other]["linked"] is True)
            for other in wanted
        )
        links = [pipe.far_end(self.hosts[name])[0].name for pipe in self.hosts[name].pipes.values()]
        return seen and len(links) == len(set(links))


def settings_for(name: str, address: str, peers: tuple[str, ...]) -> NodeSettings:
    """The settings of a node as it would run, with the shipped defaults."""
    host, _, port = address.rpartition(":")
    return NodeSettings(
        version=1,
        name=name,
        realm=REALM,
        listen=ListenSettings(address=host, port=int(port)),
        credentials=CredentialSettings(
            certificate=Path("node.crt"), key=Path("node.key"), realm_ca=Path("realm.crt")
        ),
        control_socket=Path("control.sock"),
        peers=peers,
    )


def start_mesh(world: World, size: int) -> tuple[str, ...]:
    """Start ``size`` nodes that all know only the first; return their names."""
    names = tuple(f"n{number}" for number in range(1, size + 1))
    first = world.start(names[0])
    for name in names[1:]:
        world.start(name, peers=(first.address,))
    return names


def _traced(effect: Effect) -> bytes:
    """One line of the trace; messages as they would be sent, since payloads have no ``repr``."""
    match effect:
        case Send():
            return f"send {effect.link} {effect.stream}".encode() + encode_message(effect.message)
        case SendToClient():
            return f"tell {effect.client}".encode() + encode_message(effect.message)
        case _:
            return repr(effect).encode()
