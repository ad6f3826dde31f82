"""A scale: where a value stands on an axis, and which values are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# Steps that people count in (W. S. Cleveland: nice numbers).
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_WANTED: Final = 5
# With fewer powers of ten than this, the values between them are written, too.
_FEW_DECADES: Final = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """From ``low`` to ``high``, both written; on a logarithmic one both are above 0."""

    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` stands: 0 at the low end, 1 at the high one; never beyond."""
        if self.is_log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def ticks(self) -> list[float]:
        """The values to write, rising."""
        return self._powers() if self.is_log else self._multiples()

    def _multiples(self) -> list[float]:
        step = _step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _powers(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        factors = _STEPS[:3] if last - first <= _FEW_DECADES else _STEPS[:1]
        every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        return [each for each in every if self.low * 0.999 <= each <= self.high * 1.001]


def linear(highest: float) -> Scale:
    """From 0 to the first nice value that is no lower than ``highest``."""
    highest = highest if highest > 0 else 1.0
    step = _step(highest)
    return Scale(0.0, step * math.ceil(highest / step - 1e-9))


def logarithmic(lowest: float, highest: float) -> Scale:
    """Around both, from one nice value to another one."""
    lowest = max(lowest, 1e-9)
    highest = max(highest, lowest)
    low, high = _nice(lowest, is_up=False), _nice(highest, is_up=True)
    return Scale(low, high if high > low else low * 10, is_log=True)


def written(value: float) -> str:
    """``value`` as it stands beside an axis: 0.05, 5, 500, 5 k, 5 M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _step(span: float) -> float:
    power = 10.0 ** math.floor(math.log10(span / _WANTED))
    return next(each * power for each in _STEPS if each * power >= span / _WANTED * 0.999)


def _nice(value: float, *, is_up: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value) + 1e-12)
    nice = [each * power for each in _STEPS]
    if is_up:
        return next((each for each in nice if each >= value * 0.999_999), nice[-1])
    return next(each for each in reversed(nice) if each <= value * 1.000_001)
