"""What operators and distrust do to a convergence: hold, consent, roll back, resume."""

from __future__ import annotations

from converging import DRIFT, NOTHING, begin, converged, fetch, waiting
from reconciler.convergence import Evaluate, Repair
from reconciler.generations import Progress, Suspension, decode_progress, encode_progress


def test_distrusted_tip_leaves_the_goal_and_waits_for_the_consent_to_it() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    assert one.next_action(1.0) == Evaluate("b")
    one.refused("b", 1.0, "history")
    assert (one.goal, one.progress.refused_for, one.progress.anchor) == ("a", "history", "a")
    assert one.next_action(1.0) == Repair("a")
    one.repaired("a", NOTHING, 1.0)
    assert not one.consent("a", 2.0)
    assert one.consent("b", 2.0)
    assert one.progress.consented == "b"
    assert one.next_action(2.0) == Evaluate("b")
    one.compiled("b", 2.0)
    held = one.progress
    assert (one.goal, held.anchor, held.consented) == ("b", "b", None)


def test_sync_looks_again_at_what_was_distrusted_but_not_at_broken_specs() -> None:
    for why, action in (("signatures", Evaluate("b")), ("specs", Repair("a"))):
        one = converged("a")
        fetch(one, "b", 1.0)
        one.next_action(1.0)
        one.refused("b", 1.0, why)
        fetch(one, "b", 2.0)
        assert one.next_action(2.0) == action
        assert not one.consent("b", 2.0)


def test_anchor_moves_only_with_what_is_accepted() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    one.next_action(1.0)
    one.refused("b", 1.0)
    assert one.progress.anchor == "a"
    assert decode_progress(encode_progress(one.progress)).anchor == "a"
    # As written by a program that knew of no anchor.
    assert Progress(last_accepted="x", last_applied="y").anchor == "x"
    assert Progress(last_applied="y").anchor == "y"


def test_suspended_asks_git_and_looks_and_evaluates_nothing() -> None:
    one = converged("a")
    one.suspend(Suspension(since=1.0))
    fetch(one, "b", 1.0)
    assert one.next_action(1.0) == Repair("a")
    assert not one.may_apply("a")
    one.inspected(1.0)
    assert waiting(one, 1.0) <= 1.0 + DRIFT
    one.resume(2.0)
    assert one.next_action(2.0) == Evaluate("b")
    assert one.may_apply("a")


def test_a_commit_read_while_held_does_not_become_the_goal() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    assert one.next_action(1.0) == Evaluate("b")
    one.suspend(Suspension(since=1.0))
    one.compiled("b", 1.0)
    assert one.goal == "a"


def test_rolled_back_stays_and_the_bad_tip_is_left_alone_after_resume() -> None:
    one = converged("b")
    one.rolled_back("a", 1.0)
    assert not one.may_apply("b")
    assert one.next_action(1.0) == Repair("a")
    one.repaired("a", NOTHING, 1.0)
    assert one.progress.last_applied == "a"
    again = begin(decode_progress(encode_progress(one.progress)))
    assert again.goal == "a"
    fetch(again, "c", 2.0)
    assert again.next_action(2.0) == Repair("a")
    again.repaired("a", NOTHING, 2.0)
    fetch(again, "b", 3.0)
    again.resume(3.0)
    assert again.next_action(3.0) == Repair("a")
    again.repaired("a", NOTHING, 3.0)
    fetch(again, "c", 4.0)
    assert again.next_action(4.0) == Evaluate("c")
