"""The inbox: every letter is read once, whoever brings it again and whenever."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from maculaos.node.inbox import WINDOW, Inbox, Verdict
from node_parts import names, node_id

ONE = node_id("m1")


def read(inbox: Inbox, number: int, life: int = 1, stamp: int = 10, writer: str = "m1") -> Verdict:
    """A letter comes, and is read if it is new."""
    verdict = inbox.judge(node_id(writer), life, number, stamp)
    if verdict is Verdict.NEW:
        inbox.read(node_id(writer), life, number, stamp)
    return verdict


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=200))
def test_no_letter_is_read_twice_and_none_within_the_window_is_missed(numbers: list[int]) -> None:
    inbox, seen = Inbox(limit=10), set[int]()
    for number in numbers:
        verdict = read(inbox, number)
        if number in seen:
            assert verdict is not Verdict.NEW
        elif not seen or number > max(seen) - WINDOW:
            assert verdict is Verdict.NEW
            seen.add(number)
        else:
            assert verdict is Verdict.STALE


def test_next_life_counts_anew_and_the_former_one_is_read_no_more() -> None:
    inbox = Inbox(limit=10)
    assert read(inbox, 5, life=1, stamp=10) is Verdict.NEW
    assert read(inbox, 5, life=2, stamp=11) is Verdict.NEW
    assert read(inbox, 6, life=1, stamp=10) is Verdict.STALE
    assert read(inbox, 5, life=2, stamp=12) is Verdict.READ
    assert read(inbox, 1, life=3, stamp=9) is Verdict.STALE


def test_nothing_is_read_that_was_stamped_before_the_horizon() -> None:
    inbox = Inbox(limit=10, horizon=100)
    assert read(inbox, 1, stamp=100) is Verdict.STALE
    assert read(inbox, 2, stamp=101) is Verdict.NEW
    assert read(inbox, 1, stamp=100) is Verdict.STALE


def test_letter_of_the_time_before_is_not_read_once_its_writer_is_known_again() -> None:
    inbox = Inbox(limit=1)
    assert read(inbox, 1, stamp=50) is Verdict.NEW
    assert read(inbox, 1, stamp=10, writer="m2") is Verdict.NEW
    assert read(inbox, 3, stamp=51) is Verdict.NEW
    assert read(inbox, 1, stamp=50) is Verdict.STALE
    assert read(inbox, 2, stamp=52) is Verdict.NEW


@given(
    st.lists(
        st.tuples(st.sampled_from(names(8)), st.integers(1, 5), st.integers(1, 50)), max_size=80
    )
)
@example([("m0", 1, 1), ("m1", 1, 1), ("m2", 1, 1), ("m3", 1, 1), ("m0", 2, 2), ("m0", 1, 1)])
def test_no_letter_is_read_twice_though_its_writer_was_forgotten(
    letters: list[tuple[str, int, int]],
) -> None:
    inbox, seen = Inbox(limit=3), set[tuple[str, int, int]]()
    for writer, number, stamp in letters:
        verdict = read(inbox, number, stamp=stamp, writer=writer)
        if verdict is Verdict.NEW:
            assert (writer, number, stamp) not in seen
            seen.add((writer, number, stamp))
        assert len(inbox) <= 3
