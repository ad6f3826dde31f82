"""Laws of messages: what travels comes back, what is not understood is refused, time only rises."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.message import (
    MAX_AHEAD_MS,
    Message,
    Unreadable,
    from_value,
    many_from_value,
    stamp,
    to_value,
)
from chat.names import MAX_TEXT, clean

SEAT = "0123456789abcdef"
TEXTS = st.text(max_size=50).map(clean)
MESSAGES = st.builds(
    Message,
    st.integers(0, 2**53 - 1),
    st.just(SEAT),
    st.integers(1, 2**53 - 1),
    st.sampled_from(["anna", "Žofia", "bob-2", "x_1.y"]),
    TEXTS,
    st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(MESSAGES)
def test_what_is_sent_is_what_is_read(message: Message) -> None:
    assert from_value(to_value(message)) == message


@given(JSON)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(Unreadable):
        from_value(value)  # type: ignore[arg-type]  # what others send has any form


@pytest.mark.parametrize(
    "change",
    [{"seat": "no"}, {"nick": "a b"}, {"nick": ""}, {"at_ms": -1}, {"text": "x" * (MAX_TEXT + 1)}],
)
def test_a_field_that_is_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    value = {"at_ms": 1, "seat": SEAT, "number": 1, "nick": "anna", "text": "", **change}
    with pytest.raises(Unreadable):
        from_value(value)  # type: ignore[arg-type]


def test_what_is_read_is_fit_to_be_shown() -> None:
    value = to_value(Message(1, SEAT, 1, "anna", "\x1b[2Jhello"))
    assert from_value(value).text == "[2Jhello"
    assert many_from_value([value], 1)[0].text == "[2Jhello"


def test_of_a_long_answer_the_last_messages_count() -> None:
    told = [to_value(Message(n, SEAT, n, "anna", str(n))) for n in range(10)]
    assert [each.number for each in many_from_value(told, 3)] == [7, 8, 9]


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_new_message_stands_after_what_was_seen_unless_that_clock_is_far_off(
    now_ms: int, latest_ms: int
) -> None:
    at_ms = stamp(now_ms, latest_ms)
    assert now_ms <= at_ms <= now_ms + MAX_AHEAD_MS
    assert at_ms > latest_ms or latest_ms >= now_ms + MAX_AHEAD_MS


@given(st.text())
def test_a_clean_text_steers_no_terminal(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= MAX_TEXT
    assert clean(shown) == shown
    assert all(unicodedata.category(each)[0] != "C" for each in shown if each not in "\n\u200d")


def test_text_that_turns_around_or_colours_is_made_plain() -> None:
    assert clean("\x1b[31mred\x07 \u202etxet") == "[31mred txet"
