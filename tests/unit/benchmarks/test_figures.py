"""Figures of a benchmark: a bound is kept by the median, and what is kept can be read again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.figures import Figure, keep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("runs", "at_most", "at_least", "is_met"),
    [
        ((1.0, 2.0, 9.0), 2.0, None, True),
        ((1.0, 2.1, 2.2), 2.0, None, False),
        ((100.0,), None, 100.0, True),
        ((1.0, 99.0, 150.0), None, 100.0, False),
        ((5.0,), None, None, True),
    ],
)
def test_a_bound_is_kept_by_the_median(
    runs: tuple[float, ...], at_most: float | None, at_least: float | None, *, is_met: bool
) -> None:
    figure = Figure(name="x", unit="s", runs=runs, at_most=at_most, at_least=at_least)
    assert figure.is_met is is_met


def test_figures_are_kept_with_their_bounds_and_the_machine(tmp_path: Path) -> None:
    figure = Figure(name="pass", unit="s", runs=(1.0, 3.0), at_most=2.5)
    keep([figure], tmp_path / "deep" / "bench.json")
    found = json.loads((tmp_path / "deep" / "bench.json").read_text())
    assert found["figures"] == [
        {
            "name": "pass",
            "unit": "s",
            "runs": [1.0, 3.0],
            "at_most": 2.5,
            "at_least": None,
            "median": 2.0,
        }
    ]
    assert found["machine"]["python"]
