"""Laws of awaited filters: all in, all out, within the bounds; and nothing outlives its waiter."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

from maculaos.host.awaited import run_filter
from maculaos.host.filters import Bound

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.filters import Filtered

WIDE = Bound(10_000_000, 20)
SLEEPS = "import time, sys; print('up', flush=True); time.sleep(600)"


def filtered(*words: str, given: bytes = b"", bound: Bound = WIDE) -> Filtered:
    async def main() -> Filtered:
        async with asyncio.timeout(30):
            done = await run_filter(words, given, bound)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return done

    return asyncio.run(main())


def python(program: str, *words: str, **more: object) -> Filtered:
    return filtered(sys.executable, "-c", program, *words, **more)  # type: ignore[arg-type]


def test_all_that_is_given_comes_back() -> None:
    given = os.urandom(2_000_000)
    done = filtered("cat", given=given)
    assert done.is_ok
    assert done.output == given


def test_a_program_need_not_read_what_it_is_given() -> None:
    done = python("print('done')", given=b"x" * 1_000_000)
    assert (done.status, bytes(done.output)) == (0, b"done\n")


def test_status_and_complaint_are_told() -> None:
    done = python("import sys; sys.stderr.write('e' * 100000); sys.exit(3)")
    assert done.status == 3
    assert set(done.said) == {"e"}
    assert len(done.said) < 20_000


def test_variables_are_added_to_the_environment() -> None:
    script = "import os; print(os.environ['ASKED'], 'PATH' in os.environ)"

    async def main() -> Filtered:
        words = (sys.executable, "-c", script)
        return await run_filter(words, b"", WIDE, {"ASKED": "yes"})

    assert bytes(asyncio.run(main()).output) == b"yes True\n"


def test_a_program_that_is_not_there_is_no_exception() -> None:
    done = filtered("/nonexistent/program")
    assert done.status == 127
    assert "/nonexistent/program: No such file" in done.said


def test_too_much_output_ends_it() -> None:
    done = filtered("yes", bound=Bound(1000, 20))
    assert done.status is None
    assert done.said == "it says more than 1000 bytes"


def test_too_much_time_ends_it() -> None:
    began = time.monotonic()
    done = python(SLEEPS, bound=Bound(1000, 0.5))
    assert (done.status, done.said) == (None, "stopped after 0.5 s")
    assert time.monotonic() - began < 20


def test_cancelled_it_ends_with_all_it_started(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    script = f"sleep 600 & echo $$ $! > {ids}.new; mv {ids}.new {ids}; wait"

    async def main() -> None:
        async with asyncio.timeout(30):
            task = asyncio.create_task(run_filter(("sh", "-c", script), b"", WIDE))
            while not ids.exists():  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    asyncio.run(main())
    deadline = time.monotonic() + 10
    for number in map(int, ids.read_text().split()):
        while is_alive(number):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def is_alive(number: int) -> bool:
    """Whether that process runs; one that nobody has reaped yet does not."""
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
