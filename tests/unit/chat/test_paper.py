"""Laws of the paper: all rows stand on it, broken to its width, and it follows only at its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import App

from chat.paper import Paper
from chat.view import Row

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Desk(App[None]):
    """A paper and nothing else."""

    def compose(self) -> ComposeResult:
        yield Paper("talk")


def row(number: int, words: str = "") -> Row:
    return Row((number, "", 0), "12:00", words or f"word {number}")


def test_rows_are_written_once_each_in_their_order_and_go_when_they_are_gone() -> None:
    async def main() -> None:
        desk = Desk()
        async with desk.run_test(size=(60, 10)):
            paper = desk.query_one(Paper)
            paper.write([row(1), row(3)])
            paper.write([row(1), row(2), row(3)])
            assert [line.split()[-1] for line in paper.text.splitlines()] == ["1", "2", "3"]
            paper.write([row(2)])
            assert [line.split()[-1] for line in paper.text.splitlines()] == ["2"]

    asyncio.run(main())


def test_long_words_are_broken_to_the_width_and_anew_when_it_changes() -> None:
    async def main() -> None:
        desk = Desk()
        async with desk.run_test(size=(60, 10)) as pilot:
            paper = desk.query_one(Paper)
            paper.write([row(1, "x" * 60)])
            assert len(paper.text.splitlines()) == 2
            await pilot.resize_terminal(100, 10)
            paper.write([row(1, "x" * 60)])
            assert len(paper.text.splitlines()) == 1

    asyncio.run(main())


def test_it_follows_the_last_row_unless_somebody_reads_above() -> None:
    async def main() -> None:
        desk = Desk()
        async with desk.run_test(size=(60, 10)) as pilot:
            paper = desk.query_one(Paper)
            paper.write(map(row, range(50)))
            await pilot.pause()
            assert paper.is_vertical_scroll_end
            paper.scroll_relative(y=-20, animate=False)
            await pilot.pause()
            seen = paper.scroll_offset
            paper.write(map(row, range(60)))
            await pilot.pause()
            assert paper.scroll_offset == seen
            paper.write(map(row, range(60)), is_new=True)
            await pilot.pause()
            assert paper.is_vertical_scroll_end

    asyncio.run(main())
