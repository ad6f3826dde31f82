"""The checker: finds exactly what was lost, doubled and out of order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.checker import Checker, Fate

PUBLISHERS, SUBSCRIBERS, EVENTS = 2, 3, 20
ALL = [range(SUBSCRIBERS)] * PUBLISHERS
deliveries = st.lists(
    st.tuples(
        st.integers(0, SUBSCRIBERS - 1), st.integers(0, PUBLISHERS - 1), st.integers(0, EVENTS - 1)
    ),
    max_size=200,
)
fates = st.lists(st.sampled_from(Fate), min_size=EVENTS, max_size=EVENTS)


def checker(of: list[Fate]) -> Checker:
    made = Checker(ALL)
    for publisher in range(PUBLISHERS):
        for number, fate in enumerate(of):
            sequence = made.publish(publisher, number / 10)
            made.settle(publisher, sequence, fate)
    return made


@given(fates, deliveries)
def test_checker_agrees_with_a_naive_one(of: list[Fate], came: list[tuple[int, int, int]]) -> None:
    checked = checker(of)
    firsts = [checked.take(*each) for each in came]
    counts = checked.counts()
    taken = {number for number, fate in enumerate(of) if fate is Fate.TAKEN}
    wanted = {(s, p, n) for s in range(SUBSCRIBERS) for p in range(PUBLISHERS) for n in taken}
    lost = {(each.subscriber, each.publisher, each.sequence) for each in checked.losses()}
    assert lost == wanted - set(came)
    assert (counts.expected, counts.lost) == (len(wanted), len(lost))
    assert counts.delivered == len(set(came)) == sum(firsts)
    assert counts.duplicates == len(came) - len(set(came))
    assert counts.refused_yet_delivered == len(set(came) - wanted)
    assert counts.refused == PUBLISHERS * (EVENTS - len(taken))
    assert counts.disordered == _naive_disorder(came)
    assert checked.is_complete() == (len(set(came)) == PUBLISHERS * SUBSCRIBERS * EVENTS)


def _naive_disorder(came: list[tuple[int, int, int]]) -> int:
    firsts = list(dict.fromkeys(came))
    return sum(
        any(
            (s, p) == (other_s, other_p) and other_n > n
            for other_s, other_p, other_n in firsts[:place]
        )
        for place, (s, p, n) in enumerate(firsts)
    )


def test_only_subscribers_of_a_publisher_are_waited_for() -> None:
    checked = Checker([(0,), (1,)])
    for publisher in range(2):
        checked.publish(publisher, 0.0, Fate.TAKEN)
    assert checked.counts().expected == 2
    assert checked.take(0, 0, 0)
    assert not checked.take(0, 1, 0)
    assert checked.counts().foreign == 1
    assert [(each.publisher, each.subscriber) for each in checked.losses()] == [(1, 1)]


def test_what_was_never_published_is_foreign() -> None:
    checked = Checker([(0,)])
    assert not checked.take(0, 0, 0)
    assert not checked.take(0, 9, 0)
    assert checked.counts().foreign == 2
    assert checked.counts().delivered == 0


def test_a_loss_says_when_the_event_was_meant_to_go() -> None:
    checked = Checker([(0,)])
    checked.publish(0, 1.5, Fate.TAKEN)
    assert [each.due_s for each in checked.losses()] == [1.5]


def test_a_subscriber_is_away_from_its_loss_to_the_first_event_that_comes() -> None:
    checked = Checker([(0, 1)])
    for number in range(10):
        checked.publish(0, float(number), Fate.TAKEN)
    for number in (0, 1, 6, 7, 9):
        checked.take(0, 0, number)
        if number == 1:
            checked.leave(0, 3.0)
    away = {each.sequence: each.is_away for each in checked.losses() if each.subscriber == 0}
    assert away == {2: False, 3: True, 4: True, 5: True, 8: False}
    assert not any(each.is_away for each in checked.losses() if each.subscriber == 1)
    assert (checked.counts().lost, checked.counts().away) == (15, 3)


def test_an_old_event_that_is_sent_again_ends_no_absence() -> None:
    checked = Checker([(0,)])
    for number in range(4):
        checked.publish(0, float(number), Fate.TAKEN)
    checked.leave(0, 1.5)
    checked.leave(0, 1.7)
    checked.take(0, 0, 1)
    assert {each.sequence: each.is_away for each in checked.losses()} == {
        0: False, 2: True, 3: True,
    }  # fmt: skip
