"""Laws of the token bucket and of the coalescer."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reconciler.webhook.rates import Coalescer, TokenBucket

GAPS = st.lists(st.floats(0, 10), max_size=60)


@given(gaps=GAPS, rate=st.floats(0.1, 10), burst=st.integers(1, 20))
def test_never_more_than_burst_and_rate_pass(gaps: list[float], rate: float, burst: int) -> None:
    bucket, now, passed = TokenBucket(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
        assert passed <= burst + rate * now + 1e-6


def test_what_was_used_comes_back() -> None:
    bucket = TokenBucket(1.0, 2, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(1.0)
    assert not bucket.take(1.0)


@given(gaps=GAPS, gap_s=st.floats(0.1, 5))
def test_every_wish_is_followed_by_an_act_and_acts_keep_their_distance(
    gaps: list[float], gap_s: float
) -> None:
    coalescer, now = Coalescer(gap_s), 0.0
    due: float | None = None
    acts: list[float] = []
    for gap in gaps:
        now += gap
        if due is not None and due <= now:
            coalescer.acted(due)
            acts.append(due)
            due = None
        delay = coalescer.wished(now)
        assert (delay is None) == (due is not None)
        due = due if delay is None else now + delay
    assert all(b - a >= gap_s - 1e-9 for a, b in pairwise(acts))
    assert not gaps or due is not None


def test_a_burst_becomes_two_acts() -> None:
    coalescer = Coalescer(1.0)
    assert coalescer.wished(0.0) == 0.0
    coalescer.acted(0.0)
    assert [coalescer.wished(0.1) for _ in range(99)] == [0.9] + [None] * 98
