"""The acts of ``make up-check``: what the main job promises, each judged by looking from outside.

Every act asks the nodes over their sockets, or the machine for processes and files; the
reconciler's own status is believed only where the act is about the status.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import psutil

from demo.machine import is_locked, node_processes, processes, udp_ports
from demo.site import REALM, Site, commit, free_port, with_port
from maculaos.client import NodeUnreachable, connect
from maculaos.errors import MaculaError
from maculaos.host.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.wire.values import Value

ACT_DEADLINE_S: Final = 30.0
LOOK_INTERVAL_S: Final = 0.05


class ActFailed(MaculaError):
    """Something that the main job promises did not happen."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the acts play."""

    site: Site
    clock: Clock
    reconciler: psutil.Process
    # Processes seen for each node, by name, as the acts go on.
    pids: dict[str, int] = field(default_factory=dict)

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Look again and again until ``holds``; raise ``ActFailed`` after the deadline."""
        deadline = self.clock.monotonic() + ACT_DEADLINE_S
        while not await holds():
            if not self.reconciler.is_running() or self.reconciler.status() == "zombie":
                raise ActFailed(f"the reconciler ended while waiting until {what}")
            if self.clock.monotonic() > deadline:
                raise ActFailed(f"not within {ACT_DEADLINE_S:g} s: {what}")
            await self.clock.wait(LOOK_INTERVAL_S)

    def status(self) -> dict[str, Any]:
        """The reconciler's status, or nothing before it wrote one."""
        file = self.site.state / "status.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    async def members(self, node: str) -> dict[str, str]:
        """Health of every member, by name, as ``node`` sees it; nothing while it cannot answer."""
        try:
            async with connect(self.site.socket(node), name="up-check", reconnect=False) as mesh:
                return {str(m["name"]): str(m["health"]) for m in await mesh.members()}
        except (NodeUnreachable, TimeoutError, ConnectionError):
            return {}

    async def all_see(self, names: tuple[str, ...]) -> bool:
        """Whether each of these nodes sees exactly these nodes alive."""
        seen = [await self.members(name) for name in names]
        return all(
            sorted(n for n, health in members.items() if health == "alive") == sorted(names)
            for members in seen
        )


async def converges(stage: Stage) -> None:
    """Up and converged: three nodes run, and each sees the three."""
    names = ("n1", "n2", "n3")

    async def holds() -> bool:
        return stage.status().get("converged") is True and await stage.all_see(names)

    await stage.until("n1, n2 and n3 see each other and the status says converged", holds)
    stage.pids.update(node_processes(stage.site))
    _expect(sorted(stage.pids) == list(names), f"expected three nodes, found {stage.pids}")


async def publish_crosses(stage: Stage) -> None:
    """A publish on n1 is received on n3."""
    said: Value = {"greeting": "hello", "blob": b"\x00\xff"}
    async with (
        connect(stage.site.socket("n3"), name="up-check", reconnect=False) as there,
        connect(stage.site.socket("n1"), name="up-check", reconnect=False) as here,
    ):
        subscription = there.subscribe("demo.greetings")
        received = asyncio.ensure_future(anext(aiter(subscription)))
        while not received.done():
            # Interest needs a moment to travel to n1: say it again until it is heard.
            await here.publish("demo.greetings", said)
            await asyncio.wait([received], timeout=LOOK_INTERVAL_S)
        event = received.result()
    _expect(event.payload == said, f"n3 received {event.payload!r}")


async def call_crosses(stage: Stage) -> None:
    """An RPC registered on n2 is answered to n1; so is the one of the app."""
    async with (
        connect(stage.site.socket("n2"), name="up-check", reconnect=False) as there,
        connect(stage.site.socket("n1"), name="up-check", reconnect=False) as here,
    ):
        await there.register("demo.double", _double)
        answers: list[object] = []

        async def answered() -> bool:
            try:
                answers[:] = [await here.call("demo.double", 21), await here.call("echo", "app")]
            except MaculaError:
                return False
            return True

        await stage.until("n1 gets answers from n2 and from the app", answered)
    _expect(answers == [42, "app"], f"n1 got {answers!r}")


def _double(value: Value) -> Value:
    _expect(isinstance(value, int), f"n2 was asked to double {value!r}")
    return cast("int", value) * 2


