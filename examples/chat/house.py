"""The house: one person's rooms, and what each thing that happens means for them.

Takes what was heard, says what to send and whom to ask, and keeps what the screen shows. Time is an
argument, nothing is sent from here, and everything is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from chat.agreement import Agreement
from chat.message import MAX_AHEAD_MS, Message, stamp
from chat.names import check_nick, check_room, clean
from chat.room import Fate, Mark, Room
from chat.roster import MAX_ROOMS_OF_ONE, Beat, Member, Roster, Seen, State
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chat.roster import Change

MAX_PRIVATE: Final = 50
# So long somebody is held to write who said so; so often they say so at most.
WRITING_S: Final = 4.0
WRITING_INTERVAL_S: Final = 2.0
# How many of those who are in a room are asked what was said.
WITNESSES: Final = 3


@dataclass(frozen=True, slots=True)
class Me:
    """Who sits here; ``since_ms`` is when they came."""

    seat: str
    nick: str
    since_ms: int
    state: State = State.HERE


@dataclass(frozen=True, slots=True)
class Question:
    """Ask ``member`` what was said in ``room``."""

    member: Member
    room: str


class House:
    """Rooms by key: ``#name``, or ``@seat`` for a conversation with one person."""

    def __init__(self, me: Me) -> None:
        self.me = me
        self.rooms: dict[str, Room] = {}
        self.roster = Roster()
        # The one that is looked at; empty before the first is entered, and after the last is left.
        self.current = ""
        # Where this person is meanwhile: nobody speaks there, but things are told.
        self.nowhere = Room("")
        self._number = 0
        self._agreement = Agreement()

    # What the person does.

    def enter(self, name: str) -> tuple[str, list[Question]]:
        """Enter a room and look at it: its key, and whom to ask what was said before."""
        bare = check_room(name)
        key = f"#{bare}"
        if key not in self.rooms:
            if len(self._own_rooms()) >= MAX_ROOMS_OF_ONE:
                raise UsageError(f"you are in {MAX_ROOMS_OF_ONE} rooms", "leave one: /leave")
            self.rooms[key] = Room(bare)
        self.look_at(key)
        witnesses = self.roster.who_knows(bare, WITNESSES)
        return key, [Question(member, bare) for member in witnesses]

    def open_private(self, member: Member) -> str:
        """The key of the conversation with ``member``, which begins if there is none."""
        key = f"@{member.seat}"
        if key not in self.rooms:
            self._make_room()
            self.rooms[key] = Room(member.seat, is_private=True)
        return key

    def leave(self, key: str) -> None:
        """Leave a room, or end a conversation; the first one left is looked at."""
        self.rooms.pop(key, None)
        self._agreement.forget_room(key.removeprefix("#"))
        if self.current == key:
            self.current = ""
            if self.rooms:
                self.look_at(next(iter(self.rooms)))

    @property
    def looked_at(self) -> Room:
        """The room that is looked at, or ``nowhere``."""
        return self.rooms[self.current] if self.current else self.nowhere

    def look_at(self, key: str) -> None:
        """Make ``key`` the room that is looked at."""
        self.current = key
        self.rooms[key].unread = 0

    def rename(self, nick: str) -> None:
        """Be called ``nick`` from now on; raises ``UsageError``."""
        self.me = replace(self.me, nick=check_nick(nick))

    def toggle_away(self) -> State:
        """Be away, or back."""
        state = State.HERE if self.me.state is State.AWAY else State.AWAY
        self.me = replace(self.me, state=state)
        return state

    def compose(self, key: str, text: str, now_ms: int, *, is_action: bool = False) -> Message:
        """A new message in that room, shown at once; raises ``UsageError`` for an empty one."""
        said = clean(text)
        if not said:
            raise UsageError("there is nothing to say", "write something")
        room = self.rooms[key]
        self._number += 1
        at_ms = stamp(now_ms, room.transcript.latest_ms)
        me = self.me
        message = Message(at_ms, me.seat, self._number, me.nick, said, is_action)
        room.transcript.add(message)
        room.mark(message.number, Mark(Fate.ON_ITS_WAY))
        return message

    def beat(self, *, is_new: bool = False) -> Beat:
        """What to say of this person now."""
        me = self.me
        rooms = [room for room in self.rooms.values() if not room.is_private]
        names = tuple(room.name for room in rooms)
        digests = tuple(room.transcript.digest for room in rooms)
        return Beat(me.seat, me.nick, names, me.state, me.since_ms, digests, is_new)

    def goodbye(self) -> Beat:
        """What to say at the end."""
        return Beat(self.me.seat, self.me.nick, (), State.GONE, self.me.since_ms)

    # What happens.

    def hear(self, name: str, message: Message, node_id: str, now_ms: int) -> bool:
        """Somebody said something in a room; whether it is shown."""
        return self._take(f"#{name}", message, node_id, now_ms)

    def hear_writing(self, name: str, seat: str, node_id: str, now: float) -> bool:
        """Somebody in a room is writing; whether that is shown."""
        room, author = self.rooms.get(f"#{name}"), self.roster.get(seat)
        if room is None or author is None or author.node_id != node_id:
            return False
        is_news = room.writing.get(seat, 0.0) < now
        room.writing[seat] = now + WRITING_S
        return is_news

    def writers(self, key: str, now: float) -> list[str]:
        """Who is writing in that room now, by label."""
        room = self.rooms[key]
        room.writing = {seat: until for seat, until in room.writing.items() if until > now}
        found = (self.roster.get(seat) for seat in room.writing)
        return sorted(self.roster.label(each) for each in found if each is not None)

    def hear_private(self, message: Message, node_id: str, now_ms: int) -> bool:
        """Somebody said something to this person alone; whether it was taken."""
        member = self.roster.get(message.seat)
        if member is None or member.node_id != node_id or not member.is_first_hand:
            return False
        return self._take(self.open_private(member), message, node_id, now_ms)

    def learn(self, name: str, told: Iterable[Message], now_ms: int) -> int:
        """A member told what was said in a room; how many of it were news."""
        room = self.rooms.get(f"#{name}")
        if room is None:
            return 0
        # What one said oneself, one knows.
        others = (each for each in told if each.seat != self.me.seat)
        return room.transcript.merge(each for each in others if not _is_ahead(each, now_ms))

    def hear_beat(self, beat: Beat, node_id: str, now: float, now_ms: int) -> list[Question]:
        """A member speaks of itself; whom to ask what."""
        if beat.seat == self.me.seat:
            return []
        change = self.roster.hear(beat, node_id, now)
        member = self.roster.get(beat.seat)
        missing = self._missing(beat, member, now) if member is not None else []
        return [*(self._note(change, now_ms) if change is not None else ()), *missing]

    def learn_members(self, told: Iterable[Seen], now: float, now_ms: int) -> list[Question]:
        """A member told who else is there; whom to ask what."""
        changes = [self.roster.learn(s, now) for s in told if s.beat.seat != self.me.seat]
        return [ask for change in changes if change for ask in self._note(change, now_ms)]

    def pass_time(self, now: float, now_ms: int, nodes_gone: Collection[str]) -> bool:
        """Time passes; whether anybody got lost."""
        changes = self.roster.pass_time(now, nodes_gone)
        for change in changes:
            self._note(change, now_ms)
        return bool(changes)

    def tell(self, node_id: str) -> list[Seen]:
        """Who is there, with this person, who is at ``node_id``."""
        return [Seen(self.beat(), node_id), *self.roster.tell()]

    def notice(self, key: str, text: str, now_ms: int) -> None:
        """Tell the person something in that room; an empty key is nowhere."""
        room = self.rooms.get(key) if key else self.nowhere
        if room is not None:
            room.notice(text, now_ms)

    def title(self, key: str) -> str:
        """What a room is called on the screen."""
        room = self.rooms[key]
        if not room.is_private:
            return key
        member = self.roster.get(room.name)
        return f"@{self.roster.label(member)}" if member else "@somebody who left"

    def _make_room(self) -> None:
        """Let one conversation give way if there are too many: the oldest, read ones first."""
        private = [each for each, room in self.rooms.items() if room.is_private]
        if len(private) >= MAX_PRIVATE:
            # Never the one that is looked at.
            others = (each for each in private if each != self.current)
            self.leave(min(others, key=lambda each: bool(self.rooms[each].unread)))

    def _own_rooms(self) -> list[str]:
        return [room.name for room in self.rooms.values() if not room.is_private]

    def _take(self, key: str, message: Message, node_id: str, now_ms: int) -> bool:
        room = self.rooms.get(key)
        if room is None or message.seat == self.me.seat or _is_ahead(message, now_ms):
            return False
        author = self.roster.get(message.seat)
        if author is not None and author.is_first_hand and author.node_id != node_id:
            # Another node uses the seat of somebody who is known.
            return False
        if not room.transcript.add(message):
            return False
        room.writing.pop(message.seat, None)
        if key != self.current:
            room.unread += 1
        return True

    def _missing(self, beat: Beat, member: Member, now: float) -> list[Question]:
        """Ask a member that knows something else of a room than is known here."""
        shared = (
            (self.rooms[f"#{name}"], digest)
            for name, digest in zip(beat.rooms, beat.digests, strict=False)
            if f"#{name}" in self.rooms
        )
        return [
            Question(member, room.name)
            for room, digest in shared
            if self._agreement.compare(beat.seat, room.name, digest, room.transcript.digest, now)
        ]

    def _note(self, change: Change, now_ms: int) -> list[Question]:
        """Tell of ``change`` in the rooms that it is about; whom to ask what."""
        after = change.after
        for key, room in self.rooms.items():
            text = self._words(change, room)
            if text:
                self.notice(key, text, now_ms)
        before = change.before
        if not after.is_reachable or (before is not None and before.is_reachable):
            return []
        if before is None and after.since_ms > self.me.since_ms:
            return []
        # It was here before, or elsewhere meanwhile: it may know what is not known here.
        shared = after.rooms.intersection(self._own_rooms())
        asked = {name: self.roster.who_knows(name, WITNESSES) for name in sorted(shared)}
        return [
            Question(after, name)
            for name, witnesses in asked.items()
            if before is not None or after in witnesses
        ]

    def _words(self, change: Change, room: Room) -> str:
        """What people in ``room`` are told of ``change``; nothing if it does not concern them."""
        before, after = change.before, change.after
        label = self.roster.label(after)
        was_in = before is not None and _is_in(before, room)
        is_in = _is_in(after, room) and after.state is not State.GONE
        if before is None or not was_in or not is_in:
            return self._words_of_moves(change, label, was_in=was_in, is_in=is_in)
        if before.nick != after.nick:
            return f"{before.nick} is now {label}"
        if before.is_reachable and not after.is_reachable:
            why = ": its node is gone" if self.roster.is_node_gone(after) else ""
            return f"{label} is out of reach{why}"
        return f"{label} is back" if after.is_reachable and not before.is_reachable else ""

    def _words_of_moves(self, change: Change, label: str, *, was_in: bool, is_in: bool) -> str:
        if was_in and not is_in:
            return f"{label} left"
        came_before = change.before is None and change.after.since_ms <= self.me.since_ms
        return f"{label} came in" if is_in and not was_in and not came_before else ""


def _is_ahead(message: Message, now_ms: int) -> bool:
    """Whether it would stand below everything for ever."""
    return message.at_ms >= now_ms + MAX_AHEAD_MS


def _is_in(member: Member, room: Room) -> bool:
    return member.seat == room.name if room.is_private else room.name in member.rooms
