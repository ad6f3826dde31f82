"""A FreeBSD for tests: the model machine, a small system to share, and a runtime upon both."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jails.freebsd.model import ModelHost
from jails.freebsd.runtime import FreeBsdRuntime, FreeBsdSettings
from maculaos.host.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = (
    *("bin/sh", "sbin/ifconfig", "sbin/route", "sbin/sysctl", "usr/sbin/daemon", "usr/sbin/chown"),
)
ETC = ("passwd", "master.passwd", "group", "pwd.db", "spwd.db")


class ModelClock(FakeClock):
    """Time that also passes for the processes of the model."""

    def __init__(self, host: ModelHost) -> None:
        super().__init__()
        self._host = host

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._host.advance(seconds)


class Yard:
    """One model machine that shows ``folder`` of this one; every runtime is a fresh one.

    With ``has_pool`` the root of jails lies in a ZFS, in the dataset ``tank``.
    """

    def __init__(self, folder: Path, *, has_pool: bool = False) -> None:
        self.folder = folder
        self.root = folder / "jails"
        self.system = folder / "system"
        for path in (*PROGRAMS, *(f"etc/{name}" for name in ETC)):
            (self.system / path).parent.mkdir(parents=True, exist_ok=True)
            (self.system / path).touch()
        self.host = ModelHost()
        self.host.files.show(folder)
        self.host.firewall.is_enabled = True
        if has_pool:
            self.host.pool.make("tank", folder, folder / "pool")
        self.clock = ModelClock(self.host)

    def runtime(self) -> FreeBsdRuntime:
        """A runtime that knows nothing but the root."""
        settings = FreeBsdSettings(system=self.system)
        return FreeBsdRuntime(self.root, self.clock, settings, runner=self.host)


@contextmanager
def yard(*, has_pool: bool = False) -> Iterator[Yard]:
    """In memory where the machine has such a folder, because jails write many small files."""
    memory = Path("/dev/shm")  # noqa: S108  a folder of its own is made in it
    folder = Path(tempfile.mkdtemp(prefix="yard", dir=memory if memory.is_dir() else None))
    try:
        yield Yard(folder, has_pool=has_pool)
    finally:
        shutil.rmtree(folder)