async def commit_grows(stage: Stage) -> None:
    """A commit adds n4 and moves n2 to another port."""
    spec = (stage.site.worktree / "nodes" / "n2.yaml").read_text()
    port = free_port()
    newcomer = with_port(spec, free_port()).replace("name: n2", "name: n4")
    files = {"nodes/n2.yaml": with_port(spec, port), "nodes/n4.yaml": newcomer}
    revision = commit(stage.site, "Add n4, move n2", files)
    names = ("n1", "n2", "n3", "n4")

    async def holds() -> bool:
        return _applied(stage, revision) and await stage.all_see(names)

    await stage.until("four nodes see each other", holds)
    found = node_processes(stage.site)
    _expect(sorted(found) == list(names), f"expected four nodes, found {found}")
    untouched = [name for name in ("n1", "n3") if found[name] == stage.pids[name]]
    _expect(untouched == ["n1", "n3"], "n1 or n3 was restarted though its spec did not change")
    _expect(port in udp_ports(found["n2"]), f"n2 does not listen on {port}")
    stage.pids.update(found)


async def heals(stage: Stage) -> None:
    """Kill -9 of n3 heals without a commit."""
    os.kill(stage.pids["n3"], signal.SIGKILL)

    async def holds() -> bool:
        found = node_processes(stage.site)
        back = found.get("n3") not in {None, stage.pids["n3"]}
        return back and await stage.all_see(("n1", "n2", "n3", "n4"))

    await stage.until("n3 runs again and all see it", holds)
    stage.pids.update(node_processes(stage.site))


async def tells_broken(stage: Stage) -> None:
    """A spec with broken YAML is told with its place; everything goes on running."""
    broken = "version: 1\nname: n2\nrealm: [demo\n"
    revision = commit(stage.site, "Break n2", {"nodes/n2.yaml": broken})

    async def told() -> bool:
        status = stage.status()
        problems = " ".join(status.get("problems", ()))
        return _revision(status, "attempted") == revision and "nodes/n2.yaml:" in problems

    await stage.until("the status names nodes/n2.yaml with line and column", told)
    items = {item["name"]: item for item in stage.status()["items"] if item["kind"] == "node"}
    _expect(not stage.status()["ready"], "the broken commit counts as done")
    _expect(items["n2"]["stalled"] and not items["n1"]["stalled"], "not n2 alone is broken")
    _expect(node_processes(stage.site) == stage.pids, "a node was touched by a broken commit")
    await publish_crosses(stage)

    # Suspicion of n3, which was killed a moment ago, may still be travelling when n3 is back.
    async def sees() -> bool:
        return await stage.all_see(("n1", "n2", "n3", "n4"))

    await stage.until("all four nodes go on seeing each other", sees)


async def commit_shrinks(stage: Stage) -> None:
    """A commit that mends n2 and removes n4 stops n4."""
    newcomer = (stage.site.worktree / "nodes" / "n4.yaml").read_text()
    port = next(iter(udp_ports(stage.pids["n2"])))
    mended = with_port(newcomer, port).replace("name: n4", "name: n2")
    files = {"nodes/n2.yaml": mended, "nodes/n4.yaml": None}
    revision = commit(stage.site, f"Remove n4 from {REALM}", files)

    async def holds() -> bool:
        gone = not psutil.pid_exists(stage.pids["n4"]) and not stage.site.socket("n4").exists()
        return gone and _applied(stage, revision) and await stage.all_see(("n1", "n2", "n3"))

    await stage.until("n4 is gone and three nodes see each other", holds)


async def leaves_nothing(stage: Stage) -> None:
    """Down leaves no process, socket, network or lock behind."""
    argv = ("-m", "reconciler.cli", "down", "--config", str(stage.site.settings_file))
    down = await asyncio.create_subprocess_exec(sys.executable, *argv)
    _expect(await down.wait() == 0, "reconciler down failed")
    left = processes(stage.site)
    _expect(not left, f"processes are left: {left}")
    sockets = [path.name for path in stage.site.run.iterdir() if path.is_socket()]
    _expect(not sockets, f"sockets are left: {sockets}")
    networks = [name for name in psutil.net_if_stats() if name == stage.site.bridge]
    _expect(not networks, f"networks are left: {networks}")
    held = [str(path) for path in stage.site.root.rglob("*lock") if is_locked(path)]
    _expect(not held, f"locks are held: {held}")


ACTS: Final = (
    converges,
    publish_crosses,
    call_crosses,
    commit_grows,
    heals,
    tells_broken,
    commit_shrinks,
    leaves_nothing,
)


def _applied(stage: Stage, revision: str) -> bool:
    status = stage.status()
    return status.get("converged") is True and _revision(status, "applied") == revision


def _revision(status: dict[str, Any], which: str) -> str | None:
    found: str | None = status.get("revisions", {}).get(which)
    return found


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ActFailed(otherwise)
