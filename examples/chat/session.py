"""A session: carries what the house says to the mesh, and what the mesh says to the house.

Everybody in a room subscribes to the topic of that room, and every program beats on one topic that
all hear. A private word is a call to the one program it is for. What was said before, and who is
there, is asked of those who are there: calls again. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chat.house import WRITING_INTERVAL_S, WRITING_S
from chat.message import Unreadable, from_value, many_from_value, to_value
from chat.names import clean
from chat.room import Fate, Mark
from chat.roster import BEAT_INTERVAL_S, beat_from_value, seen_from_value
from chat.transcript import MAX_TOLD
from maculaos.client import CallFailed, NodeUnreachable, caller
from maculaos.errors import MaculaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from chat.house import House, Question
    from chat.message import Message
    from chat.room import Room
    from chat.roster import Beat, Member
    from maculaos.client import Event, Mesh, Subscription, Value
    from maculaos.host.clock import Clock

# Words of the mesh: what others meet under these names.
PRESENCE: Final = "chat.presence"
WHO: Final = "chat.who"


def room_topic(name: str) -> str:
    """Where everything is said in the room ``name``."""
    return f"chat.room.{name}"


def writing_topic(name: str) -> str:
    """Where is said that somebody writes in the room ``name``."""
    return f"chat.room.{name}.writing"


def private_method(seat: str) -> str:
    """What to call to say something to one program alone."""
    return f"chat.to.{seat}"


def history_method(seat: str) -> str:
    """What to call to hear from one program what was said in a room."""
    return f"chat.history.{seat}"


ANSWER_S: Final = 5.0
# A word outlives the restart of a node.
DELIVERY_S: Final = 15.0
LOOK_INTERVAL_S: Final = 1.0
RETRY_S: Final = 1.0
MAX_QUESTIONS: Final = 100
QUEUE_SIZE: Final = 1000


class Session:
    """One person at one node; ``on_change`` is called after every change of the house."""

    def __init__(
        self, house: House, clock: Clock, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.house = house
        self.on_change = on_change
        # What stands in the way of the mesh; empty if nothing does.
        self.trouble = "looking for the node"
        self.node_name = ""
        self.realm = ""
        self._clock = clock
        self._mesh: Mesh | None = None
        self._wrote_at = -WRITING_INTERVAL_S
        self._listening: dict[str, tuple[Subscription, asyncio.Task[None]]] = {}
        self._questions: asyncio.Queue[Question] = asyncio.Queue(MAX_QUESTIONS)

    async def run(self, open_mesh: Callable[[], AbstractAsyncContextManager[Mesh]]) -> None:
        """Live on the mesh until cancelled; a node that goes is waited for.

        The mesh finds a node that comes back, and says again what this program wants; one that
        looks for none, as for a node in this process, is opened anew.
        """
        while True:
            try:
                async with open_mesh() as mesh:
                    await self._live(mesh)
            except* MaculaError as failed:
                self._set_trouble(str(_first(failed)))
            await self._clock.wait(RETRY_S)

    async def enter(self, name: str) -> str:
        """Enter a room: its key. What was said before comes by and by."""
        key, questions = self.house.enter(name)
        if self._mesh is not None:
            await self._listen(self._mesh, self.house.rooms[key].name)
            await self._beat()
        self._ask_for(questions)
        self.on_change()
        return key

    async def leave(self, key: str) -> None:
        """Leave a room, or end a conversation."""
        self.house.leave(key)
        listening = self._listening.pop(key, None)
        if listening is not None:
            listening[0].close()
        self.on_change()
        await self._beat()

    async def say(self, key: str, text: str, *, is_action: bool = False) -> None:
        """Say ``text`` in that room, and wait until it is taken; raises ``UsageError``."""
        message = self.compose(key, text, is_action=is_action)
        await self.carry(self.house.rooms[key], message)

    def compose(self, key: str, text: str, *, is_action: bool = False) -> Message:
        """A new message in that room, to ``carry``; raises ``UsageError`` for an empty one."""
        message = self.house.compose(key, text, self._now_ms(), is_action=is_action)
        self.on_change()
        return message

    async def carry(self, room: Room, message: Message) -> None:
        """Bring a message that was composed to others; what becomes of it is marked in ``room``."""
        try:
            if room.is_private:
                await self._connected().call(
                    private_method(room.name), to_value(message), timeout_s=ANSWER_S
                )
            else:
                await self._connected().publish(
                    room_topic(room.name), to_value(message), DELIVERY_S, acknowledge=True
                )
            mark = Mark(Fate.TAKEN)
        except MaculaError as error:
            mark = Mark(Fate.FAILED, _why_not(error))
        room.mark(message.number, mark)
        self.on_change()

    def whisper_to(self, member: Member) -> str:
        """The key of the conversation with ``member``, which is looked at now."""
        key = self.house.open_private(member)
        self.house.look_at(key)
        self.on_change()
        return key

    async def rename(self, nick: str) -> None:
        """Be called ``nick``, and say so; raises ``UsageError``."""
        self.house.rename(nick)
        self.on_change()
        await self._beat()

    async def toggle_away(self) -> None:
        """Be away, or back, and say so."""
        self.house.toggle_away()
        self.on_change()
        await self._beat()

    def note_writing(self) -> None:
        """Let the others in the room know that this person writes; not every time it is called."""
        room = self.house.rooms.get(self.house.current)
        if room is None or room.is_private or self._mesh is None:
            return
        if self._now() - self._wrote_at >= WRITING_INTERVAL_S:
            self._wrote_at = self._now()
            topic, seat = writing_topic(room.name), self.house.me.seat
            with suppress(CallFailed):
                # Worth nothing later, and less than any word.
                self._mesh.publish_now(topic, seat, priority="low", ttl_s=WRITING_S)

    def writers(self) -> list[str]:
        """Who else writes in the room that is looked at."""
        return self.house.writers(self.house.current, self._now()) if self.house.current else []

    def tell(self, key: str, text: str) -> None:
        """Tell the person something in that room."""
        self.house.notice(key, text, self._now_ms())
        self.on_change()

    async def say_goodbye(self) -> None:
        """Tell those who are there that this person leaves; the node may be gone."""
        await self._say_of_oneself(self.house.goodbye())

    # What goes on while the node is there.

    async def _live(self, mesh: Mesh) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                # Rooms that are entered while this goes on are listened to as well.
                self._mesh = mesh
                self.node_name, self.realm = mesh.node_name, mesh.realm
                await self._settle(mesh, tasks)
                for job in (self._beat_on, self._look_around, self._ask_on):
                    tasks.create_task(job(mesh))
                await self._follow(mesh)
        finally:
            self._mesh = None
            await self._stop_listening()

    async def _follow(self, mesh: Mesh) -> None:
        """Tell how it stands with the node; raises ``NodeUnreachable`` when nobody looks for it."""
        is_back = asyncio.Event()
        mesh.on_state(lambda state: is_back.set() if state == "connected" else is_back.clear())
        while True:
            self._set_trouble("")
            gone = await mesh.wait_lost()
            if mesh.state != "reconnecting":
                raise gone
            self._set_trouble(str(gone))
            await is_back.wait()
            await self._say_of_oneself(self.house.beat(is_new=True))

    async def _settle(self, mesh: Mesh, tasks: asyncio.TaskGroup) -> None:
        """Hear and answer first, then ask and be heard: so nothing falls between."""
        seat = self.house.me.seat
        beats = mesh.subscribe(PRESENCE, queue_size=QUEUE_SIZE)
        for room in [each for each in self.house.rooms.values() if not each.is_private]:
            await self._listen(mesh, room.name)
        await mesh.register(private_method(seat), self._take_private)
        await mesh.register(history_method(seat), self._tell_history)
        tasks.create_task(self._hear_beats(beats))
        with suppress(CallFailed, Unreadable):
            # Nobody answers: this person is the first.
            told = seen_from_value(await mesh.call(WHO, timeout_s=ANSWER_S))
            self._ask_for(self.house.learn_members(told, self._now(), self._now_ms()))
        await mesh.register(WHO, self._tell_who)
        await mesh.publish(PRESENCE, _value(self.house.beat(is_new=True)))

    async def _listen(self, mesh: Mesh, name: str) -> None:
        if f"#{name}" in self._listening:
            return
        topics = room_topic(name), writing_topic(name)
        events = mesh.subscribe(*topics, queue_size=QUEUE_SIZE)
        self._listening[f"#{name}"] = (events, asyncio.create_task(self._hear_room(name, events)))
        await events.ready()

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, {}
        for events, task in listening.values():
            events.close()
            task.cancel()
        await asyncio.gather(*(task for _, task in listening.values()), return_exceptions=True)

    async def _hear_room(self, name: str, events: Subscription) -> None:
        try:
            async for event in events:
                with suppress(Unreadable):
                    if self._hear(name, event):
                        self.on_change()
        except MaculaError as error:
            # The node is gone for good, or wants no more subscriptions.
            self.tell(f"#{name}", f"nothing is heard here any more: {error}")

    def _hear(self, name: str, event: Event) -> bool:
        if event.topic != writing_topic(name):
            message = from_value(event.payload)
            return self.house.hear(name, message, event.publisher, self._now_ms())
        seat = event.payload if isinstance(event.payload, str) else ""
        return self.house.hear_writing(name, seat, event.publisher, self._now())

    async def _hear_beats(self, beats: Subscription) -> None:
        async for event in beats:
            with suppress(Unreadable):
                await self._hear_beat(event)

    async def _hear_beat(self, event: Event) -> None:
        beat = beat_from_value(event.payload)
        if beat.seat == self.house.me.seat:
            return
        asked = self.house.hear_beat(beat, event.publisher, self._now(), self._now_ms())
        self._ask_for(asked)
        self.on_change()
        if beat.is_new:
            await self._beat()

    async def _beat_on(self, mesh: Mesh) -> None:
        while True:
            await self._clock.wait(BEAT_INTERVAL_S)
            with suppress(CallFailed, NodeUnreachable):
                await mesh.publish(PRESENCE, _value(self.house.beat()))

    async def _look_around(self, mesh: Mesh) -> None:
        """Tell the house what the mesh knows of nodes; whose node died is out of reach."""
        while True:
            with suppress(CallFailed, NodeUnreachable):
                members = await mesh.members()
                if self.house.pass_time(self._now(), self._now_ms(), _gone(members)):
                    self.on_change()
            await self._clock.wait(LOOK_INTERVAL_S)

    async def _ask_on(self, mesh: Mesh) -> None:
        while True:
            question = await self._questions.get()
            with suppress(CallFailed, NodeUnreachable, Unreadable):
                method = history_method(question.member.seat)
                answer = await mesh.call(method, question.room, timeout_s=ANSWER_S)
                told = many_from_value(answer, MAX_TOLD)
                if self.house.learn(question.room, told, self._now_ms()):
                    self.on_change()

    # What others ask.

    def _take_private(self, value: Value) -> Value:
        if not self.house.hear_private(from_value(value), caller(), self._now_ms()):
            raise UsageError("it was not taken: nobody here has heard of you", "try again soon")
        self.on_change()
        return True

    def _tell_history(self, value: Value) -> Value:
        room = self.house.rooms.get(f"#{value}") if isinstance(value, str) else None
        return [to_value(each) for each in room.transcript.last()] if room else []

    def _tell_who(self, value: Value) -> Value:
        del value
        return _value(self.house.tell(self._connected().node_id))

    # How it is said.

    def _ask_for(self, questions: Iterable[Question]) -> None:
        with suppress(asyncio.QueueFull):
            for question in questions:
                self._questions.put_nowait(question)

    async def _beat(self) -> None:
        await self._say_of_oneself(self.house.beat())

    async def _say_of_oneself(self, beat: Beat) -> None:
        if self._mesh is not None:
            # The next beat says the same.
            with suppress(CallFailed, NodeUnreachable):
                await self._mesh.publish(PRESENCE, _value(beat))

    def _connected(self) -> Mesh:
        if self._mesh is None:
            raise UsageError("not connected", self.trouble)
        return self._mesh

    def _set_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.on_change()

    def _now(self) -> float:
        return self._clock.monotonic()

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _value(told: Any) -> Value:
    value: Value = msgspec.to_builtins(told)
    return value


def _first(group: BaseExceptionGroup[MaculaError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _gone(members: list[dict[str, Any]]) -> list[str]:
    """The ids of the nodes that are not there, as the mesh knows."""
    return [str(one.get("node_id")) for one in members if one.get("health") in {"dead", "left"}]


def _why_not(error: MaculaError) -> str:
    if isinstance(error, CallFailed) and error.code == "NO_PROVIDER":
        return "nobody is there to hear it"
    return clean(str(error))
