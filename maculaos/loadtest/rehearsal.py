"""A rehearsal: a load test in a virtual mesh, where time passes as quickly as nodes can think.

Programs are clients of virtual nodes; they and the nodes do in one second of virtual time what
real ones would do, however long that takes. Latencies are those of the virtual paths: what nodes
need to think is no part of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError, UsageError
from maculaos.loadtest.faults import Kind
from maculaos.loadtest.load import Load
from maculaos.loadtest.outcome import outcome_of
from maculaos.loadtest.phase import NODE_GONE, Phase
from maculaos.loadtest.schedule import spread
from maculaos.loadtest.stamps import Stamper
from maculaos.loadtest.virtual import VirtualMesh
from maculaos.wire.events import Delivery, Post, Taken, Watch
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    import random

    from maculaos.loadtest.faults import Fault
    from maculaos.loadtest.outcome import Outcome
    from maculaos.loadtest.scenario import Scenario
    from maculaos.wire.messages import Message

#: Virtual seconds.
SETTLE_DEADLINE_S: Final = 120.0
QUIET_S: Final = 45.0
DRAIN_DEADLINE_S: Final = 300.0
_TRIAL_EVERY_S: Final = 0.1
_COME_BACK_S: Final = 0.1
_CREDIT: Final = 1 << 30
_SUBSCRIPTION: Final = 1


class Rehearsal:
    """One run; call ``step`` until it says that all is over, then take the outcome."""

    def __init__(self, scenario: Scenario, latency_s: float, rng: random.Random) -> None:
        if not scenario.rate:
            raise UsageError("virtual nodes are as quick as you like", "give --rate above 0")
        self.phase = Phase.SETTLING
        self.afflictions: list[Fault] = []
        self.load = Load(scenario, rng.randrange(1, 2**32))
        self._scenario = scenario
        self._mesh = VirtualMesh(scenario.names, latency_s, rng, self)
        self._agenda = self._mesh.agenda
        self._publishers = range(scenario.publishers)
        self._stampers = [Stamper(self.load.run, n, scenario.size, rng) for n in self._publishers]
        self._trials = [Stamper(self.load.run - 1, n, scenario.size, rng) for n in self._publishers]
        self._schedules = spread(scenario.rate, scenario.publishers, scenario.duration_s)
        # Requests of publishers that wait to be confirmed, by client.
        self._open: dict[int, dict[int, int]] = {}
        self._began_at = 0.0
        self._last_delivery_s = 0.0
        self._begin()

    @property
    def now_s(self) -> float:
        """Virtual seconds since events count; 0 before."""
        return 0.0 if self.phase is Phase.SETTLING else self._agenda.now - self._began_at

    def step(self, seconds: float) -> bool:
        """Let that much virtual time pass; whether all is over.

        Raises ``MaculaError`` if programs do not meet in time.
        """
        self._agenda.run_until(self._agenda.now + seconds)
        if self.phase is Phase.SETTLING:
            self._check_settled()
        elif self.phase is Phase.RUNNING:
            if self.now_s > self._scenario.duration_s:
                self.phase = Phase.DRAINING
        elif self._is_quiet():
            self.phase = Phase.OVER
        return self.phase is Phase.OVER

    def outcome(self) -> Outcome:
        """What came of it."""
        duration_s = self._scenario.duration_s
        return outcome_of(self.load, duration_s, max(duration_s, self._last_delivery_s))

    # What nodes say; see ``virtual.Listener``.

    def hear(self, client: int, message: Message) -> None:
        """See ``Listener.hear``."""
        match message:
            case Delivery():
                self._take(client, message)
            case RpcResult():
                sequence = self._open.get(client, {}).pop(message.call, None)
                if sequence is not None:
                    self.load.confirm(client, sequence)
            case RpcError():
                sequence = self._open.get(client, {}).pop(message.call, None)
                if sequence is not None:
                    code = RpcErrorCode(message.code).name
                    self.load.refuse(client, sequence, code, self.now_s)
            case _:
                pass

    def lose(self, client: int) -> None:
        """See ``Listener.lose``."""
        if client < self._scenario.publishers:
            self.load.connections_lost += 1
        else:
            self.load.leave(client - self._scenario.publishers, self.now_s)
        for sequence in self._open.pop(client, {}).values():
            self.load.refuse(client, sequence, NODE_GONE, self.now_s)
        self._agenda.at(self._agenda.now + _COME_BACK_S, self._enter, client)

    # Programs: publishers are the first clients, subscribers those after them.

    def _begin(self) -> None:
        for name in self._scenario.names:
            self._mesh.start(name)
        for client in range(self._scenario.publishers + self._scenario.subscribers):
            self._enter(client)
        self._agenda.at(_TRIAL_EVERY_S, self._try)

    def _enter(self, client: int) -> None:
        """Connect a program, again and again until its node is up."""
        scenario, subscriber = self._scenario, client - self._scenario.publishers
        is_publisher = subscriber < 0
        place = (
            scenario.publisher_place(client)
            if is_publisher
            else scenario.subscriber_place(subscriber)
        )
        if not self._mesh.connect(client, scenario.names[place]):
            self._agenda.at(self._agenda.now + _COME_BACK_S, self._enter, client)
        elif not is_publisher:
            self._mesh.say(client, Watch(1, _SUBSCRIPTION, self._topic(subscriber), _CREDIT))

    def _try(self) -> None:
        """Publish what does not count, until the run begins."""
        if self.phase is not Phase.SETTLING:
            return
        for number in self._publishers:
            self._post(number, self._trials[number].stamped(0, 0.0), 0)
        self._agenda.at(self._agenda.now + _TRIAL_EVERY_S, self._try)

    def _check_settled(self) -> None:
        now = self._agenda.now
        if self.load.everyone_met and self._mesh.is_whole and now >= self._scenario.warmup_s:
            self.phase = Phase.RUNNING
            self._began_at = now
            for number in self._publishers:
                self._plan(number, 0)
            for fault in self._scenario.faults:
                self._agenda.at(now + fault.at_s, self._afflict, fault)
        elif now > SETTLE_DEADLINE_S:
            what = f"not every subscriber hears its publishers within {SETTLE_DEADLINE_S:g} s"
            raise MaculaError(what)

    def _plan(self, publisher: int, sequence: int) -> None:
        schedule = self._schedules[publisher]
        if sequence < schedule.total:
            at = self._began_at + schedule.at_s(sequence)
            self._agenda.at(at, self._publish, publisher)

    def _publish(self, publisher: int) -> None:
        due_s = self.now_s
        sequence = self.load.publish(publisher, due_s, due_s)
        request = sequence + 1 if self._scenario.acknowledge else 0
        if request:
            self._open.setdefault(publisher, {})[request] = sequence
        if not self._post(publisher, self._stampers[publisher].stamped(sequence, due_s), request):
            self._open.get(publisher, {}).pop(request, None)
            self.load.refuse(publisher, sequence, NODE_GONE, due_s)
        self._plan(publisher, sequence + 1)

    def _post(self, publisher: int, payload: bytes, request: int) -> bool:
        payloads = (encode_value(payload),)
        post = Post(request, self._topic(publisher), payloads, acknowledge=request > 0)
        return self._mesh.say(publisher, post)

    def _take(self, client: int, delivery: Delivery) -> None:
        now_s, before = self.now_s, self.load.checker.delivered
        for payload in delivery.payloads:
            value = decode_value(payload)
            self.load.take(client - self._scenario.publishers, value, now_s)
        if self.load.checker.delivered != before:
            self._last_delivery_s = now_s
        done = (delivery.number,) if delivery.number else ()
        self._mesh.say(client, Taken(_SUBSCRIPTION, len(delivery.payloads), done))

    def _topic(self, number: int) -> str:
        return f"loadtest.t{number % self._scenario.topics}"

    # Faults and the end.

    def _afflict(self, fault: Fault) -> None:
        self.afflictions.append(fault)
        match fault.kind:
            case Kind.KILL:
                self._mesh.kill(fault.node)
            case Kind.PAUSE:
                self._mesh.pause(fault.node)
            case Kind.LOSS:
                self._mesh.lose(fault.node, fault.share, fault.for_s)
        if fault.until_s <= self._scenario.duration_s:
            self._agenda.at(self._began_at + fault.until_s, self._relieve, fault)

    def _relieve(self, fault: Fault) -> None:
        self.afflictions.remove(fault)
        match fault.kind:
            case Kind.KILL:
                self._mesh.start(fault.node)
            case Kind.PAUSE:
                self._mesh.resume(fault.node)
            case Kind.LOSS:
                self._mesh.lose(fault.node, 0.0, 0.0)

    def _is_quiet(self) -> bool:
        """Whether everything has come, or nothing comes any more."""
        if self.now_s > self._scenario.duration_s + DRAIN_DEADLINE_S:
            return True
        is_answered = not any(self._open.values())
        waited_s = self.now_s - max(self._last_delivery_s, self._scenario.duration_s)
        return is_answered and (self.load.checker.is_complete() or waited_s > QUIET_S)
