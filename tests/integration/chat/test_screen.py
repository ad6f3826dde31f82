"""The screen of the chat, driven like a person would, by two people at two real nodes."""

from __future__ import annotations

import asyncio
import html
import re
from typing import TYPE_CHECKING

import pytest
from textual.widgets import Static

from architecture import tree
from chat.paper import Paper
from chat.picture import draw
from chat.screen import Chat, Line
from chatting import make_session, people, two_nodes, until
from maculaos.client import connect

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from textual.pilot import Pilot

    from node_process import Yard


@pytest.fixture
def place() -> Iterator[Yard]:
    yield from two_nodes()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(80):
            await test

    asyncio.run(bounded())


def screen_of(nick: str, place: Yard, node: str) -> Chat:
    return Chat(make_session(nick), lambda: connect(place.socket(node), name="chat"))


async def enter_lobby(*chats: Chat) -> None:
    for chat in chats:
        await chat.session.enter("lobby")


async def say(pilot: Pilot[None], text: str) -> None:
    """Type ``text`` key by key, and press Enter."""
    pilot.app.query_one(Line).value = text
    await pilot.press("enter")


def talk(chat: Chat) -> str:
    """What stands in the middle of the screen."""
    return chat.query_one(Paper).text


def shown_people(chat: Chat) -> str:
    return str(chat.query_one("#people", Static).content)


def writing(chat: Chat) -> str:
    return str(chat.query_one("#writing", Static).content)


def test_two_people_talk_whisper_and_see_each_other_vanish(place: Yard) -> None:
    async def main() -> None:
        one, two = screen_of("anna", place, "n1"), screen_of("bob", place, "n2")
        await enter_lobby(one, two)
        async with one.run_test(size=(100, 30)) as anna, two.run_test(size=(100, 30)) as bob:
            await until(lambda: "● bob" in shown_people(one), "anna sees bob")
            await until(lambda: "● anna" in shown_people(two), "bob sees anna")
            await say(anna, "hello :wave:")
            await until(lambda: "anna hello 👋" in talk(two), "bob reads it")
            await until(lambda: "✓" in talk(one), "anna sees that it was taken")
            await bob.press(*"well")
            await until(lambda: "bob is writing …" in writing(one), "anna sees bob writing")
            await say(bob, "/msg anna psst")
            await until(lambda: len(one.session.house.rooms) == 2, "anna has a private word")
            assert "psst" not in talk(one)
            await anna.press("ctrl+n")
            await until(lambda: "psst" in talk(one), "anna reads it")
            place.running[1].kill()
            await until(lambda: "○ bob" in shown_people(one), "anna sees that bob is lost")
            assert people(one.session) == {"bob": "lost"}
            assert "is gone" in str(two.query_one("#bar", Static).content)

    run(main())


def test_who_comes_late_reads_what_was_said(place: Yard) -> None:
    async def main() -> None:
        one, two = screen_of("anna", place, "n1"), screen_of("bob", place, "n2")
        await enter_lobby(one, two)
        async with one.run_test(size=(100, 30)) as anna:
            await until(lambda: not one.session.trouble, "anna is connected")
            for text in ("first", "second", "/me waves"):
                await say(anna, text)
            await until(lambda: talk(one).count("✓") == 3, "anna said it")
            async with two.run_test(size=(100, 30)):
                await until(lambda: "* anna waves" in talk(two), "bob reads what was said")
                read = talk(two)
                assert read.index("first") < read.index("second") < read.index("waves")

    run(main())


def words_of(svg: str) -> list[str]:
    """What a picture says, without the times."""
    words = html.unescape(" ".join(re.findall(r">([^<>]+)</text>", svg))).split()
    return [word for word in words if not re.fullmatch(r"\d\d:\d\d", word)]


def test_the_picture_of_the_readme_is_what_the_screen_shows(place: Yard) -> None:
    sessions = [make_session(nick) for nick in ("bob", "cleo", "anna")]
    sockets = [place.socket("n1"), place.socket("n2")]
    drawn = asyncio.run(draw(sessions, sockets))
    kept = (tree.ROOT / "examples/chat/screen.svg").read_text()
    assert words_of(drawn) == words_of(kept), "draw it anew: see examples/chat/README.md"
    assert "coffee?" in words_of(kept)
