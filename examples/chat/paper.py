"""The paper on which a talk is written: a widget that draws a row once and keeps it.

A talk grows by a row at a time, so all others are as they were. What a row says is the view's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chat.view import Row


class Paper(ScrollView, can_focus=False):
    """Rows from top to bottom; it follows the last one unless somebody has scrolled up."""

    DEFAULT_CSS = "Paper { overflow-x: hidden; overflow-y: scroll; }"

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._strips: list[Strip] = []
        self._drawn: dict[Row, list[Strip]] = {}
        self._width = 0

    @property
    def text(self) -> str:
        """What is written on it."""
        return "\n".join(strip.text for strip in self._strips)

    def write(self, rows: Iterable[Row], *, is_new: bool = False) -> None:
        """Show these rows and no others; if they are another talk, its end."""
        is_at_end = is_new or self.is_vertical_scroll_end
        width = self.scrollable_content_region.width
        kept = self._drawn if width == self._width else {}
        self._width = width
        self._drawn = {row: kept.get(row) or self._draw(row) for row in rows}
        self._strips = [strip for strips in self._drawn.values() for strip in strips]
        self.virtual_size = Size(width, len(self._strips))
        self.refresh()
        if is_at_end:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """One line of the part that is seen."""
        at = y + self.scroll_offset.y
        strip = self._strips[at] if at < len(self._strips) else Strip.blank(self.size.width)
        return strip.crop_extend(0, self.size.width, self.rich_style).apply_style(self.rich_style)

    def _draw(self, row: Row) -> list[Strip]:
        console = self.app.console
        options = console.options.update(width=max(1, self._width), height=None)
        return [Strip(line) for line in console.render_lines(row.drawn(), options, pad=False)]
