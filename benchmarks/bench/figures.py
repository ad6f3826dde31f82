"""Figures: what was measured, in which unit, and what it is held against."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing: its runs, and the bound that it must keep (``None``: only told)."""

    name: str
    unit: str
    runs: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.runs)

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the bound."""
        above = self.at_most is not None and self.median > self.at_most
        below = self.at_least is not None and self.median < self.at_least
        return not (above or below)

    @property
    def bound(self) -> str:
        """The bound in words; empty if there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"


def show(figures: Sequence[Figure]) -> None:
    """A table for people."""
    table = Table(title="median, and the range of all runs")
    for column in ("what", "median", "range", "unit", "bound", ""):
        table.add_column(column, justify="right" if column in ("median", "range") else "left")
    for figure in figures:
        verdict = "" if not figure.bound else "met" if figure.is_met else "MISSED"
        span = f"{min(figure.runs):.3g} - {max(figure.runs):.3g}"
        table.add_row(figure.name, f"{figure.median:.3g}", span, figure.unit, figure.bound, verdict)
    Console().print(table)


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    """Everything, with the machine that it was measured on."""
    return {
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "figures": [{**asdict(each), "median": each.median} for each in figures],
    }


def keep(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures down as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(figures), indent=2) + "\n")
