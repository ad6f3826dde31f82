"""What clients of this node subscribe to, and events on their last stretch: into their hands.

A run that a client has credit for is handed over at once, one message for all its subscriptions;
otherwise it waits in the mailbox of each. A client whose socket is full is handed nothing, whatever
its credit: that counts events, and events may be large. An acknowledged run is settled when every
client that has a part of it said so, or is gone; see ``finished``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from maculaos.effects import Effect, SendToClient
from maculaos.pubsub.groups import Turns
from maculaos.pubsub.mailbox import MAX_CREDIT, Mailbox, Overflow, Run, Taking
from maculaos.pubsub.patterns import check_group, check_pattern
from maculaos.pubsub.realm_interest import TooManySubscriptions
from maculaos.pubsub.tree import PatternTree, TopicMemo
from maculaos.wire.events import Delivery, Taken, Watch
from maculaos.wire.messages import RpcError
from maculaos.wire.registry import RpcErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.node.counters import Counters
    from maculaos.settings import LimitSettings

MAX_QUEUE: Final = 1_000_000
# What a run in the hands of a client counts beside its payloads, in bytes.
_HANDED_BYTES: Final = 512
# So much of what waited is handed out in one step: this part of what a client may have waiting.
_STEP_PART: Final = 8


class Subscription:
    """What one client asked for with one number."""

    __slots__ = ("client", "group", "mailbox", "number", "pattern", "request")

    def __init__(self, client: int, watch: Watch, limit_bytes: int) -> None:
        credit = max(0, min(watch.credit, MAX_CREDIT))
        queue = max(1, min(watch.queue, MAX_QUEUE))
        self.client = client
        self.number = watch.subscription
        self.request = watch.request
        self.pattern = check_pattern(watch.pattern)
        self.group = check_group(watch.group)
        self.mailbox = Mailbox(credit, queue, Overflow(watch.policy), limit_bytes)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who wants a topic here."""

    # By client: its subscriptions without a group, and their numbers.
    plain: tuple[tuple[int, tuple[Subscription, ...], tuple[int, ...]], ...]
    groups: dict[str, tuple[Subscription, ...]]


class _Handed(NamedTuple):
    """An acknowledged run, or a part of one, in the hands of a client."""

    client: int
    subscriptions: tuple[Subscription, ...]
    run: Run
    taking: Taking
    size: int


