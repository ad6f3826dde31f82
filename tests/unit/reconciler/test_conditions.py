"""A condition's time changes when its status does, and at no other time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import app_for
from reconciler.conditions import NEXT_MOVES, Condition, Reason, Truth, Word, advance

conditions = st.builds(
    Condition,
    word=st.sampled_from(Word),
    status=st.sampled_from(Truth),
    reason=st.sampled_from(Reason),
    message=st.text(max_size=5),
    generation=st.sampled_from(["a", "b"]),
)
claims = st.lists(conditions, max_size=3, unique_by=lambda one: one.word).map(tuple)
times = st.floats(min_value=1, max_value=4e9)


@given(claims, times, times)
def test_the_same_claims_again_change_nothing(
    said: tuple[Condition, ...], a: float, b: float
) -> None:
    first = advance((), said, min(a, b))
    assert advance(first, said, max(a, b)) == first


@given(claims, claims, times, times)
def test_time_moves_with_the_status_only(
    before: tuple[Condition, ...], after: tuple[Condition, ...], a: float, b: float
) -> None:
    early, late = sorted((a, b))
    known = {one.word: one for one in advance((), before, early)}
    for one in advance(known.values(), after, late):
        held = known.get(one.word)
        has_moved = held is None or held.status is not one.status
        assert one.since == (late if has_moved else early)


@given(claims, times)
def test_what_is_claimed_is_said_unchanged(said: tuple[Condition, ...], now: float) -> None:
    assert tuple(replace(one, since=0.0) for one in advance((), said, now)) == said


def test_no_transition_lies_in_the_future_after_the_clock_went_back() -> None:
    ready = Condition(word=Word.READY, status=Truth.TRUE, reason=Reason.HEALTHY)
    (one,) = advance(advance((), (ready,), 1000.0), (ready,), 500.0)
    assert one.since == 500.0


def test_next_moves_name_verbs_that_exist() -> None:
    verbs = {one.callback.__name__ for one in app_for(()).registered_commands if one.callback}
    for move in NEXT_MOVES.values():
        for said in move.split("reconciler ")[1:]:
            assert said.split()[0].rstrip(";") in verbs
