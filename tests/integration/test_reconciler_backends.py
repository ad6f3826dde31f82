"""The reconciler over each way of running jails: processes, namespaces, FreeBSD on its model.

What came of it is judged by a second runtime that has only now begun to look, and by the machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

import freebsdyard
import jailyard
import namespaceyard
from jails.freebsd.model import Crashed
from jails.runtime import JailError
from jails.spec import JailState
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from node_process import free_port
from reconciler.halt import remove_all
from reconciling import BROKEN, REALM, Bench, Running, a_bench, app, node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from jails.runtime import Runtime
    from jails.spec import JailFacts

pytestmark = pytest.mark.timeout(180)
# Real jails are slow to start on a busy machine.
DEADLINE_S = 60.0
SPECS = {
    "realm.yaml": REALM,
    # Nobody on the model could be told of new peers.
    "nodes/n1.yaml": node("n1", free_port()) + "peers: []\n",
    "nodes/n2.yaml": node("n2", free_port()),
    "apps/echo.yaml": app("echo", "n1", "sleep", "1000"),
}
JAILS = ["app-echo", "node-n1", "node-n2"]


class Machine(ABC):
    """A machine to converge, and what happens to it."""

    settings: Mapping[str, Any]

    @abstractmethod
    def runtime(self) -> Runtime:
        """One that knows nothing but where jails lie."""

    @abstractmethod
    def kill(self, pid: int) -> None:
        """End a program by force."""

    @abstractmethod
    def check_nothing_left(self) -> None:
        """Fail if anything of the jails is still there."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let time pass, if it does not by itself."""

    def look(self) -> Mapping[str, JailFacts]:
        return self.runtime().look()

    def pids(self) -> dict[str, int | None]:
        return {name: facts.pid for name, facts in self.look().items()}


class RealMachine(Machine):
    """This one; jails are processes, or namespaces with a network each."""

    def __init__(self, root: Path, *, isolates: bool) -> None:
        self.root = root
        self.isolates = isolates
        network = {"kind": "vnet", "bridge": namespaceyard.BRIDGE} if isolates else {"kind": "host"}
        self.settings = {"network": network}

    def runtime(self) -> Runtime:
        if self.isolates:
            return namespaceyard.runtime_at(self.root)
        return jailyard.runtime_at(self.root)

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def pass_time(self) -> None:
        return

    def check_nothing_left(self) -> None:
        if self.isolates:
            namespaceyard.check_nothing_left(self.root)
        else:
            jailyard.check_nothing_left(self.root)


class ModelMachine(Machine):
    """The model of a FreeBSD machine, with a jail of somebody else's on it."""

    def __init__(self, yard: freebsdyard.Yard, bench: Bench) -> None:
        self.settings = {"network": {"kind": "vnet", "bridge": "bridge77"}}
        self.yard = yard
        yard.host.files.show(bench.root)
        yard.host.files.make_folder("/data/foreign")
        conf = b"other { path = /data/foreign; persist; }"
        yard.host.files.write("/data/foreign.conf", conf)
        yard.host.run("jail", "-f", "/data/foreign.conf", "-c", "other")
        self._at_first = self._everything()

    def runtime(self) -> Runtime:
        return self.yard.runtime()

    def kill(self, pid: int) -> None:
        self.yard.host.run("kill", "-9", str(pid))

    def pass_time(self) -> None:
        self.yard.host.advance(0.5)

    def check_nothing_left(self) -> None:
        assert self._everything() == self._at_first

    def _everything(self) -> tuple[Any, ...]:
        run = self.yard.host.run
        asked = (("jls", "-d", "--libxo", "json"), ("mount", "-p"), ("ifconfig", "-l"))
        return tuple(run(*argv) for argv in asked)


@contextmanager
def backend(kind: str, bench: Bench, held: ExitStack) -> Iterator[Machine]:
    """A machine of that kind."""
    if kind == "jail":
        yield ModelMachine(held.enter_context(freebsdyard.yard()), bench)
        return
    if kind == "namespaces":
        namespaceyard.need_network()
    yard = namespaceyard.yard() if kind == "namespaces" else jailyard.yard()
    yield RealMachine(held.enter_context(yard), isolates=kind == "namespaces")


@pytest.fixture
def bench() -> Iterator[Bench]:
    """With credentials that real nodes can start with."""
    with a_bench() as bench:
        now = time.time()
        create_realm(bench.root / "realm", "demo", now=now, entropy=SystemEntropy())
        for name in ("n1", "n2", "n3"):
            folder, request = bench.root / "credentials", Request(name=name)
            issue(bench.root / "realm", folder, request, now=now, entropy=SystemEntropy())
        yield bench


@pytest.fixture(params=["process", "namespaces", "jail"])
def machine(request: pytest.FixtureRequest, bench: Bench) -> Iterator[Machine]:
    with ExitStack() as held, backend(request.param, bench, held) as machine:
        # The fixture hands in the runtime: the settings only say how jails are kept apart.
        bench.configure(**machine.settings)
        yield machine


