"""From a settings file to a worker with its tools: the one place where they are put together."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

from maculaos.documents import read_document
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from reconciler.choice import Choice
from reconciler.git import GitSource
from reconciler.journal import Journal
from reconciler.machine import own_directory
from reconciler.runtimes import Opened, open_runtime
from reconciler.settings import ReconcilerSettings, located
from reconciler.store import Store
from reconciler.tree import TreeLimits
from reconciler.worker import Tools, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from jails.runtime import Runtime
    from maculaos.host.logbook import Lines


def load_settings(path: Path | None) -> ReconcilerSettings:
    """Read the settings file; raises ``UsageError`` or ``InvalidDocument``."""
    if path is None:
        raise UsageError("no settings file is named", "give --config FILE")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name yours: --config FILE") from error
    return located(read_document(content, str(path), ReconcilerSettings).value, path.parent)


def assemble(settings: ReconcilerSettings, lines: Lines, runtime: Runtime | None = None) -> Worker:
    """A worker that logs to ``lines``, and what it runs jails by; the caller holds the lock.

    The settings choose the runtime, unless one is handed in. Raises ``UsageError`` if there is
    none to be had, or if a folder cannot be used.
    """
    own_directory("run_dir", settings.run_dir)
    clock = SystemClock()
    journal = Journal(lines, clock)
    opened = _given(runtime) if runtime else open_runtime(settings, clock)
    why = opened.choice.why
    journal.note("runtime", why, name=opened.choice.name, why=why)
    tools = Tools(
        runtime=opened.runtime,
        choice=opened.choice,
        source=source_of(settings, journal),
        store=store_of(settings),
        clock=clock,
        journal=journal,
        random=Random(SystemEntropy().draw(16)),  # noqa: S311  # jitter, no secret
    )
    return Worker(settings, tools, os.getpid())


def _given(runtime: Runtime) -> Opened:
    return Opened(runtime, Choice(runtime.name, f"{runtime.name} is what was handed in"))


def store_of(settings: ReconcilerSettings) -> Store:
    """The files in ``state_dir``."""
    return Store(settings.state_dir, settings.limits.history)


def source_of(settings: ReconcilerSettings, journal: Journal) -> GitSource:
    """The repository."""
    return GitSource(
        settings.repository.url,
        settings.repository.branch,
        settings.state_dir,
        timeout_s=settings.poll.timeout_s,
        limits=TreeLimits(files=settings.limits.files, file_bytes=settings.limits.file_bytes),
        note=lambda text: journal.note("git", text, what=text),
    )
