"""A reconciler with everything around it, as its tests need it: repository, settings, files."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jails.memory import MemoryRuntime
from reconciler.activity import Snapshot
from reconciler.assembly import assemble, load_settings, store_of
from reconciler.daemon import Daemon
from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from jails.runtime import Runtime

REALM = "version: 1\nname: demo\n"
DEADLINE_S = 20.0


def node(name: str, port: int) -> str:
    return f"version: 1\nname: {name}\nrealm: demo\nlisten:\n  address: 127.0.0.1\n  port: {port}\n"


def app(name: str, node: str = "n1", *command: str) -> str:
    words = yaml.safe_dump(list(command or ("sleep", "1000")), default_flow_style=True).strip()
    return f"version: 1\nname: {name}\nnode: {node}\ncommand: {words}\n"


TWO_NODES = {
    "realm.yaml": REALM,
    "nodes/n1.yaml": node("n1", 4701),
    "nodes/n2.yaml": node("n2", 4702),
    "apps/echo.yaml": app("echo"),
}
# A spec of n2 that ends in the middle: the problem shows at line 3, column 6.
BROKEN = "version: 1\nname: [n2\nrealm: demo\n"


@dataclass
class Bench:
    """Where one reconciler works in a test."""

    root: Path
    upstream: Upstream
    runtime: Any = field(default_factory=MemoryRuntime)
    log: io.StringIO = field(default_factory=io.StringIO)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.root / "reconciler.yaml"

    def configure(self, **changes: Any) -> None:
        settings = {
            "version": 1,
            "repository": {"url": str(self.upstream.path)},
            "state_dir": "state",
            "run_dir": "run",
            "credentials_dir": "credentials",
            # The least that there is, everywhere: tests of the choice name another.
            "runtime": "process",
            "poll": {"interval_s": 0.1, "backoff_base_s": 0.05, "backoff_max_s": 0.2},
            "retry": {"base_s": 0.05, "max_s": 0.2},
            "health": {"interval_s": 0.05, "timeout_s": 0.5},
            "drift_interval_s": 0.3,
        }
        self.config.write_text(yaml.safe_dump({**settings, **changes}))

    def pretend_credentials(self, *names: str) -> None:
        """Files that are there, which is all that the reconciler looks at."""
        for name in names:
            folder = self.root / "credentials" / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in ("node.crt", "node.key", "realm.crt"):
                (folder / file).write_text(name)

    @asynccontextmanager
    async def running(
        self, runtime: Runtime | None = None, within_s: float = DEADLINE_S
    ) -> AsyncIterator[Running]:
        """A daemon at work; it is stopped at the end."""
        settings = load_settings(self.config)
        with store_of(settings).locked():
            worker = assemble(settings, self.log, runtime or self.runtime)
            daemon = Daemon(worker)
            task = asyncio.create_task(daemon.run())
            running = Running(daemon, worker.snapshot, task)
            try:
                async with asyncio.timeout(within_s):
                    yield running
            finally:
                daemon.stop()
                await task


@dataclass
class Running:
    """A daemon at work."""

    daemon: Daemon
    snapshot: Callable[[], Snapshot]
    task: asyncio.Task[None]

    async def until(self, holds: Callable[[Snapshot], object]) -> Snapshot:
        """Wait until ``holds``; the deadline is the daemon's."""
        pause_s = 0.01
        while not holds(snapshot := self.snapshot()):
            assert not self.task.done(), "the daemon ended"
            await asyncio.sleep(pause_s)
            # What takes long may be looked at more seldom: a look costs something.
            pause_s = min(0.04, pause_s * 1.1)
        return snapshot

    async def applied(self, revision: str) -> Snapshot:
        return await self.until(
            lambda s: s.status.converged and s.status.revisions.applied == revision
        )


@contextmanager
def a_bench() -> Iterator[Bench]:
    """A bench in a folder with a short name, since sockets lie in it."""
    root = Path(tempfile.mkdtemp(prefix="rec-", dir="/tmp"))
    try:
        bench = Bench(root, Upstream(root))
        bench.configure()
        yield bench
    finally:
        shutil.rmtree(root)
