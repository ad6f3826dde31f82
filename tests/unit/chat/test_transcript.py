"""Laws of transcripts: one order for all, no doubles, and the author's own word before hearsay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat.message import Message
from chat.transcript import MAX_DIGESTED, Transcript

SEATS = ("a" * 16, "b" * 16)


def _content(identity: tuple[str, int]) -> int:
    """When the message of that identity was said: the same wherever it is told."""
    return (identity[1] * 7 + SEATS.index(identity[0]) * 3) % 5


IDENTITIES = st.tuples(st.sampled_from(SEATS), st.integers(1, 6))
HONEST = IDENTITIES.map(lambda who: Message(_content(who), *who, "anna", f"{who[1]}"))
LIES = st.builds(
    Message,
    st.integers(0, 3),
    st.sampled_from(SEATS),
    st.integers(1, 3),
    st.sampled_from(["anna", "bob"]),
    st.sampled_from(["x", "y"]),
)


def transcript(*messages: Message, limit: int = 100) -> Transcript:
    made = Transcript(limit)
    made.merge(messages)
    return made


@given(st.lists(HONEST), st.lists(HONEST), st.integers(1, 4))
def test_merging_commutes_whatever_the_bound(
    one: list[Message], two: list[Message], limit: int
) -> None:
    there = transcript(*one, *two, limit=limit)
    back = transcript(*two, *one, limit=limit)
    assert there.messages == back.messages


@given(st.lists(LIES), st.lists(LIES))
def test_merging_commutes_even_if_tales_differ(one: list[Message], two: list[Message]) -> None:
    assert transcript(*one, *two).messages == transcript(*two, *one).messages


@given(st.lists(LIES))
def test_merging_twice_is_merging_once(told: list[Message]) -> None:
    known = transcript(*told)
    before = known.messages
    assert known.merge(told) == 0
    assert known.messages == before


@given(st.lists(LIES), st.integers(1, 3))
def test_messages_are_sorted_unique_and_few(told: list[Message], limit: int) -> None:
    known = transcript(*told, limit=limit)
    assert len(known) <= limit
    assert [each.place for each in known.messages] == sorted(each.place for each in known.messages)
    assert len({each.identity for each in known.messages}) == len(known)


@given(LIES, st.lists(LIES))
def test_hearsay_never_replaces_what_the_author_said(said: Message, tales: list[Message]) -> None:
    told_before, told_after = transcript(*tales), Transcript()
    assert told_before.add(said)
    told_after.add(said)
    told_after.merge(tales)
    for known in (told_before, told_after):
        assert said in known.messages
        assert not known.is_hearsay(said)


@given(st.lists(HONEST, min_size=1), st.integers(0, 5), st.integers(0, 600))
def test_what_is_told_is_the_latest_within_the_bounds(
    told: list[Message], count: int, size: int
) -> None:
    known = transcript(*told)
    last = known.last(count, size)
    assert len(last) <= count
    assert tuple(last) == known.messages[len(known) - len(last) :]
    assert sum(len(each.text) for each in last) <= size


@given(st.lists(HONEST), st.lists(HONEST))
def test_digests_are_equal_exactly_if_the_talk_is(one: list[Message], two: list[Message]) -> None:
    here, there = transcript(*one), transcript(*two)
    same = {each.identity for each in here.messages} == {each.identity for each in there.messages}
    assert (here.digest == there.digest) == same
    assert (here.digest == 0) == (len(here) == 0)


def test_a_digest_covers_only_the_end() -> None:
    told = [Message(n, SEATS[0], n, "anna", "") for n in range(1, MAX_DIGESTED + 2)]
    assert transcript(*told).digest == transcript(*told[1:]).digest
    assert transcript(*told).digest != transcript(*told[:-1]).digest


def test_long_messages_fill_an_answer_sooner() -> None:
    long = [Message(n, SEATS[0], n, "anna", "x" * 1000) for n in range(1, 10)]
    assert [each.number for each in transcript(*long).last(size=3500)] == [7, 8, 9]


def test_an_author_cannot_unsay() -> None:
    known = Transcript()
    known.add(Message(1, SEATS[0], 1, "anna", "yes"))
    assert not known.add(Message(2, SEATS[0], 1, "anna", "no"))
    assert [each.text for each in known.messages] == ["yes"]
