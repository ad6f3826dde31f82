"""Endings by signal: what a verb has begun is ended first, then the process says which it was."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from maculaos.cli.ending import ending_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[int]]:
    """Signals that nobody within has taken: they would have ended the process."""
    missed: list[int] = []
    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in SIGNALS:
        signal.signal(each, lambda number, _: missed.append(number))
    yield missed
    for each, handler in before.items():
        signal.signal(each, handler)


async def work(said: list[str], *numbers: signal.Signals) -> None:
    """Be told to end; then clean up, and be told so again meanwhile."""
    async with ending_on_signals():
        try:
            for each in numbers:
                signal.raise_signal(each)
            await asyncio.Event().wait()
        finally:
            signal.raise_signal(signal.SIGTERM)
            for _ in range(10):
                await asyncio.sleep(0)
            said.append("cleaned up")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_task_cleans_up_and_the_process_ends_with_the_number(
    number: signal.Signals, seen: list[int]
) -> None:
    said: list[str] = []
    with pytest.raises(SystemExit) as ended:
        asyncio.run(asyncio.wait_for(work(said, number), 10))
    assert (ended.value.code, said, seen) == (128 + number, ["cleaned up"], [])


def test_of_two_signals_the_first_counts(seen: list[int]) -> None:
    said: list[str] = []
    with pytest.raises(SystemExit) as ended:
        asyncio.run(asyncio.wait_for(work(said, signal.SIGHUP, signal.SIGTERM), 10))
    assert (ended.value.code, said, seen) == (128 + signal.SIGHUP, ["cleaned up"], [])


def test_a_signal_that_is_ignored_stays_so() -> None:
    async def within() -> str:
        async with ending_on_signals():
            signal.raise_signal(signal.SIGHUP)
            for _ in range(10):
                await asyncio.sleep(0)
            return "done"

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert asyncio.run(within()) == "done"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_without_a_signal_results_errors_and_being_cancelled_pass() -> None:
    async def within(error: BaseException | None) -> str:
        async with ending_on_signals():
            if error is not None:
                raise error
            return "done"

    assert asyncio.run(within(None)) == "done"
    for error in (ValueError("of its own"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            asyncio.run(within(error))
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 2
