"""History and progress survive their codec, and what may befall their files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.generations import (
    LONGEST_LINE,
    MOST_LINES,
    Generation,
    Outcome,
    Progress,
    Suspension,
    decode_history,
    decode_progress,
    encode_history,
    encode_progress,
    named_revision,
    remember,
    rollback_target,
)

words = st.text(st.characters(codec="utf-8"), max_size=20)
times = st.floats(min_value=0, max_value=4e9)
generations = st.builds(
    Generation,
    revision=st.text("0123456789abcdef", min_size=4, max_size=40),
    subject=words,
    author=words,
    attempted_at=times,
    finished_at=times,
    outcome=st.sampled_from(Outcome),
    problems=st.lists(words, max_size=3).map(tuple),
    steps=st.lists(words, max_size=3).map(tuple),
)
revisions = st.none() | st.sampled_from(["a", "b", "c"])


def generation(revision: str, **said: Any) -> Generation:
    return Generation(
        revision=revision,
        subject="Move n2",
        author="A. Person",
        attempted_at=10.0,
        finished_at=12.5,
        outcome=Outcome.APPLIED,
        **said,
    )


@given(st.lists(generations, max_size=5).map(tuple))
def test_history_survives_its_codec(history: tuple[Generation, ...]) -> None:
    assert decode_history(encode_history(history), most=100) == history


@given(st.lists(generations, min_size=1, max_size=4).map(tuple), st.data())
def test_torn_last_line_loses_only_itself(
    history: tuple[Generation, ...], data: st.DataObject
) -> None:
    written = encode_history(history)
    before = len(encode_history(history[:-1]))
    torn = data.draw(st.integers(min_value=before, max_value=len(written) - 2))
    assert decode_history(written[:torn], most=100) == history[:-1]


def test_spoilt_line_loses_only_itself() -> None:
    written = encode_history((generation("a"),)) + b"{\n" + encode_history((generation("b"),))
    assert [each.revision for each in decode_history(written, most=100)] == ["a", "b"]


@given(st.binary(max_size=200))
def test_garbage_is_no_history_and_no_crash(content: bytes) -> None:
    decode_history(content, most=10)


def test_history_is_bounded() -> None:
    history: tuple[Generation, ...] = ()
    for number in range(10):
        history = remember(history, generation(str(number)), most=3)
    assert [each.revision for each in history] == ["7", "8", "9"]
    assert decode_history(encode_history(history), most=2) == history[-2:]


def test_another_attempt_takes_the_place_of_the_last() -> None:
    first, again = generation("a"), generation("a", steps=("start node-n1: x",))
    history = remember((generation("0"), first), again, most=10)
    assert history == (generation("0"), replace(again, attempts=2))


def test_generation_stays_within_bounds() -> None:
    huge = generation("a", problems=("x" * 9999,), steps=("s",) * (MOST_LINES + 5))
    assert len(huge.problems[0]) == LONGEST_LINE
    assert len(huge.steps) == MOST_LINES
    assert huge.steps[-1] == "... and 6 more"


def test_generation_as_json_says_how_long_it_took() -> None:
    said = generation("a").as_json()
    assert said["duration_s"] == 2.5
    assert said["outcome"] == "applied"


@given(st.builds(Progress, last_applied=revisions, last_accepted=revisions, refused=revisions))
def test_progress_survives_its_codec(progress: Progress) -> None:
    assert decode_progress(encode_progress(progress)) == progress


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b'{"last_aplied": "a"}'])
def test_unreadable_progress_is_said_and_not_guessed(content: bytes) -> None:
    with pytest.raises(UsageError, match="progress"):
        decode_progress(content)


def test_half_applied_commit_is_the_goal_after_a_restart() -> None:
    assert Progress(last_applied="a").accepting("b").goal == "b"


def test_refused_commit_is_never_the_goal() -> None:
    progress = Progress(last_applied="a", last_accepted="b").refusing("c")
    assert progress.goal == "b"
    assert progress.last_attempted == "c"
    assert progress.refusing("b").goal == "a"
    assert progress.refusing("b").refusing("a").goal is None


def attempt(revision: str, outcome: Outcome = Outcome.APPLIED) -> Generation:
    return replace(generation(revision), outcome=outcome)


def test_rollback_goes_to_the_last_good_one_before_the_present() -> None:
    history = (attempt("a"), attempt("b"), attempt("c", Outcome.FAILED))
    assert rollback_target(history, Progress(last_accepted="c", last_applied="b")) == "b"
    assert rollback_target(history, Progress(last_accepted="b", last_applied="b")) == "a"


def test_rolling_back_again_goes_further_back_and_never_to_a_bad_one() -> None:
    history = (attempt("a"), attempt("b"), attempt("c"))
    progress = Progress(last_accepted="c", last_applied="c").rolling_back("b")
    assert (progress.goal, progress.pinned, progress.bad) == ("b", "b", ("c",))
    assert rollback_target((*history, attempt("b", Outcome.ROLLED_BACK)), progress) == "a"
    assert progress.rolling_back("a").bad == ("c", "b")


@pytest.mark.parametrize("named", ["c", "d", "x"])
def test_rollback_to_what_never_ran_here_is_refused(named: str) -> None:
    history = (attempt("a"), attempt("c", Outcome.FAILED), attempt("d"))
    with pytest.raises(UsageError):
        rollback_target(history, Progress(last_accepted="d", last_applied="d"), named)


def test_a_revision_is_named_by_its_beginning() -> None:
    history = (attempt("abc1"), attempt("abd2"))
    assert named_revision(history, "abd") == "abd2"
    for named in ("ab", "f", ""):
        with pytest.raises(UsageError):
            named_revision(history, named)


def test_held_progress_survives_its_codec() -> None:
    progress = Progress(last_accepted="b", last_applied="b").rolling_back("a")
    progress = progress.suspending(Suspension(since=1.5, reason="why", until=9.0))
    assert decode_progress(encode_progress(progress)) == progress
    assert progress.is_held
    assert not progress.resuming().is_held
    assert progress.resuming().bad == ("b",)
    assert progress.resuming(forgives=True).bad == ()


def test_attempts_of_one_commit_are_counted_with_their_time() -> None:
    first = replace(attempt("a", Outcome.FAILED), attempted_at=1.0)
    (one,) = remember((first,), replace(attempt("a"), attempted_at=5.0, finished_at=9.0), 10)
    assert (one.attempts, one.attempted_at, one.duration_s) == (2, 1.0, 8.0)
