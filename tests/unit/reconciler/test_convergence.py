"""When Git is asked, what is evaluated and what is repaired."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from converging import DRIFT, NOTHING, POLL, begin, converged, fetch, waiting
from reconciler.convergence import Backoff, Evaluate, Fetch, Repair, Wait
from reconciler.generations import Progress, decode_progress, encode_progress


def test_new_tip_is_evaluated_and_applied() -> None:
    one = converged("a")
    assert (one.goal, one.progress.last_applied) == ("a", "a")
    assert waiting(one, 0.0) == DRIFT


def test_poll_waits_for_the_interval_and_its_jitter() -> None:
    one = begin()
    one.next_action(0.0)
    one.fetched(None, 0.0)
    assert POLL <= waiting(one, 0.0) <= POLL * 1.1


def test_after_a_restart_the_machine_is_repaired_before_git_is_asked() -> None:
    one = begin(Progress(last_applied="a", last_accepted="b"))
    assert one.next_action(0.0) == Repair("b")
    one.repaired("b", NOTHING, 0.0)
    assert one.next_action(0.0) == Fetch()


def test_unmoved_tip_is_not_evaluated_again() -> None:
    one = converged("a")
    fetch(one, "a", 1.0)
    assert one.next_action(1.0) == Repair("a")


def test_refused_tip_is_left_alone_until_it_moves() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    assert one.next_action(1.0) == Evaluate("b")
    one.refused("b", 1.0)
    assert one.next_action(1.0) == Repair("a")
    one.repaired("a", NOTHING, 1.0)
    fetch(one, "b", 2.0)
    assert one.next_action(2.0) == Repair("a")
    one.repaired("a", NOTHING, 2.0)
    fetch(one, "c", 3.0)
    assert one.next_action(3.0) == Evaluate("c")
    assert one.progress.refused is None


def test_refused_tip_stays_refused_over_a_restart() -> None:
    one = begin(Progress(last_applied="a", last_accepted="a", refused="b"))
    assert one.next_action(0.0) == Repair("a")
    one.repaired("a", NOTHING, 0.0)
    one.next_action(0.0)
    one.fetched("b", 0.0)
    assert waiting(one, 0.0) == DRIFT


def test_going_back_from_a_refused_tip_needs_no_evaluation() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    one.next_action(1.0)
    one.refused("b", 1.0)
    fetch(one, "a", 2.0)
    assert one.progress.refused is None
    assert one.next_action(2.0) == Repair("a")


def test_goal_that_is_refused_after_all_gives_way_to_the_last_applied() -> None:
    one = begin(Progress(last_applied="a", last_accepted="b"))
    one.next_action(0.0)
    one.refused("b", 0.0)
    assert one.next_action(0.0) == Repair("a")


def test_branch_without_commits_takes_nothing_away() -> None:
    one = converged("a")
    fetch(one, None, 1.0)
    assert one.next_action(1.0) == Repair("a")


def test_unreachable_git_does_not_stop_repairs() -> None:
    one = converged("a")
    repairs, now = 0, 0.0
    while now < 100.0:
        action = one.next_action(now)
        if isinstance(action, Fetch):
            one.fetch_failed("nobody answers", now)
        elif isinstance(action, Repair):
            repairs += 1
            one.repaired("a", NOTHING, now)
        elif isinstance(action, Wait):
            assert action.until > now
            now = action.until
    assert repairs == 9
    assert one.fetch_failure is not None
    assert one.fetch_failure.reason == "nobody answers"


@given(st.integers(), st.integers(min_value=1, max_value=100))
def test_waits_after_failed_fetches_stay_below_a_ceiling_that_doubles(
    seed: int, failures: int
) -> None:
    one, now = begin(seed=seed), 0.0
    for count in range(1, failures + 1):
        assert one.next_action(now) == Fetch()
        one.fetch_failed("x", now)
        until = waiting(one, now) if one.fetch_failure and one.fetch_failure.retry_at > now else now
        assert until - now <= min(300.0, 2.0 ** (count - 1))
        now = until
    one.next_action(now)
    one.fetched(None, now)
    assert one.fetch_failure is None


def test_commit_that_cannot_be_read_is_evaluated_again_later() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    one.next_action(1.0)
    one.evaluate_failed("object is missing", 1.0)
    assert one.next_action(1.0) == Repair("a")
    one.repaired("a", NOTHING, 1.0)
    until = waiting(one, 1.0)
    assert 1.0 < until <= 2.0
    assert one.next_action(until) == Evaluate("b")


def test_failed_step_is_postponed_and_others_are_not() -> None:
    one = converged("a")
    one.exit_hinted(1.0)
    one.next_action(2.0)
    one.step_failed("node-n1", "port in use", 2.0)
    one.step_done("node-n2")
    one.repaired("a", frozenset({"node-n1", "node-n2"}), 2.0)
    assert one.postponed(2.0) == {"node-n1"}
    until = waiting(one, 2.0)
    assert 2.0 < until <= 3.0
    assert one.next_action(until) == Repair("a")
    assert one.postponed(until) == NOTHING


def test_revision_with_a_failed_step_is_not_applied() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    one.next_action(1.0)
    one.compiled("b", 1.0)
    one.next_action(1.0)
    one.step_failed("node-n1", "port in use", 1.0)
    one.repaired("b", frozenset({"node-n1"}), 1.0)
    assert one.progress.last_applied == "a"
    assert one.progress.goal == "b"
    one.next_action(2.0)
    one.step_done("node-n1")
    one.repaired("b", frozenset({"node-n1"}), 2.0)
    assert one.progress.last_applied == "b"


def test_failure_is_forgotten_when_the_plan_no_longer_names_the_jail() -> None:
    one = converged("a")
    one.step_failed("node-n1", "x", 1.0)
    one.repaired("a", NOTHING, 1.0)
    assert one.step_failures == {}


def test_new_commit_ends_all_postponing() -> None:
    one = converged("a")
    fetch(one, "b", 1.0)
    one.next_action(1.0)
    one.step_failed("node-n1", "x", 1.0)
    assert one.postponed(1.0)
    one.compiled("b", 1.0)
    assert one.postponed(1.0) == NOTHING
    assert one.next_action(1.0) == Repair("b")


def test_machine_that_cannot_be_looked_at_is_tried_again() -> None:
    one = converged("a")
    one.exit_hinted(0.0)
    one.next_action(1.0)
    one.repair_failed("disk is gone", 1.0)
    assert one.look_failure is not None
    until = waiting(one, 1.0)
    assert until <= 2.0
    one.next_action(until)
    one.repaired("a", NOTHING, until)
    assert one.look_failure is None


def test_hint_brings_the_next_repair_forward() -> None:
    one = converged("a")
    one.exit_hinted(1.0)
    one.exit_hinted(1.1)
    until = waiting(one, 1.1)
    assert 1.0 < until < 1.3
    assert one.next_action(until) == Repair("a")


def test_hint_during_a_repair_is_not_lost() -> None:
    one = converged("a")
    assert one.next_action(DRIFT) == Repair("a")
    one.exit_hinted(DRIFT)
    one.repaired("a", NOTHING, DRIFT + 0.1)
    assert waiting(one, DRIFT + 0.1) < DRIFT + 1


def test_sync_is_served_when_all_that_it_brought_is_done() -> None:
    one = converged("a")
    ticket = one.sync_requested(1.0)
    assert not one.is_served(ticket, 1.0)
    assert one.next_action(1.0) == Fetch()
    one.fetched("b", 1.0)
    assert not one.is_served(ticket, 1.0)
    one.next_action(1.0)
    one.compiled("b", 1.0)
    assert not one.is_served(ticket, 1.0)
    one.next_action(1.0)
    assert not one.is_served(ticket, 1.0)
    one.repaired("b", NOTHING, 1.0)
    assert one.is_served(ticket, 1.0)


def test_sync_during_a_fetch_needs_another_fetch() -> None:
    one = begin()
    one.next_action(0.0)
    ticket = one.sync_requested(0.0)
    one.fetched(None, 0.1)
    assert not one.is_served(ticket, 0.1)
    assert one.next_action(0.1) == Fetch()
    one.fetched(None, 0.2)
    assert one.is_served(ticket, 0.2)


def test_sync_ends_all_postponing() -> None:
    one = converged("a")
    one.step_failed("node-n1", "x", 1.0)
    one.sync_requested(1.0)
    assert one.postponed(1.0) == NOTHING


def test_sync_is_served_though_git_is_unreachable() -> None:
    one = converged("a")
    ticket = one.sync_requested(1.0)
    one.next_action(1.0)
    one.fetch_failed("x", 1.0)
    assert one.next_action(1.0) == Repair("a")
    one.repaired("a", NOTHING, 1.0)
    assert one.is_served(ticket, 1.0)


def test_action_that_nobody_reported_on_is_handed_out_again() -> None:
    one = begin()
    assert one.next_action(0.0) == Fetch()
    assert one.next_action(5.0) == Fetch()


@pytest.mark.parametrize("failures", [1, 2, 1000])
def test_ceiling_is_bounded(failures: int) -> None:
    assert Backoff(base_s=1.0, max_s=3.0).ceiling_s(failures) == min(
        3.0, 2.0 ** min(failures - 1, 9)
    )


class Story(RuleBasedStateMachine):
    """Whatever happens in whatever order, what was promised holds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.one = begin()
        self.tip_of_git: str | None = None

    @rule(tip=st.sampled_from(["a", "b", "c", "d"]))
    def push(self, tip: str) -> None:
        self.tip_of_git = tip

    @rule()
    def sync(self) -> None:
        self.one.sync_requested(self.now)

    @rule()
    def hint(self) -> None:
        self.one.exit_hinted(self.now)

    @rule(seconds=st.floats(min_value=0, max_value=100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        kept = decode_progress(encode_progress(self.one.progress))
        self.one = begin(kept, now=self.now)

    @rule(is_well=st.booleans())
    def act(self, is_well: bool) -> None:
        action = self.one.next_action(self.now)
        if isinstance(action, Fetch):
            self._fetch(is_well)
        elif isinstance(action, Evaluate):
            self._evaluate(action.revision, is_well)
        elif isinstance(action, Repair):
            self._repair(action.revision, is_well)

    def _fetch(self, is_well: bool) -> None:
        if is_well:
            self.one.fetched(self.tip_of_git, self.now)
        else:
            self.one.fetch_failed("x", self.now)

    def _evaluate(self, revision: str, is_well: bool) -> None:
        if revision == "d":
            self.one.refused(revision, self.now)
        elif is_well:
            self.one.compiled(revision, self.now)
        else:
            self.one.evaluate_failed("x", self.now)

    def _repair(self, revision: str, is_well: bool) -> None:
        if not is_well:
            self.one.step_failed("node-n1", "x", self.now)
        else:
            self.one.step_done("node-n1")
        self.one.repaired(revision, frozenset({"node-n1"}), self.now)

    @invariant()
    def refused_commit_is_never_the_goal(self) -> None:
        assert self.one.goal != "d"

    @invariant()
    def accepted_goal_is_never_lost(self) -> None:
        if self.one.progress.last_applied is not None:
            assert self.one.goal is not None

    def teardown(self) -> None:
        """However it went: left alone with a Git that answers, it comes to rest at the tip."""
        for _ in range(200):
            action = self.one.next_action(self.now)
            if isinstance(action, Wait):
                assert self.now < action.until <= self.now + 300
                self.now = action.until
            else:
                self._take(action)
        if self.tip_of_git == "d":
            assert self.one.progress.refused == "d"
        else:
            assert self.one.progress.last_applied == self.tip_of_git

    def _take(self, action: Fetch | Evaluate | Repair) -> None:
        if isinstance(action, Fetch):
            self._fetch(is_well=True)
        elif isinstance(action, Evaluate):
            self._evaluate(action.revision, is_well=True)
        else:
            self._repair(action.revision, is_well=True)


TestStory = Story.TestCase


def test_sync_is_not_served_before_the_repair_though_the_next_poll_is_due() -> None:
    one = begin()
    ticket = one.sync_requested(0.0)
    assert one.next_action(0.0) == Fetch()
    one.fetched("a", 0.0)
    late = 2 * POLL
    assert one.next_action(late) == Evaluate("a")
    one.compiled("a", late)
    assert not one.is_served(ticket, late)
    assert one.next_action(late) == Fetch()
    one.fetched("a", late)
    assert one.next_action(late) == Repair("a")
    one.repaired("a", NOTHING, late)
    assert one.is_served(ticket, late)


def test_fetch_that_somebody_asked_for_is_known_as_such() -> None:
    one = begin()
    seen = []
    for now in (0.0, 1.0):
        assert one.next_action(now) == Fetch()
        seen.append(one.is_forced)
        one.fetched(None, now)
        seen.append(one.is_forced)
        one.sync_requested(now)
    assert seen == [False, False, True, False]


def test_a_repair_that_was_interrupted_is_taken_up_at_once() -> None:
    one = converged("a")
    one.exit_hinted(1.0)
    assert one.next_action(2.0) == Repair("a")
    one.rolled_back("0", 2.0)
    one.interrupted(2.0)
    assert one.next_action(2.0) == Repair("0")


def test_revision_with_steps_left_to_a_rollout_is_not_applied_and_is_looked_at_in_time() -> None:
    one = converged("a")
    one.fetched("b", 1.0)
    assert one.next_action(1.0) == Evaluate("b")
    one.compiled("b", 1.0)
    assert one.next_action(1.0) == Repair("b")
    one.repaired("b", NOTHING, 1.0, is_whole=False)
    one.look_by(3.0)
    assert one.progress.last_applied == "a"
    assert waiting(one, 2.0) == 3.0
    assert one.next_action(3.0) == Repair("b")
    one.repaired("b", NOTHING, 3.0)
    assert one.progress.last_applied == "b"
