"""Calls between real nodes without a link: answered, streamed, taken back, and run once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from crowd import Crowd, crowd
from maculaos.client import CallFailed, caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from maculaos.client import Mesh, Value

# On a ring of six, each node has two links and three members without one.
RING: Final = "topology: {degree: 2, grace_s: 0.5}\n"
DEADLINE_S: Final = 60.0


class Program:
    """What answers at the far node."""

    def __init__(self) -> None:
        self.runs: Counter[object] = Counter()
        self.began = asyncio.Event()
        self.was_cancelled = asyncio.Event()

    async def offer(self, mesh: Mesh) -> None:
        """Answer calls there."""
        await mesh.register("who", lambda _: caller())
        await mesh.register("count", self.count)
        await mesh.register("sleep", self.sleep)
        await mesh.register("once", self.once, concurrency=100)

    async def count(self, upto: Value) -> AsyncIterator[Value]:
        """Numbers, one after the other."""
        assert isinstance(upto, int)
        for number in range(upto):
            yield number

    async def sleep(self, _: Value) -> Value:
        """Never answer."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled.set()
        raise AssertionError("nobody sets that event")

    async def once(self, value: Value) -> Value:
        """Count how often each value is asked for."""
        self.runs[value] += 1
        return value


async def formed(there: Crowd) -> None:
    """A ring of all."""
    await there.load(*[there.names[start : start + 2] for start in (0, 2, 4)])
    await there.start()
    await there.until(
        lambda view: len(view.alive) == 6 and len(view.linked) == 2, DEADLINE_S, "a ring"
    )


async def far_pair(there: Crowd) -> tuple[str, str, str]:
    """Two nodes without a link whose processes differ, and one of the third process."""
    views = {name: await there.view(name) for name in there.names}
    for one, view in views.items():
        for other in there.names:
            groups = [group for group in there.processes if {one, other} & set(group)]
            if other != one and other not in view.linked and len(groups) == 2:
                (third,) = [group for group in there.processes if group not in groups]
                return one, other, third[0]
    raise AssertionError("no two nodes without a link")


async def call_until_known(mesh: Mesh, method: str) -> Value:
    """The first call of a method: what was just registered may not be found yet."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await mesh.call(method, None, timeout_s=20.0)
            except CallFailed as failed:
                if failed.code != "NO_PROVIDER":
                    raise


async def until_found(mesh: Mesh, *methods: str) -> None:
    """Wait until the table has who answers each of them."""
    async with asyncio.timeout(DEADLINE_S):
        for method in methods:
            while not (await mesh.find(method=method))["nodes"]:
                # Each question takes its time: this asks no faster than it is answered.
                continue


@pytest.mark.timeout(240)
def test_call_without_a_link_is_answered_streamed_and_taken_back() -> None:
    async def main() -> None:
        async with crowd(6, RING) as there:
            await formed(there)
            near, far, _ = await far_pair(there)
            program, mesh = Program(), there.meshes[near]
            await program.offer(there.meshes[far])
            await until_found(mesh, "count", "once", "sleep")
            assert await call_until_known(mesh, "who") == there.node_ids[near].hex()
            parts = [each async for each in mesh.stream("count", 500, timeout_s=30.0)]
            assert parts == list(range(500))
            many = await asyncio.gather(*(mesh.call("once", n, timeout_s=30.0) for n in range(64)))
            assert many == list(range(64))
            sleeping = asyncio.create_task(mesh.call("sleep", None, timeout_s=300.0))
            async with asyncio.timeout(DEADLINE_S):
                await program.began.wait()
                sleeping.cancel()
                await program.was_cancelled.wait()
            with pytest.raises(asyncio.CancelledError):
                await sleeping

    asyncio.run(main())


@pytest.mark.timeout(240)
def test_calls_go_on_and_run_once_while_nodes_between_are_killed() -> None:
    async def main() -> None:
        async with crowd(6, RING) as there:
            await formed(there)
            near, far, between = await far_pair(there)
            program, mesh = Program(), there.meshes[near]
            await program.offer(there.meshes[far])
            await call_until_known(mesh, "once")

            def ask(numbers: Iterable[int]) -> list[asyncio.Task[Value]]:
                calls = (mesh.call("once", number, timeout_s=60.0) for number in numbers)
                return [asyncio.create_task(call) for call in calls]

            asked = ask(range(50))
            (group,) = [each for each in there.processes if between in each]
            await there.kill(group)
            asked += ask(range(50, 100))
            assert await asyncio.gather(*asked) == list(range(100))
            assert set(program.runs.values()) == {1}

    asyncio.run(main())
