"""What a program watches: its subscriptions as the node knows them, and the credit of each.

Every pattern of a subscription is one WATCH with a number. A node that comes back is told of all
of them again. Credit that came back and deliveries that were taken are told once in a turn of the
loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maculaos.client.failures import NodeUnreachable, failure
from maculaos.wire import events as wire
from maculaos.wire.registry import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maculaos.client.line import Line
    from maculaos.client.requests import Requests
    from maculaos.client.subscription import Subscription
    from maculaos.errors import MaculaError
    from maculaos.wire.messages import RpcError, RpcResult

# Events that a node may send ahead of a program.
MAX_WINDOW: Final = 8192
# For a node that hangs; any other answers at once.
_ANSWER_S: Final = 30.0


class Watch:
    """One pattern of one subscription."""

    __slots__ = (
        "confirmed", "deadline", "group", "held", "is_known", "number", "owner", "pattern",
        "request", "subscription", "terms", "timeout_s", "used",
    )  # fmt: skip

    def __init__(
        self, owner: Watching, number: int, subscription: Subscription, pattern: str, terms: Terms
    ) -> None:
        self.owner = owner
        self.number = number
        self.subscription = subscription
        self.pattern = pattern
        self.terms = terms
        self.is_known = False
        # Credit to give back with the next TAKEN, and what is still held here.
        self.used = 0
        self.held = 0
        self.confirmed: list[int] = []
        self.request = 0
        self.timeout_s = 0.0
        self.deadline = 0.0

    def message(self) -> wire.Watch:
        """What the node is told."""
        terms, credit = self.terms, max(0, self.terms.window - self.held)
        number, pattern = self.number, self.pattern
        return wire.Watch(
            self.request, number, pattern, credit, terms.group, terms.queue, terms.policy
        )

    def answered(self, result: RpcResult) -> None:
        """See ``Waiting``."""
        del result
        self.owner.known(self)

    def failed(self, why: MaculaError) -> None:
        """See ``Waiting``."""
        self.owner.refused(self, why)


class Terms:
    """What a subscription asks for: how much waits where, ahead of the program and in the node."""

    __slots__ = ("group", "policy", "queue", "window")

    def __init__(self, queue_size: int, policy: Policy, group: str) -> None:
        self.policy = policy
        self.group = group
        self.window = min(queue_size, MAX_WINDOW)
        self.queue = queue_size
        if policy is Policy.BLOCK:
            # Nothing is dropped here, so what waits in both places counts.
            self.window = min((queue_size + 1) // 2, MAX_WINDOW)
            self.queue = queue_size - self.window


class Receipt:
    """A delivery to be confirmed once every subscription that it is for has taken it."""

    __slots__ = ("left", "life", "number")

    def __init__(self, number: int, left: int, life: int) -> None:
        self.number = number
        self.left = left
        self.life = life


class Watching:
    """All watches of one program."""

    def __init__(self, line: Line, requests: Requests) -> None:
        self._line = line
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._watches: dict[int, Watch] = {}
        self._last = 0
        # Which connection this is: receipts of one before are void.
        self._life = 0
        self._due: dict[int, Watch] = {}

    def add(self, subscription: Subscription, terms: Terms) -> None:
        """Watch for every pattern of ``subscription``."""
        for pattern in subscription.topics:
            self._last += 1
            watch = Watch(self, self._last, subscription, pattern, terms)
            self._watches[watch.number] = watch
            subscription.watches.append(watch)
        for watch in subscription.watches:
            self._say(watch)

    def remove(self, subscription: Subscription) -> None:
        """Watch no more for ``subscription``."""
        self._flush()
        for watch in subscription.watches:
            if self._watches.pop(watch.number, None) is not None:
                self._requests.drop(watch.request)
                self._line.say(wire.Unwatch(watch.number))

    def take(self, run: wire.Delivery) -> None:
        """Events came."""
        numbers = run.subscriptions
        if len(numbers) == 1:
            watch = self._watches.get(numbers[0])
            if watch is not None:
                receipt = Receipt(run.number, 1, self._life) if run.number else None
                watch.subscription.take(run, (watch,), receipt)
            return
        wanted: dict[Subscription, tuple[Watch, ...]] = {}
        for number in numbers:
            if (watch := self._watches.get(number)) is not None:
                # One event for a subscription, however many of its patterns mean the topic.
                wanted[watch.subscription] = (*wanted.get(watch.subscription, ()), watch)
        receipt = Receipt(run.number, len(wanted), self._life) if run.number else None
        for subscription, watches in wanted.items():
            subscription.take(run, watches, receipt)

    def give_back(self, watches: Sequence[Watch], count: int) -> None:
        """So many events need no place any more: the node may send as many again."""
        for watch in watches:
            watch.used += count
            if watch.used * 2 >= watch.terms.window:
                self._owe(watch)

    def hold(self, watches: Sequence[Watch], count: int) -> None:
        """So many events are kept until the program takes them."""
        for watch in watches:
            watch.held += count

    def taken(self, watches: Sequence[Watch]) -> None:
        """One of the events that are kept was taken."""
        for watch in watches:
            watch.held -= 1
        self.give_back(watches, 1)

    def sign(self, receipt: Receipt, watch: Watch) -> None:
        """One subscription has taken all of a delivery."""
        receipt.left -= 1
        if not receipt.left and receipt.life == self._life:
            watch.confirmed.append(receipt.number)
            self._owe(watch)

    def known(self, watch: Watch) -> None:
        """The node knows of it."""
        watch.is_known = True
        if all(each.is_known for each in watch.subscription.watches):
            watch.subscription.known()

    def refused(self, watch: Watch, why: MaculaError) -> None:
        """The node does not want it, or went before it said so and will be told again."""
        if not isinstance(why, NodeUnreachable) and watch.number in self._watches:
            self.remove(watch.subscription)
            watch.subscription.fail(why)

    def take_error(self, error: RpcError) -> None:
        """The node ends a watch that it knew."""
        for watch in list(self._watches.values()):
            if watch.request == error.call:
                self.refused(watch, failure(error.code, error.detail))

    def up(self) -> None:
        """A node is there that knows of nothing."""
        self._life += 1
        self._due.clear()
        for watch in self._watches.values():
            watch.used = 0
            watch.confirmed.clear()
            self._say(watch)

    def over(self, why: Callable[[], NodeUnreachable]) -> None:
        """There will be no node any more."""
        for watch in list(self._watches.values()):
            watch.subscription.fail(why())
        self._watches.clear()

    def close(self) -> None:
        """End every subscription."""
        for watch in list(self._watches.values()):
            watch.subscription.close()

    def _say(self, watch: Watch) -> None:
        self._requests.drop(watch.request)
        watch.request = self._requests.add(watch, _ANSWER_S)
        self._line.say(watch.message())

    def _owe(self, watch: Watch) -> None:
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due[watch.number] = watch

    def _flush(self) -> None:
        due, self._due = self._due, {}
        for watch in due.values():
            if watch.number not in self._watches:
                continue
            self._line.say(wire.Taken(watch.number, watch.used, tuple(watch.confirmed)))
            watch.used = 0
            watch.confirmed.clear()
