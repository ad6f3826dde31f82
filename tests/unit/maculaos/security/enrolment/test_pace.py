"""Laws of the pace at which one source may ask."""

from __future__ import annotations

from maculaos.security.enrolment import pace
from maculaos.security.enrolment.pace import Pace


def test_burst_then_rate() -> None:
    asked = Pace(burst=3, per_s=0.5)
    assert [asked.allows("a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert not asked.allows("a", 1.9)
    assert asked.allows("a", 2.1)
    assert not asked.allows("a", 2.2)


def test_sources_do_not_slow_each_other() -> None:
    asked = Pace(burst=1, per_s=0.1)
    assert asked.allows("a", 0.0)
    assert not asked.allows("a", 0.0)
    assert asked.allows("b", 0.0)


def test_rest_never_saves_more_than_the_burst() -> None:
    asked = Pace(burst=2, per_s=1.0)
    asked.allows("a", 0.0)
    assert [asked.allows("a", 1000.0) for _ in range(3)] == [True, True, False]


def test_table_is_bounded() -> None:
    asked = Pace(burst=1, per_s=0.0)
    for number in range(pace.MAX_SOURCES + 10):
        asked.allows(str(number), 0.0)
    assert not asked.allows(str(pace.MAX_SOURCES + 9), 0.0)
    assert asked.allows("0", 0.0)
