"""Laws of orders: what is typed is said as it stands, or is an order that is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.names import check_nick, check_room
from chat.orders import HELP, Order, completions, read_order
from maculaos.errors import MaculaError, UsageError


@given(st.text())
def test_a_line_is_said_as_it_is_or_is_an_order_or_is_refused(line: str) -> None:
    try:
        order = read_order(line)
    except UsageError:
        assert line.startswith("/")
        return
    assert order.name in {"say", *HELP}
    if not line.startswith("/"):
        assert order == Order("say", (line,))


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("//join", Order("say", ("/join",))),
        ("/join #lobby", Order("join", ("#lobby",))),
        ("/msg bob how are you", Order("msg", ("bob", "how are you"))),
        ("/me waves  twice", Order("me", ("waves  twice",))),
        ("/WHO", Order("who")),
        ("/leave now", Order("leave")),
    ],
)
def test_orders_are_read(line: str, order: Order) -> None:
    assert read_order(line) == order


@pytest.mark.parametrize("line", ["/", "/jion lobby", "/join", "/msg bob", "/me", "/nick  "])
def test_an_order_that_cannot_be_followed_says_what_it_takes(line: str) -> None:
    with pytest.raises(UsageError, match="/help"):
        read_order(line)


def test_completions_are_orders_rooms_and_people() -> None:
    people, rooms = ["anna", "Bob"], ["lobby", "log"]
    assert completions("/jo", people, rooms) == ["/join "]
    assert completions("/join l", people, rooms) == ["/join #lobby", "/join #log"]
    assert completions("see #lob", people, rooms) == ["see #lobby"]
    assert completions("b", people, rooms) == ["Bob: "]
    assert completions("thanks an", people, rooms) == ["thanks anna "]
    assert completions("", people, rooms) == []


@pytest.mark.parametrize("nick", ["", "a b", "@x", "x" * 25, "a\n", "\x1b"])
def test_a_nick_that_would_confuse_is_refused(nick: str) -> None:
    with pytest.raises(MaculaError, match="is no name"):
        check_nick(nick)


def test_rooms_are_named_alike_however_they_are_typed() -> None:
    assert check_room("#Lobby") == "lobby"
    with pytest.raises(MaculaError, match="is no room"):
        check_room("a.b")
