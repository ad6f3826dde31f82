"""What one scenario found, beside the bound that it must keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measured thing; ``virtual_s`` of virtual time took ``took_s`` seconds of one core."""

    scenario: str
    what: str
    nodes: int
    seed: int
    # The command that finds the same again.
    replay: str
    figure: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    # What else is worth knowing.
    detail: str = ""
    virtual_s: float = 0.0
    took_s: float = 0.0

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps the bound."""
        above = self.at_most is not None and self.figure > self.at_most
        below = self.at_least is not None and self.figure < self.at_least
        return not (above or below)

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:.4g}"
        return "" if self.at_least is None else f"at least {self.at_least:.4g}"
