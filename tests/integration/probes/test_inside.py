"""Probes inside of jails and in the mesh: real commands, and a real node's control socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import namespaceyard
from jails.memory import MemoryRuntime
from lone_node import IDENTITY, lone_node
from loopback import run
from maculaos.client import connect
from maculaos.host.clock import SystemClock
from reconciler.probes.judge import State
from reconciler.probes.run import Place, Prober
from reconciler.probes.spec import ExecProbe, Health, MeshProbe
from reconciler.probes.watch import HealthWatch, Watched

if TYPE_CHECKING:
    from pathlib import Path

WAIT = "import signal; signal.pause()"


def command(*words: str, timeout_s: float = 10.0) -> ExecProbe:
    return ExecProbe(command=words, timeout_s=timeout_s, interval_s=max(10.0, timeout_s))


def test_a_command_inside_the_jail_decides_and_one_that_hangs_costs_its_timeout() -> None:
    namespaceyard.need_namespaces()
    if not namespaceyard.abilities().is_root:
        pytest.skip("only root can run a command inside a jail")

    async def main(root: Path) -> None:
        runtime = namespaceyard.runtime_at(root)
        await asyncio.to_thread(runtime.ensure, namespaceyard.jail("app-a", WAIT))
        prober = Prober(runtime, SystemClock())
        here = Place(jail="app-a")
        assert (await prober.ask(command("/bin/true"), here)).is_good
        failed = await prober.ask(command("/bin/false"), here)
        assert "exit status 1" in failed.reason
        hung = await prober.ask(command("/bin/sleep", "50", timeout_s=0.3), here)
        assert not hung.is_good
        gone = await prober.ask(command("/bin/true"), Place(jail="app-b"))
        assert not gone.is_good
        prober.close()

    with namespaceyard.yard() as root:
        run(main(root))


def test_a_runtime_that_cannot_look_inside_says_so() -> None:
    async def main() -> None:
        prober = Prober(MemoryRuntime(), SystemClock())
        said = await prober.ask(command("/bin/true"), Place(jail="app-a"))
        assert "cannot run a command inside a jail" in said.reason
        prober.close()

    run(main())


def test_a_member_that_is_alive_answers_and_an_unknown_one_does_not() -> None:
    async def main() -> None:
        async with lone_node() as node:
            prober = Prober(MemoryRuntime(), SystemClock())
            here = Place(jail="app-a", socket=node.path)
            assert (await prober.ask(MeshProbe(member=IDENTITY.name), here)).is_good
            unknown = await prober.ask(MeshProbe(member="n9"), here)
            assert unknown.reason == "n9 is not known in the mesh"
            prober.close()

    run(main())


def test_a_method_that_answers_is_healthy_and_one_that_fails_or_is_gone_is_not() -> None:
    async def fail(_value: object) -> None:
        raise ValueError("out of order")

    async def main() -> None:
        async with lone_node() as node, connect(node.path, name="shop") as mesh:
            prober = Prober(MemoryRuntime(), SystemClock())
            here = Place(jail="app-a", socket=node.path)
            async with mesh.register("shop.ping", lambda _: "pong"), mesh.register("bad", fail):
                assert (await prober.ask(MeshProbe(method="shop.ping"), here)).is_good
                said = await prober.ask(MeshProbe(method="bad"), here)
                assert said.reason.startswith("HANDLER_FAILED")
            said = await prober.ask(MeshProbe(method="shop.ping"), here)
            assert said.reason.startswith("NO_PROVIDER")
            prober.close()

    run(main())


def test_an_app_without_a_node_or_with_one_that_is_gone_is_not_healthy() -> None:
    async def main() -> None:
        async with lone_node() as node:
            path = node.path
        prober = Prober(MemoryRuntime(), SystemClock())
        probe = MeshProbe(member="n1")
        assert "no node to ask" in (await prober.ask(probe, Place(jail="app-a"))).reason
        said = await prober.ask(probe, Place(jail="app-a", socket=path))
        assert "no node on" in said.reason
        prober.close()

    run(main())


def test_the_watch_asks_what_is_due_and_begins_anew_with_a_new_run() -> None:
    async def main() -> None:
        clock = SystemClock()
        async with lone_node() as node:
            prober = Prober(MemoryRuntime(), clock)
            watch = HealthWatch(prober, clock)
            health = Health(mesh=MeshProbe(member=IDENTITY.name, interval_s=3600.0))
            place = Place(jail="app-a", socket=node.path)
            first = await watch.round([Watched(place=place, health=health, run="1")])
            assert first["app-a"].state is State.HEALTHY
            again = await watch.round([Watched(place=place, health=health, run="1")])
            assert again == first
            due = watch.next_at()
            assert due is not None
            assert due > clock.monotonic() + 3000.0
            anew = await watch.round([Watched(place=place, health=health, run="2")])
            assert anew["app-a"].since > first["app-a"].since
            assert await watch.round([]) == {}
            assert watch.next_at() is None
            prober.close()

    run(main())
