"""The machine's clock goes on; the fake one only moves when told."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from maculaos.host.clock import Clock, FakeClock, SystemClock


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=["system", "fake"])
def test_sleeping_and_waiting_move_both_times_on(clock: Clock) -> None:
    now, monotonic = clock.now(), clock.monotonic()
    clock.sleep(0.01)
    asyncio.run(clock.wait(0.01))
    assert clock.monotonic() - monotonic >= 0.0199
    assert clock.now() > now


def test_the_fake_stands_still_by_itself() -> None:
    clock = FakeClock(100.0)
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic()) == (100.0, 0.0)
    clock.sleep(1e6)
    assert (clock.now(), clock.monotonic()) == (1_000_100.0, 1e6)


def test_waiting_on_the_fake_lets_other_tasks_run() -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async def main() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(other())
            await FakeClock().wait(1000.0)
            assert ran == ["other"]

    asyncio.run(main())


def test_a_program_that_only_reads_the_clock_loads_no_event_loop() -> None:
    code = "import maculaos.host.clock, sys; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"
