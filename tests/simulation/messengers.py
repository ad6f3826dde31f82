"""Clients of simulated nodes that publish and subscribe, and a record of what they were told."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from maculaos.wire.events import Delivery, Post, Taken, Watch
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.values import Value, decode_value, encode_value
from simulation.world import World

_CREDIT = 1 << 20


@dataclass
class Messenger:
    """The client of one life of one node; it takes what it is handed, now or later."""

    world: World
    name: str
    rng: random.Random
    # How likely it is that it comes to a delivery in one round.
    diligence: float = 1.0
    life: int = 0
    read: int = 0
    waiting: list[Delivery] = field(default_factory=list)
    # What its program took, in order: publisher, number and value.
    record: list[tuple[bytes, int, Value]] = field(default_factory=list)
    answers: dict[int, RpcResult | RpcError] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether the node is in the life that this client connected to."""
        host = self.world.hosts[self.name]
        return host.is_running and host.life == self.life

    @property
    def values(self) -> list[Value]:
        """What its program took."""
        return [value for _, _, value in self.record]

    def connect(self, *watches: Watch) -> None:
        """Connect to the node that runs now, and subscribe."""
        self.life, self.read, self.waiting = self.world.hosts[self.name].life, 0, []
        self.world.connect_client(self.name)
        for watch in watches:
            self.world.say(self.name, watch)

    def subscribe(
        self,
        pattern: str,
        group: str = "",
        number: int = 1,
        credit: int = _CREDIT,
        queue: int = 1000,
    ) -> None:
        """Watch, with all the credit there is unless a test says otherwise."""
        self.world.say(self.name, Watch(0, number, pattern, credit, group, queue))

    def publish(
        self, request: int, topic: str, *values: Value, acknowledge: bool = False, **more: Any
    ) -> None:
        """Post these values; the answer comes to ``answers``."""
        payloads = tuple(encode_value(value) for value in values)
        post = Post(request, topic, payloads, acknowledge, **more)
        self.world.say(self.name, post)

    def work(self) -> None:
        """Read what came, and take some of it."""
        if not self.is_up:
            return
        heard = self.world.hosts[self.name].heard[1]
        for message in heard[self.read :]:
            if isinstance(message, Delivery):
                self.waiting.append(message)
            elif isinstance(message, RpcResult | RpcError):
                assert message.call not in self.answers, "answered twice"
                self.answers[message.call] = message
        self.read = len(heard)
        while self.waiting and self.rng.random() < self.diligence:
            self._take(self.waiting.pop(0))

    def _take(self, delivery: Delivery) -> None:
        for place, payload in enumerate(delivery.payloads):
            number = delivery.sequence + place
            self.record.append((delivery.publisher, number, decode_value(payload)))
        taken = (delivery.number,) if delivery.number else ()
        self.world.say(self.name, Taken(delivery.subscriptions[0], len(delivery.payloads), taken))


def run_all(messengers: list[Messenger], seconds: float, step_s: float = 0.1) -> None:
    """Let the world go on, and every client work in between."""
    world = messengers[0].world
    until = world.now + seconds
    while world.now < until:
        world.run_for(min(step_s, until - world.now))
        for messenger in messengers:
            messenger.work()


def confirmed_by(answer: RpcResult | RpcError) -> int | None:
    """How many targets confirmed, as the publisher was told; ``None`` after an error."""
    if isinstance(answer, RpcError):
        return None
    value = decode_value(answer.payload)
    assert isinstance(value, list)
    targets, confirmed = value
    assert isinstance(targets, int)
    assert isinstance(confirmed, int)
    assert confirmed <= targets
    return confirmed


def check_order(messenger: Messenger, record: list[tuple[bytes, int, Value]]) -> None:
    """Nothing twice, and the events of each publisher in their order."""
    last: dict[bytes, int] = {}
    for publisher, number, value in record:
        assert number > last.get(publisher, -1), (
            f"{messenger.name} got {value!r} after {last[publisher]}; {messenger.world.replay}"
        )
        last[publisher] = number


def counted(messengers: list[Messenger]) -> Counter[Value]:
    """By how many nodes each value was taken."""
    return Counter(value for messenger in messengers for value in dict.fromkeys(messenger.values))
