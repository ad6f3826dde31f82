"""A plot as SVG: two axes, and lines, bars and bands between them.

It needs no font, script or style sheet from elsewhere; colours are classes that the page around it
gives a meaning. What is drawn is decided in ``charts``.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from maculaos.loadtest.scale import Scale, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Pixels of the picture at its own size.
WIDTH: Final = 760
HEIGHT: Final = 300
_LEFT: Final = 62
_RIGHT: Final = 18
_TOP: Final = 34
_BOTTOM: Final = 46
_LETTER: Final = 6.6

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its scale, what it shows, and where something else than the scale's is written."""

    scale: Scale
    title: str
    marks: tuple[tuple[float, str], ...] = ()

    def labels(self) -> tuple[tuple[float, str], ...]:
        """Values and what is written there."""
        return self.marks or tuple((each, written(each)) for each in self.scale.ticks())


class Plot:
    """Add things in the order in which they are to lie upon each other, then take ``svg``."""

    def __init__(self, title: str, across: Axis, up: Axis) -> None:
        self._title = title
        self._across = across
        self._up = up
        self._parts: list[str] = []
        self._legend: list[tuple[str, str]] = []

    def band(self, low: float, high: float, name: str) -> None:
        """Shade everything from ``low`` to ``high`` of the axis across."""
        left, right = self._x(low), self._x(high)
        width = max(1.5, right - left)
        self._parts.append(
            f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{width:.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{escape(name)}</title></rect>'
            f'<text class="note" x="{left + 4:.1f}" y="{_TOP + 12}">{escape(name)}</text>'
        )

    def line(
        self, points: Iterable[Point], name: str, colour: str, *, is_area: bool = False
    ) -> None:
        """A line through ``points``, from left to right."""
        placed = [(self._x(x), self._y(y)) for x, y in points]
        if not placed:
            return
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        if is_area:
            floor = HEIGHT - _BOTTOM
            around = f"{placed[0][0]:.1f},{floor} {drawn} {placed[-1][0]:.1f},{floor}"
            self._parts.append(f'<polygon class="area {colour}" points="{around}"/>')
        self._parts.append(f'<polyline class="line {colour}" points="{drawn}"/>')
        if len(placed) == 1:
            x, y = placed[0]
            self._parts.append(f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        self._legend.append((name, colour))

    def bars(self, bars: Sequence[tuple[float, float, float, str]], colour: str) -> None:
        """Bars: from, to, how high, and what it says when it is pointed at."""
        for low, high, value, said in bars:
            left, right, top = self._x(low), self._x(high), self._y(value)
            width, height = max(0.5, right - left - 0.5), HEIGHT - _BOTTOM - top
            self._parts.append(
                f'<rect class="bar {colour}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}"><title>{escape(said)}</title></rect>'
            )

    def flag(self, value: float, said: str) -> None:
        """An upright line at ``value`` of the axis across, with a word at its top."""
        x = self._x(value)
        is_right = x > WIDTH - _RIGHT - len(said) * _LETTER
        anchor, beside = ("end", x - 4) if is_right else ("start", x + 4)
        self._parts.append(
            f'<line class="flag" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="note" text-anchor="{anchor}" x="{beside:.1f}" y="{_TOP + 12}">'
            f"{escape(said)}</text>"
        )

    def svg(self) -> str:
        """The picture."""
        title = escape(self._title)
        parts = (*self._axes(), *self._parts, *self._key())
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" '
            f'xmlns="http://www.w3.org/2000/svg">'
            f'<text class="title" x="{_LEFT}" y="18">{title}</text>{"".join(parts)}</svg>'
        )

    def _axes(self) -> Iterable[str]:
        right, floor = WIDTH - _RIGHT, HEIGHT - _BOTTOM
        for value, label in self._up.labels():
            y = self._y(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield (
                f'<text class="label" text-anchor="end" x="{_LEFT - 7}" y="{y + 4:.1f}">'
                f"{escape(label)}</text>"
            )
        for value, label in self._across.labels():
            x = self._x(value)
            yield f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>'
            yield (
                f'<text class="label" text-anchor="middle" x="{x:.1f}" y="{floor + 17}">'
                f"{escape(label)}</text>"
            )
        middle = (_TOP + floor) / 2
        yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>'
        yield (
            f'<text class="unit" text-anchor="middle" x="{(_LEFT + right) / 2}" '
            f'y="{HEIGHT - 8}">{escape(self._across.title)}</text>'
            f'<text class="unit" text-anchor="middle" transform="translate(14 {middle}) '
            f'rotate(-90)">{escape(self._up.title)}</text>'
        )

    def _key(self) -> Iterable[str]:
        """The legend, from the right edge inwards; one line needs no name."""
        place: Callable[[str], float] = lambda name: len(name) * _LETTER + 30  # noqa: E731  # short
        x = WIDTH - _RIGHT - sum(place(name) for name, _ in self._legend)
        for name, colour in self._legend if len(self._legend) > 1 else ():
            yield f'<line class="line {colour}" x1="{x:.0f}" x2="{x + 16:.0f}" y1="14" y2="14"/>'
            yield f'<text class="label" x="{x + 21:.0f}" y="18">{escape(name)}</text>'
            x += place(name)

    def _x(self, value: float) -> float:
        return _LEFT + self._across.scale.place(value) * (WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - self._up.scale.place(value) * (HEIGHT - _TOP - _BOTTOM)
