"""The roster: who is there, in which rooms, and who can be reached.

Two things tell of a member: its own beats, and the mesh, which knows when the node of a member is
gone. Time is an argument, and nothing is sent from here. Of one member only what comes from its own
node counts; what others say of it counts until it speaks itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from chat.message import Unreadable
from chat.names import Nick, RoomName, Seat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from maculaos.client import Value

MAX_MEMBERS: Final = 500
MAX_ROOMS_OF_ONE: Final = 20
BEAT_INTERVAL_S: Final = 2.0
# Three beats may be late or lost.
SILENCE_S: Final = 3.5 * BEAT_INTERVAL_S
# Whoever cannot be reached for so long is forgotten.
FORGET_S: Final = 120.0


_Natural = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class State(StrEnum):
    """How a member is doing."""

    HERE = "here"
    AWAY = "away"
    # No beat came, or its node is gone as far as the mesh knows.
    LOST = "lost"
    # It said goodbye.
    GONE = "gone"


class Beat(Struct, frozen=True):
    """What a member says of itself every ``BEAT_INTERVAL_S``; the fields are as they travel."""

    seat: Seat
    nick: Nick
    rooms: Annotated[tuple[RoomName, ...], Meta(max_length=MAX_ROOMS_OF_ONE)]
    state: State = State.HERE
    # When it came, in milliseconds since the epoch: who is there longest knows most.
    since_ms: _Natural = 0
    # What it knows of each room, in the order of ``rooms``: see ``Transcript.digest``.
    digests: Annotated[tuple[_Natural, ...], Meta(max_length=MAX_ROOMS_OF_ONE)] = ()
    # It has just come: whoever is there shall say so at once.
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A person at a program, as known here."""

    seat: str
    nick: str
    rooms: frozenset[str]
    state: State
    since_ms: int
    # The node its program is attached to, as hex.
    node_id: str
    heard_at: float
    # It was heard itself; nobody else's word counts then.
    is_first_hand: bool = True

    @property
    def is_reachable(self) -> bool:
        """Whether there is a point in sending it anything."""
        return self.state in {State.HERE, State.AWAY}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one member: None before it came, GONE when it left."""

    before: Member | None
    after: Member


class Seen(Struct, frozen=True):
    """What one member tells another of a third; the fields are as they travel."""

    beat: Beat
    node_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Roster:
    """At most ``MAX_MEMBERS`` members besides oneself."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._nodes_gone: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Member]:
        """Every member, by nick."""
        return iter(sorted(self._members.values(), key=lambda each: (each.nick.lower(), each.seat)))

    def __len__(self) -> int:
        return len(self._members)

    def get(self, seat: str) -> Member | None:
        """The member of that seat, if it is known."""
        return self._members.get(seat)

    def in_room(self, room: str) -> list[Member]:
        """Who is in ``room``, by nick; who is lost is still there."""
        return [each for each in self if room in each.rooms]

    def rooms(self) -> Counter[str]:
        """Every room that anybody is in, with how many."""
        return Counter(room for each in self._members.values() for room in each.rooms)

    def who_knows(self, room: str, count: int) -> list[Member]:
        """Whom to ask what was said in ``room``: who is there longest."""
        there = [each for each in self.in_room(room) if each.is_reachable]
        return sorted(there, key=lambda each: (each.since_ms, each.seat))[:count]

    def label(self, member: Member) -> str:
        """Its nick, and a piece of its seat if somebody else is called the same."""
        same = sum(each.nick == member.nick for each in self._members.values())
        return member.nick if same <= 1 else f"{member.nick}~{member.seat[:3]}"

    def find(self, name: str) -> list[Member]:
        """Who is called ``name``: a nick or a label."""
        bare = name.removeprefix("@")
        return [each for each in self if bare in {each.nick, self.label(each)}]

    def hear(self, beat: Beat, node_id: str, now: float) -> Change | None:
        """Take in a member's own beat, which came from ``node_id``."""
        held = self._members.get(beat.seat)
        if held is not None and held.is_first_hand and held.node_id != node_id:
            # A seat is drawn by its program; another node speaks of it without right.
            return None
        if beat.state is State.GONE:
            return self._leave(held)
        # Whoever is heard is there, whatever the mesh knows of its node.
        return self._put(_member(beat, node_id, now), held)

    def learn(self, seen: Seen, now: float) -> Change | None:
        """Take in what another member tells of somebody; only who is not known yet is news."""
        beat = seen.beat
        if beat.seat in self._members or beat.state not in {State.HERE, State.AWAY}:
            return None
        return self._put(_member(beat, seen.node_id, now, is_first_hand=False), None)

    def tell(self) -> list[Seen]:
        """What to tell others: whoever was heard and can be reached."""
        heard = (each for each in self if each.is_reachable and each.is_first_hand)
        return [Seen(_beat_of(each), each.node_id) for each in heard]

    def pass_time(self, now: float, nodes_gone: Collection[str]) -> list[Change]:
        """Whoever is silent for too long, or whose node has just gone, is lost.

        ``nodes_gone``: the ids, in hex, of the nodes that the mesh holds for dead or left.
        """
        news = frozenset(nodes_gone) - self._nodes_gone
        self._nodes_gone = frozenset(nodes_gone)
        changes: list[Change] = []
        for member in list(self):
            silence = now - member.heard_at
            if silence > FORGET_S:
                del self._members[member.seat]
            elif member.is_reachable and (silence > SILENCE_S or member.node_id in news):
                lost = replace(member, state=State.LOST)
                self._members[member.seat] = lost
                changes.append(Change(member, lost))
        return changes

    def is_node_gone(self, member: Member) -> bool:
        """Whether it was the mesh that said so."""
        return member.node_id in self._nodes_gone

    def _put(self, member: Member, held: Member | None) -> Change | None:
        if held is None and len(self._members) >= MAX_MEMBERS and not self._make_room():
            return None
        self._members[member.seat] = member
        if held is not None and _told(held) == _told(member):
            return None
        return Change(held, member)

    def _make_room(self) -> bool:
        """Forget whoever is lost for longest; whether there was one."""
        lost = [each for each in self._members.values() if not each.is_reachable]
        if not lost:
            return False
        del self._members[min(lost, key=lambda each: each.heard_at).seat]
        return True

    def _leave(self, held: Member | None) -> Change | None:
        if held is None:
            return None
        del self._members[held.seat]
        return Change(held, replace(held, state=State.GONE))


def beat_from_value(value: Value) -> Beat:
    """The beat that somebody sent; raises ``Unreadable``."""
    try:
        return msgspec.convert(value, Beat)
    except msgspec.ValidationError as error:
        raise Unreadable(f"a beat is not understood: {error}") from error


def seen_from_value(value: Value) -> list[Seen]:
    """Whom somebody has seen, at most ``MAX_MEMBERS``; raises ``Unreadable``."""
    try:
        return msgspec.convert(value, list[Seen])[:MAX_MEMBERS]
    except msgspec.ValidationError as error:
        raise Unreadable(f"a list of members is not understood: {error}") from error


def _member(beat: Beat, node_id: str, now: float, *, is_first_hand: bool = True) -> Member:
    rooms, state = frozenset(beat.rooms), beat.state
    return Member(beat.seat, beat.nick, rooms, state, beat.since_ms, node_id, now, is_first_hand)


def _beat_of(member: Member) -> Beat:
    rooms = tuple(sorted(member.rooms))
    return Beat(member.seat, member.nick, rooms, member.state, member.since_ms)


def _told(member: Member) -> tuple[str, frozenset[str], State]:
    """What people are told about."""
    return member.nick, member.rooms, member.state
