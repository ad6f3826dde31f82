"""What is said of commits follows from the history and the status."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.generations import Generation, Outcome, Suspension
from reconciler.notices.notice import MOST_NOTICES, State, notices, redacted_text
from reconciler.status import RevisionStatus, Status

A, B, C = "a" * 40, "b" * 40, "c" * 40
STATUS = Status(at=100.0, pid=1, started_at=0.0, runtime="process", url="u", branch="main")


def generation(revision: str, outcome: Outcome = Outcome.APPLIED, *problems: str) -> Generation:
    return Generation(
        revision=revision,
        subject="s",
        author="a",
        attempted_at=10.0,
        finished_at=12.5,
        outcome=outcome,
        problems=problems,
    )


def status(**revisions: str | None) -> Status:
    return replace(STATUS, revisions=RevisionStatus(**revisions))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.APPLIED, State.SUCCESS),
        (Outcome.ROLLED_BACK, State.SUCCESS),
        (Outcome.PARTIAL, State.FAILURE),
        (Outcome.REFUSED, State.FAILURE),
        (Outcome.FAILED, State.FAILURE),
    ],
)
def test_each_outcome_has_its_state(outcome: Outcome, state: State) -> None:
    refused = A if outcome is Outcome.REFUSED else None
    shown = status(tip=A, attempted=A, applied=A, refused=refused)
    (said,) = notices([generation(A, outcome)], shown)
    assert (said.state, said.result, said.duration_s) == (state, str(outcome), 2.5)


def test_commit_is_pending_until_something_came_of_it() -> None:
    past = [generation(A)]
    said = notices(past, status(tip=B, attempted=A, applied=A))
    assert [(one.revision, one.state) for one in said] == [(B, State.PENDING), (A, State.SUCCESS)]
    said = notices(past, status(tip=B, attempted=B, applied=A))
    assert said[0].state is State.PENDING
    said = notices([*past, generation(B)], status(tip=B, attempted=B, applied=B))
    assert said[0].state is State.SUCCESS


def test_branch_that_goes_back_is_pending_again() -> None:
    said = notices([generation(A), generation(B)], status(tip=A, attempted=A, applied=B))
    assert (said[0].revision, said[0].state) == (A, State.PENDING)


def test_refused_tip_is_not_pending() -> None:
    past = [generation(A), generation(B, Outcome.REFUSED, "realm.yaml:1:1: no")]
    said = notices(past, status(tip=B, attempted=B, applied=A, refused=B))
    assert said[0].text == "refused: realm.yaml:1:1: no"
    assert {one.state for one in said} == {State.FAILURE, State.SUCCESS}


def test_what_was_rolled_back_from_failed() -> None:
    past = [generation(A), generation(B), generation(A, Outcome.ROLLED_BACK)]
    shown = replace(status(tip=B, attempted=A, applied=A), bad=(B,), pinned=A)
    said = {one.revision: one for one in notices(past, shown)}
    assert (said[B].state, said[B].result) == (State.FAILURE, "rolled back from")
    assert (said[A].state, said[A].result) == (State.SUCCESS, "rolled back")


def test_suspension_is_the_reason_of_what_is_pending() -> None:
    shown = replace(status(tip=B, attempted=A), suspended=Suspension(since=1.0))
    assert "suspended" in notices([generation(A)], shown)[0].text


@given(
    revisions=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=60),
    tip=st.sampled_from("abz"),
)
def test_notices_are_bounded_and_one_for_each_commit(revisions: list[str], tip: str) -> None:
    past = [generation(letter * 40) for letter in revisions]
    said = notices(past, status(tip=tip * 40, attempted=tip * 40))
    assert len(said) <= MOST_NOTICES
    named = [one.revision for one in said]
    assert len(set(named)) == len(named)
    assert tip * 40 in named


@given(st.text(max_size=400), st.text(st.characters(codec="ascii"), min_size=8, max_size=30))
def test_secrets_are_in_no_text_and_it_is_one_short_line(text: str, secret: str) -> None:
    said = redacted_text(f"{text}{secret}{text}", (secret,), 100)
    assert len(said) <= 100
    assert said.isprintable()
    assert secret not in said or set(secret) == {"*"}


@pytest.mark.parametrize(
    "secret",
    [
        "https://ada:hunter2@git.example/x",
        "AGE-SECRET-KEY-1QQPQQRZ",
        "ghp_0123456789abcdef",
        "glpat-0123456789abcdef",
        "Bearer 0123456789abcdef0123",
    ],
)
def test_what_looks_like_a_secret_is_left_out(secret: str) -> None:
    said = redacted_text(f"cannot: {secret}")
    assert "***" in said
    for part in ("hunter2", "1QQPQQRZ", "0123456789abcdef"):
        assert part not in said