async def until_looks(
    machine: Machine, running: Running, holds: Callable[[Mapping[str, JailFacts]], bool]
) -> None:
    """Wait until a fresh look at the machine shows it, and let its own time pass meanwhile."""

    def sees(_: object) -> bool:
        machine.pass_time()
        return holds(machine.look())

    await running.until(sees)


def all_run(found: Mapping[str, JailFacts], names: list[str]) -> bool:
    states = {name: facts.state for name, facts in found.items()}
    return states == dict.fromkeys(names, JailState.RUNNING)


def test_machine_follows_the_repository_and_touches_nothing_else(
    bench: Bench, machine: Machine
) -> None:
    async def main() -> None:
        first = bench.upstream.commit(SPECS)
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(first)
            assert all_run(machine.look(), JAILS)
            before = machine.pids()
            changes = {
                "nodes/n3.yaml": node("n3", free_port()),
                "nodes/n2.yaml": None,
                "apps/echo.yaml": app("echo", "n1", "sleep", "2000"),
            }
            second = bench.upstream.commit(changes)
            await running.applied(second)
            assert all_run(machine.look(), ["app-echo", "node-n1", "node-n3"])
            after = machine.pids()
            assert after["node-n1"] == before["node-n1"]
            assert after["app-echo"] != before["app-echo"]
            third = bench.upstream.commit({"nodes/n1.yaml": BROKEN})
            snapshot = await running.until(lambda s: s.status.revisions.applied == third)
            assert snapshot.status.problems[0].startswith("nodes/n1.yaml:3:6: ")
            assert machine.pids() == after
        assert await remove_all(machine.runtime(), bench.root / "run") == {}

    asyncio.run(main())
    machine.check_nothing_left()


def test_whatever_happens_to_a_jail_is_mended(bench: Bench, machine: Machine) -> None:
    async def main() -> None:
        revision = bench.upstream.commit(SPECS)
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(revision)
            pid = machine.pids()["app-echo"]
            assert pid is not None
            machine.kill(pid)
            await until_looks(
                machine,
                running,
                lambda found: all_run(found, JAILS) and found["app-echo"].pid != pid,
            )
            file = machine.runtime().data_path("node-n1") / "node.yaml"
            wanted = file.read_bytes()
            file.write_bytes(b"not ours")
            await running.until(lambda _: file.read_bytes() == wanted)
            machine.runtime().remove("node-n2")
            await until_looks(machine, running, lambda found: all_run(found, JAILS))

    asyncio.run(main())


def test_a_deleted_socket_folder_comes_back_with_a_node_that_answers_in_it(bench: Bench) -> None:
    async def main(machine: Machine) -> None:
        revision = bench.upstream.commit(SPECS)
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(revision)
            before = machine.pids()
            shutil.rmtree(bench.root / "run" / "n1")
            socket = bench.root / "run" / "n1" / "control.sock"
            # Node and app each went on seeing the folder that is gone, until they were replaced.
            await until_looks(
                machine,
                running,
                lambda found: (
                    all_run(found, JAILS)
                    and socket.is_socket()
                    and all(found[each].pid != before[each] for each in ("node-n1", "app-echo"))
                ),
            )
            assert machine.pids()["node-n2"] == before["node-n2"]

    with ExitStack() as held:
        machine = held.enter_context(backend("namespaces", bench, held))
        bench.configure(**machine.settings)
        asyncio.run(main(machine))


def test_next_reconciler_adopts_what_runs(bench: Bench, machine: Machine) -> None:
    async def main() -> None:
        revision = bench.upstream.commit(SPECS)
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(revision)
        before = machine.pids()
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(revision)
        assert machine.pids() == before

    asyncio.run(main())


class DyingRuntime:
    """A runtime whose process dies within the step number ``dies_at``: nothing works after it."""

    def __init__(self, yard: freebsdyard.Yard, dies_at: int) -> None:
        self._runtime = yard.runtime()
        self._host = yard.host
        self._host.crash_at = self._host.moments + dies_at
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._runtime, name)
        return self._until_dead(found) if callable(found) else found

    def _until_dead(self, operation: Any) -> Any:
        def attempt(*words: Any) -> Any:
            if not self.is_dead:
                with suppress(Crashed):
                    return operation(*words)
                self.is_dead = True
            raise JailError("machine", "nobody is there any more")

        return attempt


@pytest.mark.parametrize("dies_at", [1, 5, 11, 23, 38, 52, 71, 90])
def test_reconciler_that_dies_anywhere_on_freebsd_is_followed_by_one_that_finishes(
    bench: Bench, dies_at: int
) -> None:
    async def main(machine: ModelMachine) -> None:
        revision = bench.upstream.commit(SPECS)
        dying = DyingRuntime(machine.yard, dies_at)
        async with bench.running(dying, DEADLINE_S) as running:
            await running.until(lambda _: dying.is_dead)
        machine.yard.host.crash_at = None
        async with bench.running(machine.runtime(), DEADLINE_S) as running:
            await running.applied(revision)
            assert all_run(machine.look(), JAILS)
        assert await remove_all(machine.runtime(), bench.root / "run") == {}

    with freebsdyard.yard() as yard:
        machine = ModelMachine(yard, bench)
        bench.configure(**machine.settings)
        asyncio.run(main(machine))
        machine.check_nothing_left()
