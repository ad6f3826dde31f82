"""The agenda: everything happens once, in the order of its time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.agenda import Agenda


@given(st.lists(st.integers(0, 20)), st.integers(0, 25))
def test_everything_due_happens_in_order_and_nothing_else(times: list[int], until: int) -> None:
    agenda, done = Agenda(), list[tuple[float, int]]()
    for number, when in enumerate(times):
        agenda.at(when, lambda each: done.append((agenda.now, each)), number)
    agenda.run_until(until)
    assert done == sorted((when, n) for n, when in enumerate(times) if when <= until)
    assert agenda.now == until
    agenda.run_until(30)
    assert len(done) == len(times)


def test_what_is_past_happens_now() -> None:
    agenda, done = Agenda(), list[float]()
    agenda.run_until(5)
    agenda.at(1, lambda: done.append(agenda.now))
    agenda.run_until(6)
    assert done == [5]
