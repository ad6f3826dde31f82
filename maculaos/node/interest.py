"""Interest on its way: what the clients of this node want, told to all, and what others want.

Words are flooded over links: whoever hears one for the first time tells its other neighbours. What
a link misses is found out by digests, said when it is up and now and then afterwards. A node that
hears something about itself that it did not say begins another life of its interest, and says all
of it again. Like rumours of membership, words of others are believed: no more is at stake.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

from maculaos.effects import Effect, Send
from maculaos.errors import RemoteProtocolError
from maculaos.kademlia.rates import Allowance
from maculaos.node.entries import node_id_from_wire
from maculaos.pubsub.patterns import literal_prefix
from maculaos.pubsub.realm_interest import (
    MAX_BYTES,
    MAX_WEIGHT,
    Change,
    Outcome,
    RealmInterest,
    TooManySubscriptions,
    Version,
    wish_bytes,
)
from maculaos.wire import events as wire
from maculaos.wire.registry import StreamClass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.directory import Directory
    from maculaos.node.links import Link, Links
    from maculaos.pubsub.realm_interest import Wish
    from maculaos.settings import LimitSettings
    from maculaos.swim.membership import Membership
    from maculaos.swim.rumour import Rumour

    # Nodes, and what they want beyond before.
    News: TypeAlias = list[tuple[NodeId, tuple[Wish, ...]]]

# What is said of interest at most so often, in seconds: a program subscribes to much at once.
_GATHER_S: Final = 0.02
# How often one neighbour is told what this node heard of, in seconds.
_DIGEST_S: Final = 60.0
# Words a second that are taken from one neighbour, and wholes that it is given; each whole counts
# with all that it holds.
_WORDS_PER_SECOND: Final = 5_000
_WHOLES_PER_SECOND: Final = 1_000
# What others say of this node is contradicted at most so often, in seconds: that goes to everybody.
_CONTRADICT_S: Final = 1.0
# Lives and versions stay far below what a frame can say.
_MOST: Final = 1 << 62
_CONTROL: Final = StreamClass.CONTROL


class InterestOfRealm:
    """The interest of this node and of all others; times are monotonic seconds."""

    def __init__(
        self,
        membership: Membership,
        limits: LimitSettings,
        links: Links,
        directory: Directory,
        counters: Counters,
    ) -> None:
        self._me = membership.me.node_id
        self._members = membership.members
        self._links = links
        self._directory = directory
        self._counters = counters
        self._limit = limits.subscriptions
        self._node_limit = limits.members
        self.realm = RealmInterest(2 * self._limit, self._limit, self._node_limit)
        # How many subscriptions there are for each wish, and for each name in the table.
        self._own: dict[tuple[str, str], int] = {}
        self._own_bytes = 0
        self._named: dict[str, int] = {}
        # What was not said yet.
        self._added: dict[Wish, None] = {}
        self._removed: dict[Wish, None] = {}
        self._life = 1
        self._number = 0
        self._said_at = -math.inf
        self._digest_at = math.inf
        self._turn = 0
        self._words = Allowance(_WORDS_PER_SECOND)
        # So that a neighbour can be told everything at once.
        self._wholes = Allowance(_WHOLES_PER_SECOND + 3 * self._limit)
        # Somebody said what this node did not, and was not contradicted yet.
        self._is_doubted = False
        self._contradicted_at = -math.inf

    def begin_life(self, life: int) -> None:
        """A number that rises with every start; only before anything was said."""
        if not self._number:
            self._life = max(self._life, life)

    def want(self, pattern: str, group: str) -> None:
        """One more subscription wants that; raises ``TooManySubscriptions``."""
        key = (pattern, group)
        count = self._own.get(key, 0)
        if not count:
            size = wish_bytes(*key)
            if self._own_bytes + size > MAX_BYTES:
                raise TooManySubscriptions("the patterns of this node are more than a frame takes")
            self._own_bytes += size
            self._name(pattern, 1)
        self._own[key] = count + 1
        self._weigh(key, count, count + 1)

    def unwant(self, pattern: str, group: str) -> None:
        """One subscription wants that no more."""
        key = (pattern, group)
        count = self._own[key] - 1
        self._own[key] = count
        self._weigh(key, count + 1, count)
        if not count:
            del self._own[key]
            self._own_bytes -= wish_bytes(*key)
            self._name(pattern, -1)

    def is_due(self, now: float) -> bool:
        """Whether ``say`` has something to do."""
        return bool(self._added or self._removed) and now >= self._said_at + _GATHER_S

    def say(self, now: float) -> list[Effect]:
        """Tell every neighbour what changed."""
        self._said_at = now
        return self._flood(self._change(), None)

    def link_up(self, link: Link, now: float) -> list[Effect]:
        """A new neighbour: compare what was heard."""
        if self._digest_at == math.inf:
            self._digest_at = now + _DIGEST_S
        return [Send(link.number, self._digest(), _CONTROL)]

    def advance(self, now: float) -> list[Effect]:
        """Say what is due."""
        effects = self.say(now) if self.is_due(now) else []
        effects += self._contradict(now)
        if now >= self._digest_at:
            links = list(self._links)
            self._digest_at = now + _DIGEST_S if links else math.inf
            self._turn += 1
            if links and (self.realm.versions() or self._number):
                link = links[self._turn % len(links)]
                effects.append(Send(link.number, self._digest(), _CONTROL))
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do."""
        due = self._digest_at
        if self._added or self._removed:
            due = min(due, self._said_at + _GATHER_S)
        return min(due, self._contradicted_at + _CONTRADICT_S) if self._is_doubted else due

    def receive(
        self,
        link: Link,
        message: wire.Interest | wire.InterestDigest | wire.InterestWanted,
        now: float,
    ) -> tuple[list[Effect], News]:
        """A neighbour tells of interest, or asks; what follows, and who wants more than before.

        Raises ``RemoteProtocolError`` and ``InvalidTopic`` for what no honest neighbour says.
        """
        if not self._words.take(link.peer.node_id, now):
            self._counters.interest_refused += 1
            return [], []
        match message:
            case wire.Interest():
                return self._hear(link, message, now)
            case wire.InterestDigest():
                return self._compare(link, message, now), []
            case wire.InterestWanted():
                return self._tell(link, message, now), []

    def member_changed(self, after: Rumour) -> News:
        """The view of a member changed: whether it is there decides about its interest."""
        if after.health.is_gone:
            self.realm.vanish(after.node_id)
            return []
        wishes = self.realm.appear(after.node_id)
        return [(after.node_id, wishes)] if wishes else []

    def _weigh(self, key: tuple[str, str], before: int, after: int) -> None:
        """So many subscriptions want that instead of so many; what is to be said of it."""
        was, is_ = ((*key, _weight(key, count)) for count in (before, after))
        if was == is_:
            return
        if was[2]:
            _move(was, self._added, self._removed)
        if is_[2]:
            _move(is_, self._removed, self._added)

    def _change(self) -> wire.Interest:
        """What changed since the last word; the next word of this node."""
        # Where somebody drove it to its end nobody hears this; who says more loses its links.
        self._number = min(self._number + 1, _MOST - 1)
        added, self._added = self._added, {}
        removed, self._removed = self._removed, {}
        return wire.Interest(self._me, self._life, self._number, _to_wire(added), _to_wire(removed))

    def _whole(self) -> wire.Interest:
        """All that this node wants, as far as it was said."""
        wishes = ((*key, _weight(key, count)) for key, count in self._own.items())
        said = [wish for wish in wishes if wish not in self._added]
        said += self._removed
        return wire.Interest(self._me, self._life, self._number, _to_wire(said), is_whole=True)

    def _digest(self) -> wire.InterestDigest:
        own = wire.InterestState(self._me, self._life, self._number)
        others = (
            wire.InterestState(node, version.life, version.number)
            for node, version in self.realm.versions()
        )
        return wire.InterestDigest((own, *others))

    def _hear(self, link: Link, message: wire.Interest, now: float) -> tuple[list[Effect], News]:
        node = node_id_from_wire(message.node)
        _check_version(message.life, message.version)
        if node == self._me:
            return self._hear_of_me(link, message.life, message.version, now), []
        change = Change(
            message.life,
            message.version,
            tuple((each.pattern, each.group, each.weight) for each in message.added),
            tuple((each.pattern, each.group, each.weight) for each in message.removed),
            message.is_whole,
        )
        match self.realm.judge(node, change):
            case Outcome.OLD:
                return [], []
            case Outcome.GAP:
                return [Send(link.number, wire.InterestWanted((node,)), _CONTROL)], []
            case Outcome.REFUSED:
                self._counters.interest_refused += 1
                return [], []
            case Outcome.NEW:
                self._counters.interest_heard += 1
        is_there = self._members.is_present(node)
        wishes = self.realm.apply(node, change, is_there=is_there)
        news: News = [(node, wishes)] if wishes and is_there else []
        return self._flood(message, link), news

    def _hear_of_me(self, link: Link, life: int, number: int, now: float) -> list[Effect]:
        """Somebody holds words of this node: of an earlier life, or such as it never said."""
        if (life, number) < (self._life, self._number):
            return self._tell_whole(link, self._me, now)
        if (life, number) == (self._life, self._number):
            return []
        # At the end of all lives only a higher version is left to say.
        last = _MOST - 1
        self._number = min((self._number if life < last else max(self._number, number)) + 1, last)
        self._life = min(life + 1, last)
        self._is_doubted = True
        return self._contradict(now)

    def _contradict(self, now: float) -> list[Effect]:
        """Tell everybody what this node wants, if that is in doubt and was not done just now."""
        if not self._is_doubted or now < self._contradicted_at + _CONTRADICT_S:
            return []
        self._is_doubted, self._contradicted_at = False, now
        return self._flood(self._whole(), None)

    def _compare(self, link: Link, digest: wire.InterestDigest, now: float) -> list[Effect]:
        """Ask for what the neighbour has heard and this node has not."""
        if len(digest.states) > self._node_limit + 1:
            raise RemoteProtocolError(f"a digest of the interest of {len(digest.states)} nodes")
        told = [
            (node_id_from_wire(each.node), Version(each.life, each.version))
            for each in digest.states
        ]
        for _, version in told:
            _check_version(version.life, version.number)
        wanted = self.realm.missing(
            [each for each in told if each[0] != self._me], self._may_be_there
        )
        effects: list[Effect] = []
        if wanted:
            effects.append(Send(link.number, wire.InterestWanted(tuple(wanted)), _CONTROL))
        mine = max((v for node, v in told if node == self._me), key=_order, default=None)
        if mine is not None and not mine.is_before(self._life, self._number):
            effects += self._hear_of_me(link, mine.life, mine.number, now)
        return effects

    def _tell(self, link: Link, wanted: wire.InterestWanted, now: float) -> list[Effect]:
        """A neighbour asks for all that these nodes want."""
        effects: list[Effect] = []
        for said in dict.fromkeys(wanted.nodes[: self._node_limit + 1]):
            effects += self._tell_whole(link, node_id_from_wire(said), now)
        return effects

    def _tell_whole(self, link: Link, node: NodeId, now: float) -> list[Effect]:
        """Tell a neighbour all that a node wants, if it did not ask for too much lately."""
        wishes = self._own if node == self._me else self.realm.wishes_of(node)
        if not self._wholes.take(link.peer.node_id, now, 1 + len(wishes)):
            self._counters.interest_refused += 1
            return []
        if node == self._me:
            return [Send(link.number, self._whole(), _CONTROL)]
        version = self.realm.version_of(node)
        if version.life < 0:
            return []
        told = _to_wire(self.realm.wishes_of(node))
        whole = wire.Interest(node, version.life, version.number, told, is_whole=True)
        return [Send(link.number, whole, _CONTROL)]

    def _flood(self, message: wire.Interest, came_over: Link | None) -> list[Effect]:
        return [
            Send(link.number, message, _CONTROL) for link in self._links if link is not came_over
        ]

    def _may_be_there(self, node: NodeId) -> bool:
        member = self._members.get(node)
        return member is None or not member.health.is_gone

    def _name(self, pattern: str, change: int) -> None:
        """Say in the distributed table that this node wants a topic, or what begins like that."""
        name = literal_prefix(pattern)
        if not name:
            return
        count = self._named.get(name, 0) + change
        if count:
            self._named[name] = count
        else:
            del self._named[name]
        if change > 0 and count == 1:
            self._directory.announce((name,), ())
        elif not count:
            self._directory.withdraw((name,), ())


def _to_wire(wishes: Iterable[Wish]) -> tuple[wire.Wish, ...]:
    return tuple(wire.Wish(pattern, group, weight) for pattern, group, weight in wishes)


def _move(wish: Wish, undone: dict[Wish, None], to_say: dict[Wish, None]) -> None:
    """Say that, or do not say the contrary."""
    if wish in undone:
        del undone[wish]
    else:
        to_say[wish] = None


def _order(version: Version) -> tuple[int, int]:
    return version.life, version.number


def _weight(key: tuple[str, str], count: int) -> int:
    """How much that many subscriptions of a pattern and group weigh; 0 is not wanted."""
    return min(count, MAX_WEIGHT if key[1] else 1)


def _check_version(life: int, number: int) -> None:
    """Raise ``RemoteProtocolError`` for what nobody lives long enough to say."""
    if not (0 <= life < _MOST and 0 <= number < _MOST):
        raise RemoteProtocolError(f"version {number} of life {life}")
