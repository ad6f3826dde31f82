"""The outbox: sent again until taken, bounded, and no number twice."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from maculaos.node.outbox import (
    FIRST_AGAIN_S,
    LONGEST_AGAIN_S,
    MAX_APART,
    MAX_BYTES,
    MAX_WORD_BYTES,
    WORDS,
    Outbox,
)
from node_parts import names, node_id

ONE, TWO = node_id("m1"), node_id("m2")


def test_letter_is_sent_again_ever_more_seldom_until_nobody_needs_it() -> None:
    outbox, moments = Outbox(first=0), list[float]()
    outbox.write(ONE, b"hi", now=10.0, until=20.0)
    while (now := outbox.next_deadline()) < math.inf:
        moments += [now - 10.0 for _ in outbox.take_due(now)]
    assert moments == [0.5, 1.5, 3.5, 5.5, 7.5, 9.5]
    assert moments[0] == FIRST_AGAIN_S
    assert moments[-1] - moments[-2] == LONGEST_AGAIN_S
    assert len(outbox) == 0


def test_letter_that_was_taken_is_not_sent_again() -> None:
    outbox = Outbox(first=0)
    letter, other = outbox.write(ONE, b"a", 0.0, 9.0), outbox.write(ONE, b"b", 0.0, 9.0)
    assert letter is not None
    outbox.taken(TWO, (letter.number,))
    assert len(outbox) == 2
    outbox.taken(ONE, (letter.number, 12345))
    assert outbox.take_due(1.0) == [other]


@given(st.lists(st.tuples(st.sampled_from(names(3)), st.sampled_from("wtd")), max_size=80))
def test_no_number_is_used_twice_for_one_reader_and_books_are_right(
    steps: list[tuple[str, str]],
) -> None:
    outbox, used, waiting = Outbox(first=100), set[tuple[str, int]](), dict[tuple[str, int], int]()
    for name, step in steps:
        reader = node_id(name)
        if step == "w":
            letter = outbox.write(reader, b"four", 0.0, 9.0)
            assert letter is not None
            assert (name, letter.number) not in used
            used.add((name, letter.number))
            waiting[name, letter.number] = 4
        elif step == "t":
            numbers = [number for each, number in waiting if each == name][:1]
            outbox.taken(reader, numbers)
            waiting = {key: 4 for key in waiting if key not in {(name, n) for n in numbers}}
        else:
            outbox.drop(reader)
            waiting = {key: 4 for key in waiting if key[0] != name}
    assert len(outbox) == len(waiting)
    assert outbox._bytes == 4 * len(waiting)
    assert len(outbox.take_due(1.0)) == len(waiting)


def test_letters_that_wait_are_bounded_in_bytes_and_in_how_far_they_lie_apart() -> None:
    outbox = Outbox(first=0)
    first = outbox.write(ONE, b"first", 0.0, 9.0)
    assert first is not None
    for _ in range(MAX_APART - 1):
        letter = outbox.write(ONE, b"", 0.0, 9.0)
        assert letter is not None
        outbox.taken(ONE, (letter.number,))
    assert outbox.write(ONE, b"", 0.0, 9.0) is None
    assert outbox.write(TWO, bytes(MAX_BYTES), 0.0, 9.0) is None
    outbox.taken(ONE, (first.number,))
    assert outbox.write(ONE, b"", 0.0, 9.0) is not None


def test_words_have_room_where_letters_have_none_and_are_bounded_themselves() -> None:
    outbox = Outbox(first=0)
    for _ in range(MAX_APART):
        outbox.write(ONE, b"", 0.0, 9.0)
    assert outbox.write(ONE, b"", 0.0, 9.0) is None
    assert outbox.write(ONE, bytes(MAX_WORD_BYTES + 1), 0.0, 9.0, is_word=True) is None
    written = [outbox.write(ONE, b"", 0.0, 9.0, is_word=True) for _ in range(WORDS + 1)]
    assert [letter is not None for letter in written] == [True] * WORDS + [False]
    assert outbox.write(TWO, bytes(MAX_BYTES), 0.0, 9.0) is not None
    assert outbox.write(TWO, b"x", 0.0, 9.0) is None
    assert outbox.write(TWO, b"x", 0.0, 9.0, is_word=True) is not None


def test_letters_that_were_taken_do_not_pile_up_until_they_were_due() -> None:
    outbox = Outbox(first=0)
    for _ in range(10_000):
        letter = outbox.write(ONE, b"", 0.0, 1e6)
        assert letter is not None
        outbox.taken(ONE, (letter.number,))
    assert len(outbox._due) < 200
