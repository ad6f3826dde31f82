"""Many real nodes in one thread and virtual time: the same seed gives the same run.

The world carries out the effects of each ``Node`` as daemon, control socket and QUIC do, at the
level of messages: a timeline of events and one ``random.Random(seed)``. It simulates no packets.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
from typing import TYPE_CHECKING

from maculaos.effects import (
    CloseClient,
    CloseLink,
    Dial,
    Effect,
    Note,
    Send,
    SendToClient,
)
from maculaos.identity import Identity
from maculaos.node import Node
from maculaos.wire.messages import Message, RpcCall, RpcResult, encode_message
from maculaos.wire.values import Value, decode_value, encode_value
from simulation.faults import Faults
from simulation.hosts import (
    REALM,
    Host,
    LetterSealOf,
    node_id_of,
    notary_of,
    settings_for,
)
from simulation.network import Network
from simulation.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REALM", "Host", "World", "notary_of", "settings_for", "start_mesh"]

BASE_PORT = 10_000
# Client number 0 is the world itself; it comes and goes with each question.
_WORLD = 0


class World:
    """Nodes by name, the network between them, and the clock."""

    def __init__(self, seed: int, faults: Faults | None = None, *, is_traced: bool = True) -> None:
        """``is_traced`` costs about as much as all the rest: large worlds go without."""
        self.seed = seed
        self.faults = faults or Faults()
        self.hosts: dict[str, Host] = {}
        self.rng = random.Random(seed)  # a seed replays the run
        # Who is told of every note of every node.
        self.observers: list[Callable[[Host, Note], None]] = []
        # The command that runs this again, where it is no test.
        self.replayed_by = ""
        self._lives = 0
        self._timeline = Timeline()
        self._network = Network(self._timeline, self.faults, self.rng, self._carry_out)
        self._trace = hashlib.sha256() if is_traced else None

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self._timeline.now

    @property
    def sent_messages(self) -> int:
        """How many messages were sent over links."""
        return self._network.sent_messages

    @property
    def aliases(self) -> dict[str, str]:
        """Other ways to write an address: what a name service says."""
        return self._network.aliases

    @property
    def trace(self) -> str:
        """A digest of every effect so far, with its time and node; empty if it is not kept."""
        return self._trace.hexdigest() if self._trace else ""

    @property
    def replay(self) -> str:
        """How to run this again."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        if test:
            return f"seed {self.seed}: .venv/bin/pytest -n 0 '{test}'"
        return f"seed {self.seed}: {self.replayed_by or 'no command'}"

    @property
    def running(self) -> list[Host]:
        """The hosts that run, in the order of their first lives."""
        return [host for host in self.hosts.values() if host.is_running]

    def start(self, name: str, peers: tuple[str, ...] = (), address: str | None = None) -> Host:
        """Start a node; the same name is the same identity and machine, in another life."""
        identity = Identity(REALM, node_id_of(name), name)
        taken = self.hosts.get(name)
        if address is None:
            address = taken.address if taken else f"127.0.0.1:{BASE_PORT + len(self.hosts)}"
        if taken and self._network.listening.get(taken.address) is taken:
            del self._network.listening[taken.address]
        clock = taken.clock if taken else self.faults.clock(self.rng, self.now)
        settings = settings_for(name, address, peers)
        rng = random.Random(self.rng.random())  # a seed replays the run
        now = clock.monotonic(self.now)
        node = Node(identity, settings, notary_of(identity), rng, now, "simulated")
        node.seal_letters(LetterSealOf(identity))
        node.set_wall_clock(clock.wall(self.now), now)
        self._lives += 1
        host = Host(identity, address, node, self._lives, clock)
        self.hosts[name] = self._network.listening[address] = host
        self._plan_wake(host)
        return host

    def kill(self, name: str) -> None:
        """``kill -9``: no farewell; its peers notice by silence."""
        host = self.hosts[name]
        host.is_running = False
        self._network.abandon(host)

    def leave(self, name: str) -> None:
        """A graceful stop."""
        host = self.hosts[name]
        self._carry_out(host, host.node.leave(self._time_of(host)))
        host.is_running = False

    def sever_one(self) -> None:
        """Some link between two that run breaks."""
        ends = [
            end
            for host in self.running
            for end in host.links.values()
            if end.pipe.is_open and end.far.host.is_running
        ]
        self._network.sever(self.rng.choice(ends))

    def partition(self, *islands: tuple[str, ...]) -> None:
        """Cut the network; links across the cut end when they have been idle for too long."""
        self.faults.partition(*islands)
        self._network.cut()

    def connect_client(self, name: str, client: int = 1) -> None:
        """Open a control connection to a node."""
        host = self.hosts[name]
        host.heard[client] = []
        self._carry_out(host, host.node.client_up(client, self._time_of(host)))

    def disconnect_client(self, name: str, client: int = 1) -> None:
        """Close a control connection."""
        host = self.hosts[name]
        self._carry_out(host, host.node.client_down(client, self._time_of(host)))

    def say(self, name: str, message: Message, client: int = 1) -> None:
        """A client says something to its node."""
        host = self.hosts[name]
        effects = host.node.receive_from_client(client, message, self._time_of(host))
        self._carry_out(host, effects)

    def heard(self, name: str, kind: type[Message], client: int = 1) -> list[Message]:
        """What a client was told, of one kind."""
        return [each for each in self.hosts[name].heard[client] if isinstance(each, kind)]

    def ask(self, name: str, method: str, argument: Value = None) -> Value:
        """What a node answers itself; raises ``AssertionError`` if it refuses."""
        host = self.hosts[name]
        host.last_call += 1
        self.connect_client(name, _WORLD)
        call = RpcCall(host.last_call, method, 1000, b"", encode_value(argument))
        self.say(name, call, _WORLD)
        answer = host.heard.pop(_WORLD)[-1]
        self.disconnect_client(name, _WORLD)
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

    def counts(self, name: str) -> dict[str, int]:
        """How many members of each health a node knows, itself included."""
        stats = self.ask(name, "macula.stats")
        assert isinstance(stats, dict)
        members = stats["members"]
        assert isinstance(members, dict)
        return {health: count for health, count in members.items() if isinstance(count, int)}

    def is_whole(self, *names: str) -> bool:
        """Whether these nodes see each other alive, and have each wanted link exactly once."""
        wanted = names or tuple(self.hosts)
        return all(self._sees_all(name, wanted) for name in wanted)

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to ``deadline``; whatever goes wrong says how to replay it."""
        try:
            self._timeline.run_until(deadline)
        except Exception as error:
            error.add_note(f"at {self.now:.3f} s; {self.replay}")
            raise

    def run_for(self, seconds: float) -> None:
        """Let that much time pass."""
        self.run_until(self.now + seconds)

    def run_until_true(
        self, holds: Callable[[], bool], within_s: float, every_s: float = 0.01
    ) -> float:
        """Run until ``holds``, asked that often; return how long that took.

        Raises ``AssertionError`` with the seed if it does not come true.
        """
        started = self.now
        while not holds():
            assert self.now < started + within_s, f"not within {within_s} s; {self.replay}"
            self.run_for(every_s)
        return self.now - started

    def _time_of(self, host: Host) -> float:
        return host.clock.monotonic(self.now)

    def _plan_wake(self, host: Host) -> None:
        """Wake ``host`` when it wants to be woken, or earlier: then it is asked again."""
        due = host.node.next_deadline()
        if due < host.wakes_at:
            host.wakes_at = due
            when = max(self.now, host.clock.world(due))
            self._timeline.at(when, self._wake, host, due)

    def _wake(self, host: Host, due: float) -> None:
        if host.wakes_at != due:
            return
        host.wakes_at = math.inf
        if not host.is_running:
            return
        # The clock of the host may show a hair less than what it was woken for.
        now = max(due, self._time_of(host))
        if host.node.next_deadline() <= now:
            self._carry_out(host, host.node.advance(now))
        else:
            self._plan_wake(host)

    def _carry_out(self, host: Host, effects: list[Effect]) -> None:
        for effect in effects:
            if self._trace:
                self._trace.update(f"{self.now:.9f} {host.name} ".encode() + _traced(effect))
            match effect:
                case Send():
                    self._network.send(host, effect)
                case Note():
                    host.note_count += 1
                    host.notes.append(effect)
                    for observer in self.observers:
                        observer(host, effect)
                case _:
                    self._carry_out_rare(host, effect)
        if host.is_running:
            self._plan_wake(host)

    def _carry_out_rare(self, host: Host, effect: Effect) -> None:
        match effect:
            case Dial():
                self._network.dial(host, effect)
            case CloseLink():
                self._network.close(host, effect)
            case SendToClient():
                host.heard.setdefault(effect.client, []).append(effect.message)
            case CloseClient():
                host.heard.pop(effect.client, None)

    def _members(self, name: str) -> list[dict[str, Value]]:
        members = self.ask(name, "macula.members")
        assert isinstance(members, list)
        return [member for member in members if isinstance(member, dict)]

    def _sees_all(self, name: str, wanted: tuple[str, ...]) -> bool:
        members = {member["name"]: member for member in self._members(name)}
        if not all(other in members and members[other]["health"] == "alive" for other in wanted):
            return False
        host = self.hosts[name]
        links = [other.identity.node_id for other in host.neighbours]
        return set(host.node.wanted) <= set(links) and len(links) == len(set(links))


def start_mesh(world: World, size: int, seeds: int = 1) -> tuple[str, ...]:
    """Start nodes that all know only the first ``seeds``; return their names.

    Of several seeds, each node is told two: one node takes no more than 256 links.
    """
    names = tuple(f"n{number}" for number in range(1, size + 1))
    known = [f"127.0.0.1:{BASE_PORT + number}" for number in range(seeds)]
    for number, name in enumerate(names):
        told = world.rng.sample(known, 2) if seeds > 2 else known
        own = f"127.0.0.1:{BASE_PORT + number}"
        world.start(name, peers=tuple(address for address in told if address != own))
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
