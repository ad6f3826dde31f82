"""Laws of restart policy and backoff."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.keeper.supervision import Supervision, describe_exit
from jails.spec import Restart, RestartPolicy


@pytest.mark.parametrize(
    ("policy", "exit_status", "is_restarted"),
    [
        (RestartPolicy.ALWAYS, 0, True),
        (RestartPolicy.ALWAYS, 1, True),
        (RestartPolicy.ON_FAILURE, 0, False),
        (RestartPolicy.ON_FAILURE, 1, True),
        (RestartPolicy.ON_FAILURE, -9, True),
        (RestartPolicy.NEVER, 0, False),
        (RestartPolicy.NEVER, -9, False),
    ],
)
def test_policy_decides(policy: RestartPolicy, exit_status: int, is_restarted: bool) -> None:
    supervision = Supervision(Restart(policy=policy))
    supervision.started(0.0)
    assert (supervision.ended(exit_status, 1.0) is not None) is is_restarted


def test_waits_double_up_to_the_longest() -> None:
    supervision = Supervision(Restart(base_s=0.25, max_s=1.5))
    waits = []
    for now in range(5):
        supervision.started(float(now))
        waits.append(supervision.ended(1, now + 0.5))
    assert waits == [0.25, 0.5, 1.0, 1.5, 1.5]


def test_a_steady_run_starts_the_waits_over() -> None:
    supervision = Supervision(Restart(base_s=1.0, steady_s=10.0))
    for _ in range(3):
        supervision.started(0.0)
        supervision.ended(1, 9.9)
    supervision.started(100.0)
    assert supervision.ended(1, 110.0) == 1.0


@given(st.integers(min_value=0, max_value=3000))
def test_waits_never_pass_the_bounds(ends: int) -> None:
    supervision = Supervision(Restart())
    for _ in range(ends + 1):
        supervision.started(0.0)
        wait = supervision.ended(1, 0.0)
        assert wait is not None
        assert 0.25 <= wait <= 30.0
    assert supervision.restarts == ends


def test_exits_are_told_in_words() -> None:
    assert describe_exit(0) == "exited with status 0"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-200) == "killed by signal 200"
