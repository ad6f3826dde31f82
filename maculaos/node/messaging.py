"""Publish/subscribe of one node: subscriptions, publications and runs from peers, joined.

The publisher's node knows who wants what (``interest``), works out where a topic goes (``plans``)
and sends one copy over each link that leads there (``multicast``); the target's node hands it to
its clients (``deliveries``). ``confirmations`` and ``receipts`` are the two ends of at least once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from maculaos.effects import Effect, SendToClient
from maculaos.errors import RemoteProtocolError
from maculaos.identity import NodeId
from maculaos.kademlia.rates import Allowance
from maculaos.node.confirmations import Confirmations
from maculaos.node.counters import Counters
from maculaos.node.deliveries import Deliveries
from maculaos.node.directory import Directory
from maculaos.node.interest import InterestOfRealm
from maculaos.node.letters import Letters
from maculaos.node.links import Links
from maculaos.node.multicast import Multicast
from maculaos.node.plans import Plans
from maculaos.node.posts import (
    MAX_PAYLOADS,
    Posts,
    Refused,
    check_way,
    refusal,
)
from maculaos.node.receipts import Receipts
from maculaos.node.retention import Retention
from maculaos.node.routing import MAX_HOPS, Routing
from maculaos.node.runs import Runs, for_clients
from maculaos.node.traces import MAX_TRACE, Traces
from maculaos.pubsub.outstanding import WINDOW, Outstanding
from maculaos.pubsub.patterns import MAX_GROUP_BYTES
from maculaos.pubsub.realm_interest import TooManySubscriptions
from maculaos.pubsub.seen import SeenCache
from maculaos.pubsub.topics import MAX_TOPIC_BYTES, InvalidTopic
from maculaos.swim.membership import Membership
from maculaos.wire.events import (
    MAX_TIME_MS,
    Events,
    Interest,
    InterestDigest,
    InterestWanted,
    Post,
    Receipt,
    Taken,
    Unwatch,
    Watch,
)
from maculaos.wire.messages import RpcResult
from maculaos.wire.registry import MESSAGE_STREAMS, RpcErrorCode
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    import random

    from maculaos.node.links import Link
    from maculaos.node.runs import EventSeal
    from maculaos.pubsub.arrivals import Source
    from maculaos.pubsub.realm_interest import Wish
    from maculaos.settings import NodeSettings
    from maculaos.swim.rumour import Rumour

_DONE: Final = encode_value(None)
# Runs a second that are taken from one neighbour for others.
_PASSED_ON_PER_SECOND: Final = 20_000
# Runs that came over others and are told from what they repeat.
_SEEN_LIMIT: Final = 8192
# No more runs are under way to one target; a receipt names them.
MAX_SEQUENCES: Final = 4 * WINDOW
# Publishers and groups whose acknowledged runs are told apart.
_SOURCES: Final = 20_000
# Traced runs a second that are taken from one neighbour: every target answers each.
_TRACED_PER_SECOND: Final = 200
# Retained events a second for one node: twice as many as there may be.
_RETAINED_PER_SECOND: Final = 20_000
# Far above every number of an honest publisher, and far below what a frame can say.
_MAX_SEQUENCE: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What publish/subscribe stands on."""

    membership: Membership
    links: Links
    routing: Routing
    letters: Letters
    directory: Directory
    counters: Counters


