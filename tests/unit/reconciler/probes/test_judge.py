"""The judgement: what it takes to be healthy, to be unhealthy, and to be believed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.probes.judge import (
    STEADY,
    WINDOW,
    Judgement,
    Result,
    State,
    begin,
    judge,
    overall,
)
from reconciler.probes.spec import Rhythm

rhythms = st.builds(Rhythm, failures=st.integers(1, 5), successes=st.integers(1, 5))


def after(answers: str, rhythm: Rhythm) -> Judgement:
    """What is thought after these answers, ``+`` or ``-``, one a second."""
    thought = begin(0.0)
    for second, answer in enumerate(answers, start=1):
        thought = judge(thought, Result(float(second), answer == "+", "no"), rhythm)
    return thought


@pytest.mark.parametrize(
    ("answers", "state", "since"),
    [
        ("", State.STARTING, 0.0),
        ("--", State.STARTING, 0.0),
        ("+", State.STARTING, 0.0),
        ("++", State.HEALTHY, 2.0),
        ("+-+", State.STARTING, 0.0),
        ("---", State.UNHEALTHY, 3.0),
        ("++++--", State.HEALTHY, 2.0),
        ("++++---", State.UNHEALTHY, 7.0),
        ("++++----", State.UNHEALTHY, 7.0),
        ("++---+", State.UNHEALTHY, 5.0),
        ("++---++", State.HEALTHY, 7.0),
    ],
)
def test_only_answers_in_a_row_change_what_is_thought(
    answers: str, state: State, since: float
) -> None:
    thought = after(answers, Rhythm(failures=3, successes=2))
    assert (thought.state, thought.since) == (state, since)


def test_who_fails_every_other_time_is_found_out_and_must_be_steady_to_be_believed() -> None:
    rhythm = Rhythm(failures=3, successes=1)
    flapping = "+" + "--+" * 6
    thought = after(flapping, rhythm)
    assert thought.state is State.UNHEALTHY
    assert "of 16 times" in thought.reason
    assert after(flapping + "+" * (STEADY - 2), rhythm).state is State.UNHEALTHY
    assert after(flapping + "+" * STEADY, rhythm).state is State.HEALTHY


@given(st.text(alphabet="+-", max_size=60), rhythms)
def test_the_same_answers_long_enough_always_decide(answers: str, rhythm: Rhythm) -> None:
    good = after(answers + "+" * max(rhythm.successes, STEADY), rhythm)
    assert good.state is State.HEALTHY
    assert good.reason == ""
    bad = after(answers + "-" * rhythm.failures, rhythm)
    assert bad.state is State.UNHEALTHY
    assert bad.reason
    assert len(bad.window) <= WINDOW


@given(st.text(alphabet="+-", min_size=1, max_size=60), rhythms)
def test_since_is_when_the_state_began_and_never_moves_while_it_lasts(
    answers: str, rhythm: Rhythm
) -> None:
    before, now = after(answers[:-1], rhythm), after(answers, rhythm)
    changed = before.state is not now.state
    assert now.since == (float(len(answers)) if changed else before.since)


def test_of_several_probes_the_worst_counts() -> None:
    healthy = Judgement(state=State.HEALTHY, since=5.0)
    later = Judgement(state=State.HEALTHY, since=9.0)
    starting = Judgement(state=State.STARTING, since=1.0)
    ill = Judgement(state=State.UNHEALTHY, since=7.0, reason="no")
    assert overall([healthy, later]) == later
    assert overall([healthy, starting]) == starting
    assert overall([starting, ill, healthy]) == ill


def test_what_a_probe_says_is_kept_short() -> None:
    thought = judge(begin(0.0), Result(1.0, False, "x" * 10_000), Rhythm(failures=1))
    assert len(thought.reason) == 200
