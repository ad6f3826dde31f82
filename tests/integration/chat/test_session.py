"""Sessions of the chat at two real nodes: rooms, presence, private words, and what was said."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from chat.room import Fate
from chatting import living, make_session, notices, people, texts, two_nodes, until
from maculaos.client import CallFailed, connect
from node_process import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from maculaos.client import Mesh
    from node_process import Yard


@pytest.fixture
def place() -> Iterator[Yard]:
    yield from two_nodes()


def port_of(place: Yard, name: str) -> int:
    config = (place.folder / f"{name}.yaml").read_text()
    return int(re.findall(r"listen: {port: (\d+)}", config)[0])


async def asked_once_offered(outside: Mesh, method: str) -> object:
    """The answer of whoever offers that, as soon as its offer is known at the other node."""
    async with asyncio.timeout(40):
        while True:
            try:
                return await outside.call(method)
            except CallFailed as error:
                if error.code != "NO_PROVIDER":
                    raise


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(80):
            await test
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())


def test_what_one_says_the_other_reads_and_who_comes_late_learns_it(place: Yard) -> None:
    async def main() -> None:
        anna, bob = make_session("anna"), make_session("bob")
        async with living(anna, place.socket("n1")), living(bob, place.socket("n2")):
            await until(lambda: people(anna) == {"bob": "here"}, "anna sees bob")
            await until(lambda: people(bob) == {"anna": "here"}, "bob sees anna")
            await anna.say("#lobby", "hello")
            await until(lambda: texts(bob) == ["hello"], "bob reads it")
            await bob.say("#lobby", "hello yourself")
            await until(lambda: len(texts(anna)) == 2, "anna reads it")
            cleo = make_session("cleo")
            async with living(cleo, place.socket("n2")):
                await until(lambda: texts(cleo) == ["hello", "hello yourself"], "cleo learns it")
                await until(lambda: "cleo came in" in notices(anna), "anna is told of cleo")
                assert set(people(cleo)) == {"anna", "bob"}
                await cleo.say_goodbye()
                await until(lambda: "cleo left" in notices(anna), "anna is told that cleo left")

    run(main())


def test_private_words_reach_one_alone_and_say_so_if_they_do_not(place: Yard) -> None:
    async def main() -> None:
        anna, bob, cleo = map(make_session, ("anna", "bob", "cleo"))
        async with (
            living(anna, place.socket("n1")),
            living(bob, place.socket("n2")),
            living(cleo, place.socket("n2")),
        ):
            await until(lambda: set(people(anna)) == {"bob", "cleo"}, "anna sees both")
            await until(lambda: "anna" in people(bob), "bob sees anna")
            to_bob = anna.whisper_to(anna.house.roster.find("bob")[0])
            await anna.say(to_bob, "psst")
            mark = anna.house.rooms[to_bob].mark_of(1)
            assert mark is not None
            assert mark.fate is Fate.TAKEN
            key = f"@{anna.house.me.seat}"
            assert texts(bob, key) == ["psst"]
            assert bob.house.rooms[key].unread == 1
            assert key not in cleo.house.rooms
            # A member that is not there any more.
            place.running[1].kill()
            await until(lambda: people(anna)["bob"] == "lost", "anna sees that bob is lost")
            assert "bob is out of reach: its node is gone" in notices(anna)
            await anna.say(to_bob, "still there?")
            mark = anna.house.rooms[to_bob].mark_of(2)
            assert mark is not None
            assert mark.fate is Fate.FAILED

    run(main())


def test_a_program_that_dies_without_a_word_is_missed_after_some_beats(place: Yard) -> None:
    async def main() -> None:
        anna, bob = make_session("anna"), make_session("bob")
        async with living(anna, place.socket("n1")):
            async with living(bob, place.socket("n2")):
                await until(lambda: people(anna) == {"bob": "here"}, "anna sees bob")
            await until(lambda: people(anna) == {"bob": "lost"}, "anna misses bob")
            assert notices(anna)[-1] == "bob is out of reach"

    run(main())


def test_whoever_was_cut_off_learns_what_was_said_meanwhile(place: Yard) -> None:
    async def main() -> None:
        anna, bob, cleo = map(make_session, ("anna", "bob", "cleo"))
        async with (
            living(anna, place.socket("n1")),
            living(cleo, place.socket("n1")),
            living(bob, place.socket("n2")),
        ):
            await until(lambda: people(anna).get("bob") == "here", "anna sees bob")
            place.running[1].kill()
            await until(lambda: bob.trouble, "bob is told that the node is gone")
            await until(lambda: people(anna)["bob"] == "lost", "anna sees that bob is lost")
            await anna.say("#lobby", "did you see that?")
            await asyncio.to_thread(place.start, "n2")
            await until(lambda: people(anna)["bob"] == "here", "bob is back")
            await until(lambda: texts(bob) == ["did you see that?"], "bob learns it")

    run(main())


def test_a_person_may_bring_their_own_node(place: Yard) -> None:
    """The node of n3 lives in the program of cleo, and ends with it."""
    config = place.configure("n3", free_port(), (port_of(place, "n1"),))

    async def main() -> None:
        anna, cleo = make_session("anna"), make_session("cleo")
        async with living(anna, place.socket("n1")):
            async with living(cleo, lambda: connect(embedded=str(config), name="chat")):
                await until(lambda: people(anna) == {"cleo": "here"}, "anna sees cleo")
                await anna.say("#lobby", "welcome")
                await until(lambda: texts(cleo) == ["welcome"], "cleo reads it")
            await until(lambda: people(anna) == {"cleo": "lost"}, "anna sees that cleo is gone")

    run(main())


def test_who_is_there_can_be_asked_from_outside(place: Yard) -> None:
    async def main() -> None:
        anna = make_session("anna")
        async with living(anna, place.socket("n1")), connect(place.socket("n2")) as outside:
            answer = await asked_once_offered(outside, "chat.who")
            assert isinstance(answer, list)
            assert isinstance(answer[0], dict)
            beat = answer[0]["beat"]
            assert isinstance(beat, dict)
            assert (beat["nick"], beat["rooms"]) == ("anna", ["lobby"])

    run(main())
