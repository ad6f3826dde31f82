"""The screen of the chat, driven like a person would, by two people at two real nodes."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual.widgets import Static

from architecture import tree
from chat.__main__ import _login, picture
from chat.message import Message
from chat.paper import Paper
from chat.picture import draw
from chat.roster import Beat
from chat.screen import Chat, Line
from chatting import make_session, people, two_nodes, until
from maculaos.client import NodeUnreachable, connect
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from textual.pilot import Pilot

    from maculaos.client import Mesh
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


NOBODYS_SEAT, THEIR_NODE = "b" * 16, "2" * 64


def no_way() -> AbstractAsyncContextManager[Mesh]:
    raise NodeUnreachable("no node")


def hear_private_word(chat: Chat) -> None:
    """Bob says something to this person alone."""
    house, now_ms = chat.session.house, int(SystemClock().now() * 1000)
    house.hear_beat(Beat(NOBODYS_SEAT, "bob", ("lobby",)), THEIR_NODE, 0.0, now_ms)
    word = Message(now_ms, NOBODYS_SEAT, 1, "bob", "psst")
    assert house.hear_private(word, THEIR_NODE, now_ms)
    chat.note()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        # Nothing is left of them once they are fit to be shown.
        (["\u200b"], "there is nothing to say"),
        (["\uf8ff"], "there is nothing to say"),
        (["/me \u2060"], "there is nothing to say"),
        (["/leave", "hello"], "you are in no room"),
        (["/leave", "/me waves"], "you are in no room"),
        (["/leave", "/leave"], "you are in no room"),
        (["/leave", "/help"], "say goodbye"),
        (["/leave", "/who"], "nobody else is here"),
        (["/leave", "/help", "/clear", "/msg bob x"], "nobody is called bob"),
    ],
)
def test_whatever_is_typed_is_answered_on_the_screen(typed: list[str], answer: str) -> None:
    async def main() -> None:
        chat = Chat(make_session("anna"), no_way)
        await enter_lobby(chat)
        async with chat.run_test(size=(100, 30)) as anna:
            for line in typed:
                await say(anna, line)
            await until(lambda: answer in talk(chat), "it is answered")

    run(main())


def test_who_is_in_no_room_turns_to_a_private_word() -> None:
    async def main() -> None:
        chat = Chat(make_session("anna"), no_way)
        await enter_lobby(chat)
        async with chat.run_test(size=(100, 30)) as anna:
            await say(anna, "/leave")
            hear_private_word(chat)
            await anna.press("ctrl+n")
            await until(lambda: "psst" in talk(chat), "anna reads it")

    run(main())


def test_nodes_that_do_not_hear_each_other_make_no_picture() -> None:
    sessions = [make_session(nick) for nick in ("bob", "cleo", "anna")]
    sockets = [Path("/nowhere/n1.sock"), Path("/nowhere/n2.sock")]
    with pytest.raises(UsageError, match="do not hear each other"):
        asyncio.run(draw(sessions, sockets, limit_s=0.2))


def test_a_picture_that_cannot_be_written_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*: Is a directory"):
        picture(tmp_path, [Path("/nowhere/n1.sock"), Path("/nowhere/n2.sock")])


def test_a_user_without_a_name_is_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", find_none)
    assert _login() == "somebody"


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