class Messaging:
    """What publish/subscribe does in one node; times are monotonic seconds."""

    def __init__(
        self, ground: Ground, settings: NodeSettings, rng: random.Random, now: float
    ) -> None:
        membership, counters, limits = ground.membership, ground.counters, settings.limits
        me, members = membership.me.node_id, membership.members
        self._me = me
        self._members = members
        self._counters = counters
        self._requires_signature = settings.events.require_signature
        self.deliveries = Deliveries(limits, counters)
        self.interest = InterestOfRealm(
            membership, limits, ground.links, ground.directory, counters
        )
        multicast = Multicast(me, ground.links, ground.routing, counters)
        self.multicast = multicast
        self.plans = Plans(me, self.interest.realm, self.deliveries, multicast)
        self.runs = Runs(me, rng, signs=settings.events.sign)
        self.receipts = Receipts(
            _SOURCES, self.deliveries, ground.links, ground.letters, counters, now
        )
        self.retention = Retention(me, members, self.deliveries)
        self.traces = Traces(membership.me, members)
        self.posts = Posts(me, self.runs, self.plans, self.deliveries, multicast, counters)
        outstanding = Outstanding(limits.pending_calls, limits.link_queue_bytes)
        self.confirmations = Confirmations(
            membership, outstanding, self.runs, self.plans, self.receipts, counters
        )
        self._passed_on = Allowance(_PASSED_ON_PER_SECOND)
        self._traced = Allowance(_TRACED_PER_SECOND)
        self._retained = Allowance(_RETAINED_PER_SECOND)
        self._seen = SeenCache(_SEEN_LIMIT)

    def seal(self, seal: EventSeal) -> None:
        """Sign and check runs with ``seal``, as the settings say."""
        self.runs.seal = seal

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch."""
        self.runs.set_wall_clock(wall)
        self.interest.begin_life(round(wall * 1000))
        self.traces.set_wall_clock(wall, now)

    # What clients say.

    def post(self, client: int, post: Post, now: float) -> list[Effect]:
        """A client publishes."""
        if post.is_trace:
            return self._trace(client, post, now)
        effects = self.posts.post(client, post, self.retention, self.confirmations, now)
        if self.deliveries.finished or self.deliveries.gone:
            return self._settled(effects, now)
        return effects

    def watch(self, client: int, watch: Watch, now: float) -> list[Effect]:
        """A client wants events; it is answered, and handed what is retained."""
        try:
            subscription = self.deliveries.add(client, watch)
            try:
                self.interest.want(subscription.pattern, subscription.group)
            except TooManySubscriptions:
                self.deliveries.remove([subscription], now)
                self.deliveries.gone.clear()
                raise
        except (InvalidTopic, TooManySubscriptions, ValueError) as error:
            return refusal(client, watch.request, RpcErrorCode.INVALID_REQUEST, str(error))
        self.plans.clear()
        effects: list[Effect] = []
        if watch.request:
            effects.append(SendToClient(client, RpcResult(watch.request, _DONE)))
        if not subscription.group:
            for run in self.retention.runs_for(subscription.pattern, now):
                effects += self.deliveries.offer(subscription, run, now)
        return self._settled(effects, now)

    def unwatch(self, client: int, unwatch: Unwatch, now: float) -> list[Effect]:
        """A client wants the events of one subscription no more."""
        subscription = self.deliveries.get(client, unwatch.subscription)
        if subscription is None:
            return []
        return self._settled(self.deliveries.remove([subscription], now), now)

    def client_down(self, client: int, now: float) -> list[Effect]:
        """A client is gone with all it wanted."""
        self.deliveries.forget(client)
        gone = self.deliveries.subscriptions_of(client)
        if not gone:
            return []
        return self._settled(self.deliveries.remove(gone, now, is_lost=True), now)

    def taken(self, client: int, taken: Taken, now: float) -> list[Effect]:
        """A client is through with events, and takes more."""
        return self._eased(self.deliveries.taken(client, taken, now), now)

    def client_room(self, client: int, now: float) -> list[Effect]:
        """There is room in the socket of a client again."""
        return self._eased(self.deliveries.release(client, now), now)

    def waits_for_clients(self, topic: str) -> bool:
        """Whether events of ``topic`` go to clients of this node only, whose sockets are full."""
        try:
            # First: nothing is remembered of a topic that is none.
            plan = self.plans.plan(topic)
        except InvalidTopic:
            return False  # it was refused
        if plan.nodes or not self.deliveries.has_only_held(topic):
            return False
        return all(node == self._me for _, nodes in plan.groups for node in nodes)

    def _eased(self, effects: list[Effect], now: float) -> list[Effect]:
        """``effects``, and word to whose runs were refused and have room now."""
        for source in self.receipts.with_room():
            effects += self._say_of_runs(source, (), 0, now)
        return self._settled(effects, now)

    # What peers say.

    def receive(self, link: Link, run: Events, now: float) -> list[Effect]:
        """A peer hands over a run: on to other targets, and to the clients that want it.

        Raises ``RemoteProtocolError`` for one that no honest neighbour sends.
        """
        self._check(link, run)
        count = len(run.payloads)
        self._counters.events_in += count
        if run.targets and not self._passed_on.take(link.peer.node_id, now):
            self._counters.events_dropped += count
            return []
        if not self._is_believed(run):
            self._counters.events_refused += count
            return []
        if run.trace:
            return self._take_traced(link, run, now)
        effects: list[Effect] = []
        if run.targets:
            is_here, effects = self.multicast.pass_on(link, run)
            if not (is_here and self._is_first(run)):
                return effects
            if run.acknowledge or run.retain_ms:
                # Something is remembered by its publisher's name, which has to be a member's.
                if not self._members.is_present(NodeId(run.publisher)):
                    self._counters.events_dropped += count
                    return effects
                self.receipts.came_over(link, NodeId(run.publisher))
        taken = self._take(NodeId(run.publisher), run, now)
        return [*effects, *taken] if effects else taken

    def _take_traced(self, link: Link, run: Events, now: float) -> list[Effect]:
        """A traced run: on to other targets, with a word of this node, and told if it is one."""
        trace = self.traces.extended(run, now)
        if not (trace and self._traced.take(link.peer.node_id, now)):
            self._counters.messages_ignored += 1
            return []
        run = msgspec.structs.replace(run, trace=trace)
        is_here, effects = self.multicast.pass_on(link, run) if run.targets else (True, [])
        if not is_here or run.publisher == self._me:
            return effects
        publisher = NodeId(run.publisher)
        return [
            *effects,
            *self.receipts.tell(publisher, Receipt((run.sequence,), trace=trace), now),
        ]

    def receive_receipt(self, source: NodeId, receipt: Receipt, now: float) -> list[Effect]:
        """A target says what became of runs of this node."""
        self._counters.receipts_in += 1
        if len(receipt.sequences) > MAX_SEQUENCES or len(receipt.trace) > MAX_TRACE:
            raise RemoteProtocolError("a receipt that is too long")
        if receipt.trace:
            return [
                effect
                for sequence in receipt.sequences[:1]
                for effect in self.traces.receipt(source, sequence, receipt.trace)
            ]
        return self._settled(self.confirmations.receipt(source, receipt, now), now)

    def receive_interest(
        self, link: Link, message: Interest | InterestDigest | InterestWanted, now: float
    ) -> list[Effect]:
        """A peer tells of interest, or asks; see ``InterestOfRealm.receive``."""
        before = self.interest.realm.changes
        effects, news = self.interest.receive(link, message, now)
        if self.interest.realm.changes != before:
            self.plans.clear()
        if len(self.confirmations):
            # Subscribers are back: what waits for them need not wait for its timer.
            for node, _ in news:
                effects += self.confirmations.retry(node, now)
        return [*effects, *self._tell_retained(news, now)]

    def link_up(self, link: Link, now: float) -> list[Effect]:
        """A link is up: compare interest, and send what its peer has not confirmed."""
        self.plans.clear()
        effects = self.interest.link_up(link, now)
        return [*effects, *self.confirmations.retry(link.peer.node_id, now)]

    def link_down(self, link: Link, now: float) -> list[Effect]:
        """A link is gone: what its peer has not confirmed goes another way."""
        self.plans.clear()
        self.receipts.link_down(link)
        return self.confirmations.retry(link.peer.node_id, now)

    def member_changed(self, after: Rumour, now: float) -> list[Effect]:
        """The view of another member changed."""
        self.plans.clear()
        self.multicast.meet(after.node_id)
        effects = self._tell_retained(self.interest.member_changed(after), now)
        if after.health.is_gone:
            effects += self.confirmations.member_gone(after.node_id, now)
        return self._settled(effects, now)

    def forget(self, node: NodeId) -> None:
        """Nobody remembers that member any more."""
        self.plans.clear()
        self.multicast.forget(node)
        self.interest.realm.forget(node)
        self.receipts.forget(node)
        self.confirmations.forget(node)

    def advance(self, now: float) -> list[Effect]:
        """Do what is due."""
        effects = self.interest.advance(now)
        if self.confirmations.next_deadline() <= now:
            effects += self.confirmations.advance(now)
        effects += self.traces.advance(now)
        if self.deliveries.next_deadline() <= now:
            return self._eased([*effects, *self.deliveries.advance(now)], now)
        return self._settled(effects, now)

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        due = min(
            self.confirmations.next_deadline(),
            self.interest.next_deadline(),
            self.deliveries.next_deadline(),
        )
        return min(due, self.traces.next_deadline()) if len(self.traces) else due

    def _check(self, link: Link, run: Events) -> None:
        """Raise ``RemoteProtocolError`` unless the peer may say that."""
        is_own = run.publisher == link.peer.node_id
        if run.targets:
            if not 0 < run.hops <= MAX_HOPS:
                raise RemoteProtocolError(f"an event travels over at most {MAX_HOPS} links")
            is_own = is_own or run.hops < MAX_HOPS
        if not is_own or len(run.publisher) != len(self._me):
            raise RemoteProtocolError("an event in the name of another node")
        _check_bounds(run)

    def _take(self, publisher: NodeId, run: Events, now: float) -> list[Effect]:
        """This node is a target."""
        if publisher == self._me:
            return []
        if run.retain_ms and not self.retention.copy(run, now) and run.is_retained:
            return []
        if run.acknowledge:
            receipt, effects = self.receipts.take(publisher, run, now)
            if receipt is not None:
                effects += self.receipts.tell(publisher, receipt, now)
        else:
            effects = self.deliveries.deliver(for_clients(run, now), run.group, now) or []
        if self.deliveries.finished or self.deliveries.gone:
            return self._settled(effects, now)
        return effects

    def _is_believed(self, run: Events) -> bool:
        """Whether a run may be taken up, as far as its signature is concerned."""
        if not (run.public_key or run.signature):
            return not self._requires_signature
        seal = self.runs.seal
        return seal is None or seal.is_genuine(run)

    def _is_first(self, run: Events) -> bool:
        """Whether a run that others brought is no repetition; acknowledged ones may be."""
        if run.acknowledge or run.is_retained:
            return True
        is_new = self._seen.is_new(run.publisher + run.group.encode(), run.sequence)
        self._counters.events_dropped += 0 if is_new else len(run.payloads)
        return is_new

    def _trace(self, client: int, post: Post, now: float) -> list[Effect]:
        try:
            check_way(post)
            plan = self.plans.plan(post.topic)
        except (InvalidTopic, Refused) as error:
            return refusal(client, post.request, RpcErrorCode.INVALID_REQUEST, str(error))
        if self.traces.is_full:
            detail = "too many traces at once"
            return refusal(client, post.request, RpcErrorCode.OVERLOADED, detail)
        here = (self._me,) if plan.is_here else ()
        members = [node for _, nodes in plan.groups for node in nodes]
        targets = dict.fromkeys((*here, *plan.nodes, *members))
        run = self.runs.traced(post, self.traces.here(now))
        others = [node for node in targets if node != self._me]
        sent = self.multicast.send(run, *self.multicast.split(others))
        asked = (client, post.request)
        return [*sent, *self.traces.begin(asked, run.sequence, targets, post.ttl_ms, now)]

    def _tell_retained(
        self, news: list[tuple[NodeId, tuple[Wish, ...]]], now: float
    ) -> list[Effect]:
        """Nodes want more than before: what is retained of it."""
        effects: list[Effect] = []
        for node, wishes in news:
            for kept in self.retention.for_wishes(wishes, now):
                if not self._retained.take(node, now):
                    self._counters.events_dropped += 1
                    continue
                way = self.multicast.split((node,))
                effects += self.multicast.send(self.runs.retained(kept, now), *way)
        return effects

    def _say_of_runs(
        self, source: Source, sequences: tuple[int, ...], code: int, now: float
    ) -> list[Effect]:
        """Tell a publisher, or this node itself, what became of runs; none: they may come again."""
        receipt = self.receipts.receipt(source, sequences, code)
        if source[0] == self._me:
            return self.confirmations.receipt(self._me, receipt, now)
        return self.receipts.tell(source[0], receipt, now)

    def _settled(self, effects: list[Effect], now: float) -> list[Effect]:
        """``effects``, and what follows from runs that are settled and subscriptions that ended."""
        while self.deliveries.finished:
            for (run_source, code), sequences in self.receipts.settled().items():
                effects += self._say_of_runs(run_source, tuple(sequences), code, now)
        if self.deliveries.gone:
            gone, self.deliveries.gone = self.deliveries.gone, []
            for pattern, group in gone:
                self.interest.unwant(pattern, group)
                self.retention.unwanted(pattern, now)
            self.plans.clear()
        if self.interest.is_due(now):
            effects += self.interest.say(now)
        return effects


def _check_bounds(run: Events) -> None:
    """Raise ``RemoteProtocolError`` for a run that no publisher makes: its neighbour looks, too."""
    if not 0 <= run.priority < len(MESSAGE_STREAMS):
        raise RemoteProtocolError(f"priority {run.priority}")
    if not 0 <= run.sequence < _MAX_SEQUENCE:
        raise RemoteProtocolError(f"sequence {run.sequence}")
    if not (0 <= run.ttl_ms <= MAX_TIME_MS and 0 <= run.retain_ms <= MAX_TIME_MS):
        raise RemoteProtocolError("a time of more than a day")
    if not (run.payloads or run.trace):
        raise RemoteProtocolError("a run of nothing")
    is_long = len(run.topic) > MAX_TOPIC_BYTES or len(run.group) > MAX_GROUP_BYTES
    if is_long or len(run.payloads) > MAX_PAYLOADS:
        raise RemoteProtocolError("a run that is too long")
