"""A call that hangs in the machine keeps neither the reconciler nor its process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from jails.memory import MemoryRuntime
from maculaos.host.threads import in_thread
from reconciler.assembly import assemble, load_settings, store_of
from reconciler.daemon import Daemon
from reconciling import TWO_NODES, Bench, a_bench

if TYPE_CHECKING:
    from collections.abc import Iterator

HANGS = """
import sys, time
import jails.process, reconciler.session
from reconciler.daemon import Daemon

def hang(*_):
    print("hangs", flush=True)
    time.sleep(1000)

def made(worker, settings_file):
    jails.process.ProcessRuntime.look = hang
    return Daemon(worker, settings_file, 0.3)

reconciler.session.Daemon = made
from reconciler.cli import main
sys.argv = ["reconciler", *sys.argv[1:]]
main()
"""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2")
        bench.upstream.commit(TWO_NODES)
        yield bench


class HangingRuntime(MemoryRuntime):
    """Looks only once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.both = threading.Barrier(3)

    def look(self) -> Any:
        self.both.wait(30)
        self.let.wait(60)
        return super().look()


def test_stop_leaves_a_call_behind_that_hangs(bench: Bench) -> None:
    async def main() -> None:
        settings = load_settings(bench.config)
        runtime = HangingRuntime()
        with store_of(settings).locked():
            worker = assemble(settings, bench.log, runtime)
            daemon = Daemon(worker, grace_s=0.2)
            task = asyncio.create_task(daemon.run())
            async with asyncio.timeout(30):
                # The watch and the repair both look.
                await asyncio.to_thread(runtime.both.wait, 30)
                assert worker.is_repairing
                daemon.stop()
                await task
        runtime.let.set()
        assert " left_behind" in bench.log.getvalue()
        assert " stopped" in bench.log.getvalue()

    asyncio.run(main())


def test_process_ends_at_sigterm_although_a_call_hangs(bench: Bench) -> None:
    words = [sys.executable, "-c", HANGS, "run", "--config", str(bench.config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"hangs\n"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert time.monotonic() - began < 25
        finally:
            process.kill()


def test_work_in_a_thread_gives_back_what_it_gives_and_raises() -> None:
    async def main() -> None:
        assert await in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await in_thread(divmod, 7, 0)

    asyncio.run(main())


def test_work_that_nobody_waits_for_goes_on_and_is_no_error() -> None:
    async def main() -> None:
        let, done = threading.Event(), threading.Event()

        def work() -> None:
            let.wait(20)
            done.set()
            raise OSError("nobody hears it")

        task = asyncio.create_task(in_thread(work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        let.set()
        assert await asyncio.to_thread(done.wait, 20)

    asyncio.run(main())
