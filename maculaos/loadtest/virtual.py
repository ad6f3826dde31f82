"""A virtual mesh: real nodes in one thread and virtual time, over links that only have a latency.

Messages go from node to node as the objects that they are. There are no packets and no congestion:
what is lost on a lossy path comes later, as if it had been sent again. The same seed gives the same
run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.effects import Carriage, CloseClient, CloseLink, Dial, Send, SendToClient
from maculaos.loadtest.agenda import Agenda
from maculaos.loadtest.machine import Machine, Pipe
from maculaos.node import Introduction
from maculaos.settings import LinkSettings
from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from maculaos.effects import Effect
    from maculaos.loadtest.machine import End
    from maculaos.wire.messages import Message

_LINK: Final = LinkSettings()
_BASE_PORT: Final = 10_000
_SEEDS: Final = 3
# Delays vary by this part of the latency.
_JITTER: Final = 0.2
# What QUIC waits for beyond the round trip before it sends again (RFC 9002, 6.2: max_ack_delay).
_AGAIN_S: Final = 0.025
# A path that loses everything is tried no more often than this.
_TRIES_MAX: Final = 12
# Nobody else is told of a link that ends like this.
_SPARED: Final = (ErrorCode.SPARE_LINK, ErrorCode.LIMIT_EXCEEDED)


class Listener(Protocol):
    """Who hears what nodes say to their clients."""

    def hear(self, client: int, message: Message) -> None:
        """The node of that client tells it something."""
        ...

    def lose(self, client: int) -> None:
        """The node of that client has ended its connection, or is gone."""
        ...


class VirtualMesh:
    """Machines by name; ``latency_s`` is that of every path, one way."""

    def __init__(
        self, names: Sequence[str], latency_s: float, rng: random.Random, listener: Listener
    ) -> None:
        self.agenda = Agenda()
        self._latency_s = latency_s
        self._rng = rng
        self._listener = listener
        addresses = [f"127.0.0.1:{_BASE_PORT + number}" for number in range(len(names))]
        self.machines = {
            name: Machine(name, address, addresses[:_SEEDS], rng)
            for name, address in zip(names, addresses, strict=True)
        }
        self._listening = {each.address: each for each in self.machines.values()}
        self._clients: dict[int, Machine] = {}

    # What is done to machines.

    def start(self, name: str) -> None:
        """Begin another life of that node."""
        machine = self.machines[name]
        machine.boot(self.agenda.now)
        self._plan_wake(machine)

    def kill(self, name: str) -> None:
        """End that node without a word; peers notice by silence, clients at once."""
        machine = self.machines[name]
        machine.is_up = False
        self._fall_silent(machine, machine.life)
        for client in [each for each, where in self._clients.items() if where is machine]:
            self._drop(client)

    def pause(self, name: str) -> None:
        """Let that node do nothing; what comes to it waits."""
        machine = self.machines[name]
        machine.is_paused = True
        machine.pauses += 1
        at = self.agenda.now + _LINK.idle_timeout_s
        self.agenda.at(at, self._miss_paused, machine, machine.life, machine.pauses)

    def resume(self, name: str) -> None:
        """Let that node go on, with all that has come meanwhile."""
        machine = self.machines[name]
        machine.is_paused = False
        while machine.held and machine.is_awake:
            action, arguments = machine.held.popleft()
            action(*arguments)
        self._plan_wake(machine)

    def lose(self, name: str, share: float, for_s: float) -> None:
        """Throw away that share of the datagrams to and from that node, for so many seconds."""
        machine = self.machines[name]
        machine.loss = share
        machine.loses_until = self.agenda.now + for_s

    @property
    def is_whole(self) -> bool:
        """Whether every node that is up has all the links that it wants."""
        return all(
            set(each.node.wanted)
            <= {end.far.machine.identity.node_id for end in each.links.values() if end.far}
            for each in self.machines.values()
            if each.is_up
        )

    # Clients.

    def connect(self, client: int, name: str) -> bool:
        """Connect a client, under a number of its own; false if no node is up there."""
        machine = self.machines[name]
        if not machine.is_up:
            return False
        self._clients[client] = machine
        self._do(machine, self._client_up, machine, client)
        return True

    def say(self, client: int, message: Message) -> bool:
        """That client says something to its node; false if it has none."""
        machine = self._clients.get(client)
        if machine is None:
            return False
        self._do(machine, self._hear_client, machine, client, message)
        return True

    def _client_up(self, machine: Machine, client: int) -> None:
        self._carry_out(machine, machine.node.client_up(client, self.agenda.now))

    def _hear_client(self, machine: Machine, client: int, message: Message) -> None:
        now = self.agenda.now
        self._carry_out(machine, machine.node.receive_from_client(client, message, now))

    def _drop(self, client: int) -> None:
        if self._clients.pop(client, None) is not None:
            self._listener.lose(client)

    # Nodes.

    def _do(self, machine: Machine, action: Callable[..., None], *arguments: object) -> None:
        """Do it, or let it wait while the machine is paused; nothing is done for the dead."""
        if machine.is_paused:
            machine.held.append((action, arguments))
        elif machine.is_up:
            action(*arguments)

    def _plan_wake(self, machine: Machine) -> None:
        due = machine.node.next_deadline()
        if due < machine.wakes_at:
            machine.wakes_at = due
            self.agenda.at(due, self._wake, machine, due)

    def _wake(self, machine: Machine, due: float) -> None:
        if machine.wakes_at != due:
            return
        machine.wakes_at = math.inf
        if machine.is_awake:
            self._carry_out(machine, machine.node.advance(self.agenda.now))

    def _carry_out(self, machine: Machine, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(machine, effect)
            else:
                self._carry_out_rare(machine, effect)
        if machine.is_awake:
            self._plan_wake(machine)

    def _carry_out_rare(self, machine: Machine, effect: Effect) -> None:
        match effect:
            case SendToClient():
                if self._clients.get(effect.client) is machine:
                    self._listener.hear(effect.client, effect.message)
            case Dial():
                self.agenda.at(self._later(2), self._accept, machine, machine.life, effect)
            case CloseLink():
                self._close(machine, effect)
            case CloseClient():
                self._drop(effect.client)
            case _:
                pass

    # Links.

    def _later(self, latencies: float = 1.0) -> float:
        spread = 1 + _JITTER * self._rng.random()
        return self.agenda.now + latencies * self._latency_s * spread

    def _send(self, machine: Machine, effect: Send) -> None:
        end = machine.links.get(effect.link)
        if end is None or end.far is None or not end.pipe.is_open:
            return
        far, arrival = end.far.machine, self._later()
        if effect.carriage is Carriage.DATAGRAM:
            if not self._is_lost(machine, far, 0.0):
                self.agenda.at(max(arrival, end.opens_at), self._arrive, end.far, effect.message)
            return
        tries, waited_s = 0, 0.0
        while tries < _TRIES_MAX and self._is_lost(machine, far, waited_s):
            # Each try waits twice as long as the one before (RFC 9002, 6.2.1).
            waited_s += (2 * self._latency_s + _AGAIN_S) * 2**tries
            tries += 1
        arrival = max(arrival + waited_s, end.arrivals.get(effect.stream, end.opens_at))
        end.arrivals[effect.stream] = arrival
        self.agenda.at(arrival, self._arrive, end.far, effect.message)

    def _is_lost(self, near: Machine, far: Machine, after_s: float) -> bool:
        """Whether what goes out after so long is lost: a try may be one after the loss is over."""
        at = self.agenda.now + after_s
        chance = 1 - (1 - near.loss_at(at)) * (1 - far.loss_at(at))
        return chance > 0 and self._rng.random() < chance

    def _arrive(self, end: End, message: Message) -> None:
        self._do(end.machine, self._receive, end, message)

    def _receive(self, end: End, message: Message) -> None:
        machine = end.machine
        if machine.links.get(end.number) is end:
            now = self.agenda.now
            self._carry_out(machine, machine.node.receive(end.number, message, now))

    def _accept(self, machine: Machine, life: int, wanted: Dial) -> None:
        if not machine.is_up or machine.life != life:
            return
        target = self._listening.get(wanted.address)
        if target is None or target is machine or not target.is_awake:
            at = self.agenda.now + _LINK.handshake_timeout_s
            self.agenda.at(at, self._do, machine, self._fail, machine, life, wanted.address)
            return
        pipe, now = Pipe(), self.agenda.now
        own, far = machine.add_end(pipe, now), target.add_end(pipe, self._later())
        own.far, far.far = far, own
        self.agenda.at(far.opens_at, self._do, machine, self._link_up, own, wanted.address)
        self._link_up(far, None)
        for word in wanted.first_words:
            self._receive(far, word)

    def _fail(self, machine: Machine, life: int, address: str) -> None:
        if machine.life == life:
            now = self.agenda.now
            self._carry_out(machine, machine.node.dial_failed(address, "no answer", now))

    def _link_up(self, end: End, dialled: str | None) -> None:
        machine, far = end.machine, end.far
        if far is None or machine.links.get(end.number) is not end:
            return
        peer = far.machine
        met = Introduction(
            addresses=(peer.address,),
            is_outbound=dialled is not None,
            dialled=dialled,
            life=peer.life,
        )
        now = self.agenda.now
        self._carry_out(machine, machine.node.link_up(end.number, peer.identity, met, now))

    def _close(self, machine: Machine, effect: CloseLink) -> None:
        end = machine.links.pop(effect.link, None)
        if end is None or end.far is None:
            return
        end.pipe.is_open = False
        arrival = max(self._later(), end.opens_at, *end.arrivals.values())
        is_lost = effect.code not in _SPARED
        self.agenda.at(self.agenda.now, self._do, machine, self._down, end, is_lost)
        self.agenda.at(arrival, self._do, end.far.machine, self._down, end.far, is_lost)

    def _down(self, end: End, is_lost: bool) -> None:
        """That end is over, whoever ended it."""
        machine = end.machine
        if machine.links.get(end.number, end) is not end:
            return
        machine.links.pop(end.number, None)
        now = self.agenda.now
        effects = machine.node.link_down(end.number, "closed", now, is_lost=is_lost)
        self._carry_out(machine, effects)

    def _fall_silent(self, machine: Machine, life: int) -> None:
        """The peers of a machine notice after the idle timeout that nothing comes from it."""
        self.agenda.at(self.agenda.now + _LINK.idle_timeout_s, self._miss, machine, life)
        if not machine.is_up:
            for end in machine.links.values():
                end.pipe.is_open = False

    def _miss_paused(self, machine: Machine, life: int, pause: int) -> None:
        """The same for a pause, if it is that one still: another one is missed in its own time."""
        if machine.is_paused and machine.pauses == pause:
            self._miss(machine, life)

    def _miss(self, machine: Machine, life: int) -> None:
        """Nothing came from that machine for so long that its links are over."""
        is_back = machine.is_awake and machine.life == life
        if is_back:
            return
        ends = [
            end
            for each in self.machines.values()
            for end in list(each.links.values())
            if end.far is not None and end.far.machine is machine and not self._is_new(end, life)
        ]
        for end in ends:
            end.pipe.is_open = False
            self._do(end.machine, self._down, end, True)
            if machine.life == life and end.far is not None:
                self._do(machine, self._down, end.far, True)

    def _is_new(self, end: End, life: int) -> bool:
        """Whether that link leads to a later life than this one."""
        far = end.far
        return (
            far is not None
            and far.machine.life != life
            and far.machine.links.get(far.number) is far
        )
