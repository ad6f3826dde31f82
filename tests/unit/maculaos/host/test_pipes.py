"""Streamed programs: pieces both ways, what they say is bounded, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from maculaos.host.commands import CommandFailed
from maculaos.host.pipes import SAID_BYTES, piped, run_attached

HERE = Path("/")


def test_pieces_go_through_both_ways_at_once() -> None:
    async def main() -> None:
        async with piped("cat", environment=os.environ, directory=HERE) as program:
            sent = b"x" * (4 << 20)

            async def feed() -> None:
                for at in range(0, len(sent), 1 << 16):
                    assert await program.write(sent[at : at + (1 << 16)])
                program.close_input()

            feeding = asyncio.create_task(feed())
            taken = 0
            while piece := await program.read():
                taken += len(piece)
            await feeding
            assert taken == len(sent)
            assert await program.ended() == 0

    asyncio.run(main())


def test_what_is_left_is_killed_with_all_it_started() -> None:
    async def main() -> None:
        source = (
            "import subprocess, sys; p = subprocess.Popen(['sleep', '1000']);"
            "sys.stdout.write(f'{p.pid}\\n'); sys.stdout.flush(); p.wait()"
        )
        words = (sys.executable, "-c", source)
        async with piped(*words, environment=os.environ, directory=HERE) as program:
            child = psutil.Process(int(await program.read_until(b"\n", 100)))
        child.wait(timeout=10)

    asyncio.run(main())


def test_what_it_says_is_kept_up_to_a_bound() -> None:
    async def main() -> None:
        words = (sys.executable, "-c", "import sys; sys.stderr.write('e' * 1_000_000)")
        async with piped(*words, environment=os.environ, directory=HERE) as program:
            assert await program.read() == b""
            assert await program.ended() == 0
        assert len(program.said) <= SAID_BYTES

    asyncio.run(main())


def test_a_mark_that_does_not_come_is_an_error() -> None:
    async def main() -> None:
        words = (sys.executable, "-c", "print('x' * 1_000_000)")
        async with piped(*words, environment=os.environ, directory=HERE) as program:
            with pytest.raises(ValueError, match="no b"):
                await program.read_until(b"\r\n", 1000)

    asyncio.run(main())


def test_no_such_program() -> None:
    async def main() -> None:
        async with piped("no-such-program", environment=os.environ, directory=HERE):
            pass

    with pytest.raises(CommandFailed, match="not found"):
        asyncio.run(main())
    with pytest.raises(CommandFailed, match="not found"):
        run_attached("no-such-program", environment=os.environ, timeout_s=1)


def test_an_attached_program_has_its_time() -> None:
    assert run_attached("sh", "-c", "exit 3", environment=os.environ, timeout_s=10) == 3
    assert run_attached("sleep", "1000", environment=os.environ, timeout_s=0.1) == 124