class Deliveries:
    """Subscriptions and mailboxes of all clients; times are monotonic seconds."""

    def __init__(self, limits: LimitSettings, counters: Counters) -> None:
        self._limit = limits.subscriptions
        self._limit_bytes = limits.client_queue_bytes
        self._step_bytes = limits.client_queue_bytes // _STEP_PART
        self._counters = counters
        self._tree: PatternTree[Subscription] = PatternTree()
        self._audiences: TopicMemo[Audience] = TopicMemo()
        self._of_client: dict[int, dict[int, Subscription]] = {}
        self._size = 0
        self._turns = Turns()
        self._handed: dict[int, _Handed] = {}
        self._handed_to: dict[int, dict[int, None]] = {}
        # By client: the bytes of acknowledged runs that it has and did not confirm.
        self._unconfirmed: dict[int, int] = {}
        self._last_number = 0
        # Clients whose sockets are full, and the subscriptions to go on with at the next step.
        self._held: dict[int, None] = {}
        self._behind: dict[Subscription, None] = {}
        self._goes_on_at = math.inf
        # Acknowledged runs that nobody here waits for any more; whoever asks takes them away.
        self.finished: list[Taking] = []
        # The patterns and groups of subscriptions that ended; the same.
        self.gone: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return self._size

    @property
    def waiting(self) -> int:
        """Events that wait in mailboxes."""
        return sum(each.mailbox.waiting for each in self._all())

    @property
    def dropped(self) -> int:
        """Events that mailboxes of subscriptions that are there dropped."""
        return sum(each.mailbox.dropped for each in self._all())

    def audience(self, topic: str) -> Audience:
        """Who wants ``topic`` here."""
        return self._audiences.get(topic) or self._audiences.put(topic, self._gather(topic))

    def add(self, client: int, watch: Watch) -> Subscription:
        """Take up a subscription.

        Raises ``InvalidTopic`` or ``TooManySubscriptions``, ``ValueError`` for a policy or a number
        that makes no sense.
        """
        held = self._of_client.get(client, {})
        if watch.subscription in held:
            raise ValueError(f"there is a subscription {watch.subscription} already")
        if self._size >= self._limit:
            raise TooManySubscriptions(f"more than {self._limit} subscriptions")
        subscription = Subscription(client, watch, self._limit_bytes)
        self._of_client.setdefault(client, {})[watch.subscription] = subscription
        self._tree.add(subscription.pattern, subscription)
        self._audiences.clear()
        self._size += 1
        return subscription

    def get(self, client: int, number: int) -> Subscription | None:
        """That subscription of that client."""
        return self._of_client.get(client, {}).get(number)

    def subscriptions_of(self, client: int) -> tuple[Subscription, ...]:
        """All subscriptions of a client."""
        return tuple(self._of_client.get(client, {}).values())

    def remove(
        self, gone: Iterable[Subscription], now: float, *, is_lost: bool = False
    ) -> list[Effect]:
        """These subscriptions end; what they held of groups goes to others.

        What else they held is missed by nobody, unless they were lost with their program.
        """
        removed = list(gone)
        for subscription in removed:
            there = self._of_client[subscription.client]
            del there[subscription.number]
            if not there:
                del self._of_client[subscription.client]
            self._tree.remove(subscription.pattern, subscription)
            self.gone.append((subscription.pattern, subscription.group))
        self._size -= len(removed)
        self._audiences.clear()
        effects: list[Effect] = []
        for subscription in removed:
            held = [(run, run.taking) for run in subscription.mailbox.clear()]
            for run, taking in held:
                effects += self._release(subscription, run, taking, now, is_lost=is_lost)
        for client in dict.fromkeys(each.client for each in removed):
            for handed in self._orphaned(client):
                first, run, taking = handed.subscriptions[0], handed.run, handed.taking
                effects += self._release(first, run, taking, now, is_lost=is_lost)
        return effects

    def taken(self, client: int, taken: Taken, now: float) -> list[Effect]:
        """A client is through with events, and takes more."""
        for number in taken.deliveries:
            handed = self._handed.get(number)
            if handed is not None and handed.client == client:
                self._forget_handed(number, client)
                self._settle(handed.taking)
        subscription = self.get(client, taken.subscription)
        if subscription is None:
            return []
        subscription.mailbox.grant(taken.credit)
        return self._empty(subscription, now) if subscription.mailbox.waiting else []

    def hold(self, client: int) -> None:
        """Hand nothing to that client until ``release``: its socket is full."""
        self._held[client] = None

    def release(self, client: int, now: float) -> list[Effect]:
        """There is room in the socket of a client again."""
        if self._held.pop(client, self) is self:
            return []
        ready = [each for each in self.subscriptions_of(client) if each.mailbox.waiting]
        self._behind.update(dict.fromkeys(ready))
        return self.advance(now)

    def forget(self, client: int) -> None:
        """That client is gone."""
        self._held.pop(client, None)

    def has_only_held(self, topic: str) -> bool:
        """Whether somebody here wants ``topic``, and nobody whose socket has room."""
        audience = self.audience(topic)
        clients = [client for client, _, _ in audience.plain]
        clients += [each.client for members in audience.groups.values() for each in members]
        return bool(clients) and all(client in self._held for client in clients)

    def advance(self, now: float) -> list[Effect]:
        """Go on handing out what waits, one step's worth."""
        behind, self._behind = self._behind, {}
        self._goes_on_at = math.inf
        effects: list[Effect] = []
        room = self._step_bytes
        for each in behind:
            if each.client in self._held or not self._is_there(each):
                continue
            if room <= 0:
                self._go_on(each, now)
                continue
            before = each.mailbox.waiting_bytes
            effects += self._empty(each, now, room)
            room -= before - each.mailbox.waiting_bytes
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return self._goes_on_at

    def deliver(self, run: Run, group: str, now: float) -> list[Effect] | None:
        """Hand a run to who wants it, or let it wait; ``None``: an acknowledged one has no room."""
        audience = self._audiences.get(run.topic) or self.audience(run.topic)
        if group:
            return self._deal(run, audience.groups.get(group, ()), now)
        taking = run.taking
        if taking is not None and not self._has_room(audience, run):
            return None
        count = len(run.payloads)
        effects: list[Effect] = []
        for client, subscriptions, numbers in audience.plain:
            if client not in self._held and all(
                each.mailbox.credit >= count and not each.mailbox.waiting for each in subscriptions
            ):
                for each in subscriptions:
                    each.mailbox.credit -= count
                effects.append(self._hand(client, subscriptions, numbers, run, now))
            else:
                for each in subscriptions:
                    effects += self.offer(each, run, now)
        if taking is not None and not taking.left:
            self.finished.append(taking)
        return effects

    def is_at_ease(self, topic: str, group: str) -> bool:
        """Whether who wants ``topic`` here may be offered again what had no room."""
        audience = self.audience(topic)
        if group:
            members = audience.groups.get(group, ())
            return not members or any(map(self._is_at_ease, members))
        return all(self._is_at_ease(each) for _, held, _ in audience.plain for each in held)

    def _gather(self, topic: str) -> Audience:
        plain: dict[int, list[Subscription]] = {}
        groups: dict[str, list[Subscription]] = {}
        for each in self._tree.match(topic):
            if each.group:
                groups.setdefault(each.group, []).append(each)
            else:
                plain.setdefault(each.client, []).append(each)
        return Audience(
            tuple(
                (client, tuple(held), tuple(each.number for each in held))
                for client, held in plain.items()
            ),
            {group: tuple(held) for group, held in groups.items()},
        )

    def _deal(self, run: Run, members: tuple[Subscription, ...], now: float) -> list[Effect] | None:
        """Share a run among the members of a group, those first that can take it at once."""
        taking, effects = run.taking, list[Effect]()
        if taking is not None:
            able = tuple(each for each in members if self._may_take(each, run))
            if members and not able:
                return None
            members = able
        ready = tuple(
            each
            for each in members
            if each.mailbox.credit and not each.mailbox.waiting and each.client not in self._held
        )
        members = ready or members
        if members:
            group = members[0].group
            for member, part in self._turns.deal(group, members, len(run.payloads)):
                piece = replace(
                    run, payloads=run.payloads[part], sequence=run.sequence + part.start
                )
                effects += self.offer(member, piece, now)
        elif taking is not None:
            taking.code = taking.code or RpcErrorCode.NO_PROVIDER
        if taking is not None and not taking.left:
            self.finished.append(taking)
        return effects

    def offer(self, subscription: Subscription, run: Run, now: float) -> list[Effect]:
        """Hand a run to one subscription alone, or let it wait."""
        mailbox, count = subscription.mailbox, len(run.payloads)
        is_open = not mailbox.waiting and subscription.client not in self._held
        if is_open and mailbox.credit >= count:
            mailbox.credit -= count
            numbers = (subscription.number,)
            return [self._hand(subscription.client, (subscription,), numbers, run, now)]
        effects: list[Effect] = []
        if is_open and mailbox.credit and run.taking is None:
            # What there is credit for takes no room in the queue.
            ready, run = run.cut(mailbox.credit)
            count = len(run.payloads)
            effects = self.offer(subscription, ready, now)
        before = mailbox.dropped
        is_kept = mailbox.put(run)
        self._counters.events_overflowed += mailbox.dropped - before
        if not is_kept:
            self._counters.events_overflowed += count
            return [*effects, *self._end(subscription, now)]
        return [*effects, *self._empty(subscription, now)] if mailbox.credit else effects

    def _hand(
        self,
        client: int,
        subscriptions: tuple[Subscription, ...],
        numbers: tuple[int, ...],
        run: Run,
        now: float,
    ) -> SendToClient:
        """The message that puts a run into the hands of a client."""
        number, ttl_ms = 0, 0
        if run.taking is not None:
            self._last_number = number = self._last_number + 1
            run.taking.left += 1
            size = _HANDED_BYTES + sum(map(len, run.payloads))
            self._handed[number] = _Handed(client, subscriptions, run, run.taking, size)
            self._handed_to.setdefault(client, {})[number] = None
            self._unconfirmed[client] = self._unconfirmed.get(client, 0) + size
        if run.expires_at != math.inf:
            ttl_ms = max(1, round((run.expires_at - now) * 1000))
        self._counters.events_delivered += len(run.payloads)
        return SendToClient(
            client,
            Delivery(
                number,
                numbers,
                run.topic,
                run.publisher,
                run.sequence,
                run.payloads,
                run.is_retained,
                ttl_ms,
            ),
        )

    def _empty(
        self, subscription: Subscription, now: float, room: float | None = None
    ) -> list[Effect]:
        """Hand out of a mailbox as much as there is credit and ``room`` for, in bytes."""
        mailbox, is_held = subscription.mailbox, subscription.client in self._held
        before = mailbox.dropped
        pieces, late = mailbox.take(now, 0 if is_held else room or self._step_bytes)
        if mailbox.waiting and mailbox.credit and not is_held:
            self._go_on(subscription, now)
        self._counters.events_expired += mailbox.dropped - before
        effects: list[Effect] = []
        for run in late:
            if run.taking is not None:
                run.taking.code = RpcErrorCode.DEADLINE_EXCEEDED
                self._settle(run.taking)
        for run in pieces:
            numbers = (subscription.number,)
            effects.append(self._hand(subscription.client, (subscription,), numbers, run, now))
            if run.taking is not None:
                # It has left the mailbox, which counted as one.
                run.taking.left -= 1
        return effects

    def _go_on(self, subscription: Subscription, now: float) -> None:
        self._behind[subscription] = None
        self._goes_on_at = min(self._goes_on_at, now)

    def _end(self, subscription: Subscription, now: float) -> list[Effect]:
        """A subscription whose mailbox is full, and which asked for that."""
        detail = f"subscription {subscription.number} fell behind, and its queue is full"
        ended = RpcError(subscription.request, RpcErrorCode.OVERLOADED, detail)
        told = [SendToClient(subscription.client, ended)] if subscription.request else []
        return [*told, *self.remove([subscription], now, is_lost=True)]

    def _orphaned(self, client: int) -> list[_Handed]:
        """What a client was handed for subscriptions of which none is there any more."""
        orphaned: list[_Handed] = []
        is_gone = client not in self._of_client
        for number in tuple(self._handed_to.get(client, ())):
            handed = self._handed[number]
            if is_gone or not any(map(self._is_there, handed.subscriptions)):
                self._forget_handed(number, client)
                orphaned.append(handed)
        return orphaned

    def _release(
        self,
        subscription: Subscription,
        run: Run,
        taking: Taking | None,
        now: float,
        *,
        is_lost: bool,
    ) -> list[Effect]:
        """What becomes of an acknowledged run of a subscription that is gone."""
        if taking is None:
            return []
        if is_lost and not subscription.group:
            taking.code = RpcErrorCode.PROVIDER_LOST
        return self._leave_to_others(subscription, run, taking, now)

    def _leave_to_others(
        self, subscription: Subscription, run: Run, taking: Taking, now: float
    ) -> list[Effect]:
        """Another member of the group takes a run."""
        dealt: list[Effect] | None = []
        if subscription.group:
            members = self.audience(run.topic).groups.get(subscription.group, ())
            dealt = self._deal(run, members, now)
            if dealt is None:
                # It was taken here: whoever takes it next gets it under another number.
                taking.code = RpcErrorCode.PROVIDER_LOST
        self._settle(taking)
        return dealt or []

    def _settle(self, taking: Taking) -> None:
        taking.left -= 1
        if not taking.left:
            self.finished.append(taking)

    def _is_there(self, subscription: Subscription) -> bool:
        return self.get(subscription.client, subscription.number) is subscription

    def _forget_handed(self, number: int, client: int) -> None:
        self._unconfirmed[client] -= self._handed.pop(number).size
        numbers = self._handed_to[client]
        del numbers[number]
        if not numbers:
            del self._handed_to[client], self._unconfirmed[client]

    def _has_room(self, audience: Audience, run: Run) -> bool:
        """Whether everybody may be given an acknowledged run."""
        return all(
            self._may_take(each, run)
            for _, subscriptions, _ in audience.plain
            for each in subscriptions
        )

    def _may_take(self, subscription: Subscription, run: Run) -> bool:
        """Whether a client has room, and has not too much already that it did not confirm."""
        return self._may_hold_more(subscription.client) and subscription.mailbox.has_room(run)

    def _is_at_ease(self, subscription: Subscription) -> bool:
        return self._may_hold_more(subscription.client) and subscription.mailbox.is_at_ease

    def _may_hold_more(self, client: int) -> bool:
        """What waited may all be in its hands, and as much again."""
        return self._unconfirmed.get(client, 0) < 2 * self._limit_bytes

    def _all(self) -> Iterator[Subscription]:
        for held in self._of_client.values():
            yield from held.values()
