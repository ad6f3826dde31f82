"""Senders of datagrams: bounded in number, and forgotten when they are silent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.front.flows import Flows


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 5)), max_size=60), st.integers(1, 5))
def test_never_more_than_there_is_room_for_and_the_longest_silent_goes(
    seen: list[tuple[int, float]], most: int
) -> None:
    flows, now, known = Flows(most, 60.0), 0.0, list[int]()
    for sender, passed_s in seen:
        now += passed_s
        known = [*(each for each in known if each != sender), sender]
        displaced = flows.see((sender,), now)
        if displaced is not None:
            assert displaced == (known.pop(0),)
            flows.forget(displaced)
        assert len(flows) == len(known) <= most


def test_silent_ones_are_named_the_longest_first() -> None:
    flows = Flows(10, 60.0)
    for at, sender in enumerate(("a", "b", "a", "c")):
        flows.see((sender,), float(at))
    assert flows.idle(60.5) == ()
    assert flows.idle(61.0) == (("b",),)
    assert flows.idle(62.0) == (("b",), ("a",))
    flows.forget(("b",))
    assert flows.idle(100.0) == (("a",), ("c",))
