"""Orders: what a person types, read into what is meant. Nothing is done here.

A line that begins with ``/`` is an order; ``//`` says a line that begins with ``/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from maculaos.errors import UsageError

# Order -> what it takes, and what it does.
HELP: Final[dict[str, tuple[str, str]]] = {
    "join": ("ROOM", "enter a room, or make one"),
    "leave": ("", "leave this room"),
    "msg": ("NAME TEXT", "say something to one person alone"),
    "me": ("TEXT", "do something: /me waves"),
    "nick": ("NAME", "be called something else"),
    "away": ("", "be away, or back"),
    "who": ("", "who is there, and where"),
    "rooms": ("", "every room that somebody is in"),
    "clear": ("", "empty this screen; nothing is forgotten elsewhere"),
    "help": ("", "these orders"),
    "quit": ("", "say goodbye"),
}
# Orders whose words are told apart by spaces; of the others, all that follows is one text.
_WORDS: Final = {"join": 1, "msg": 2, "me": 1, "nick": 1}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: ``name`` is a key of ``HELP``, or ``say``."""

    name: str
    words: tuple[str, ...] = ()


def read_order(line: str) -> Order:
    """What ``line`` means; raises ``UsageError`` for an order that nobody knows."""
    if not line.startswith("/") or line.startswith("//"):
        return Order("say", (line.removeprefix("/") if line.startswith("//") else line,))
    name, _, rest = line[1:].partition(" ")
    name = name.lower()
    if name not in HELP:
        raise UsageError(f"there is no order /{name}", "see /help")
    wanted = _WORDS.get(name, 0)
    words = tuple(rest.split(maxsplit=wanted - 1)) if wanted else ()
    if len(words) != wanted:
        raise UsageError(f"/{name} takes {HELP[name][0]}", "see /help")
    return Order(name, words)


def completions(line: str, people: list[str], rooms: list[str]) -> list[str]:
    """How ``line`` may go on: an order, a room after ``#``, or a person."""
    head, _, last = line.rpartition(" ")
    before = f"{head} " if head else ""
    if not head and last.startswith("/"):
        return [f"/{name} " for name in HELP if name.startswith(last[1:])]
    if last.startswith("#") or head == "/join":
        bare = last.removeprefix("#")
        return [f"{before}#{room}" for room in rooms if room.startswith(bare)]
    bare = last.removeprefix("@").lower()
    ending = " " if head else ": "
    return [f"{before}{name}{ending}" for name in people if bare and name.lower().startswith(bare)]
