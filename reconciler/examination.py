"""Gathers what ``reconciler.doctor`` judges: looks at this machine, and changes nothing.

Every check has a deadline of its own; one that is late is a finding like any other, and the rest
go on. What hangs is left to its thread, which ends with this program.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import queue
import threading
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from maculaos.errors import MaculaError, UsageError
from maculaos.host.commands import CommandFailed
from reconciler.activity import Snapshot
from reconciler.control import SOCKET_NAME, ask
from reconciler.doctor import (
    Finding,
    Presence,
    Space,
    Verdict,
    judge_certificate,
    judge_clock,
    judge_folder,
    judge_git,
    judge_heartbeat,
    judge_presence,
    judge_space,
)
from reconciler.estate import Estate
from reconciler.inventory import Guard
from reconciler.machine import CREDENTIAL_FILES, macula_command
from reconciler.render import issue_command
from reconciler.sources.access import reach_of
from reconciler.sources.unreachable import one_line
from reconciler.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner
    from reconciler.settings import ReconcilerSettings
    from reconciler.sources.git import GitSource
    from reconciler.sources.remotes import Remote
    from reconciler.specs.items import Item
    from reconciler.store import Store

CHECK_TIMEOUT_S: Final = 20.0
COMMAND_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 3.0
MOST_NODES: Final = 32
LONGEST_REASON: Final = 300


class Examination:
    """The checks of one machine."""

    def __init__(
        self,
        settings: ReconcilerSettings,
        store: Store,
        source: GitSource,
        runner: CommandRunner,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._source = source
        self._runner = runner
        self._clock = clock

    def findings(self, runtime: Callable[[], str]) -> Iterator[Finding]:
        """Every check, one after the other; ``runtime`` says which one is taken, or raises."""
        checks: list[tuple[str, Callable[[], Finding]]] = [
            ("space", self.space),
            ("clock", self.clock),
            ("git", self.git),
            ("runtime", lambda: Finding("runtime", Verdict.OK, runtime())),
            ("reconciler", self.presence),
            ("progress", self.progress),
        ]
        checks += [(f"folder {name}", self.folder(name, path)) for name, path in self._folders()]
        checks += [(f"remote {one.shown_url}", self.remote(one)) for one in self._source.remotes]
        checks += [(f"credentials {node}", self.credentials(node)) for node in self._nodes()]
        surroundings = Surroundings(
            self._settings,
            self._source.remotes[0],
            self._runner,
            self._clock,
            is_running=lambda: lock_holder(self._settings.state_dir / "lock") is not None,
        )
        checks += surroundings.checks(self._items)
        for name, check in checks:
            yield in_time(name, check)

    def space(self) -> Finding:
        """Room where the reconciler writes."""
        folder = self._settings.state_dir
        while not folder.exists():
            folder = folder.parent
        found = os.statvfs(folder)
        inodes = found.f_favail if found.f_files else None
        return judge_space(str(folder), Space(found.f_bavail * found.f_frsize, inodes))

    def clock(self) -> Finding:
        """The clock, against everything that was written down."""
        times = [one.finished_at for one in self._store.history()]
        with suppress(OSError):
            times += [one.stat().st_mtime for one in self._settings.state_dir.iterdir()]
        return judge_clock(self._clock.now(), max(times, default=0.0))

    def git(self) -> Finding:
        """The git program."""
        try:
            return judge_git(self._run("git", "--version").strip())
        except CommandFailed:
            return judge_git("")

    def remote(self, remote: Remote) -> Callable[[], Finding]:
        """Whether that remote lets itself be asked."""

        def check() -> Finding:
            name, clone = f"remote {remote.shown_url}", self._source.clone
            if not clone.directory.exists():
                return Finding(name, Verdict.WARN, "never asked", "fetch once: reconciler sync")
            reach = reach_of(remote.url, remote.access, clone.home)
            words = ("ls-remote", "--heads", "--", remote.url)
            answer = clone.git.run(*words, timeout_s=COMMAND_TIMEOUT_S, reach=reach)
            if answer.is_ok:
                return Finding(name, Verdict.OK, "answers")
            said = one_line(answer.said, LONGEST_REASON)
            return Finding(name, Verdict.FAIL, said, "check the network, its keys and its name")

        return check

    def folder(self, setting: str, path: Path) -> Callable[[], Finding]:
        """Who may write to that folder."""

        def check() -> Finding:
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                return judge_folder(setting, str(path), None, is_ours=False)
            needs = os.R_OK if setting == "credentials_dir" else os.W_OK
            is_ours = os.access(path, needs | os.X_OK)
            return judge_folder(setting, str(path), mode, is_ours=is_ours)

        return check

    def presence(self) -> Finding:
        """Whether a reconciler is there and answers."""
        socket, answered, reason = self._settings.run_dir / SOCKET_NAME, None, ""
        try:
            said = asyncio.run(self._asked(socket))
            answered = Snapshot.from_json(said).status
        except (MaculaError, OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {ANSWER_TIMEOUT_S:g} s"
        holder = lock_holder(self._settings.state_dir / "lock")
        return judge_presence(Presence(holder, answered, reason))

    async def _asked(self, socket: Path) -> dict[str, object]:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await ask(socket, {"do": "status"})

    def progress(self) -> Finding:
        """Whether the one that is there works; where none is, there is nothing to say."""
        if lock_holder(self._settings.state_dir / "lock") is None:
            return Finding("progress", Verdict.OK, "none runs here")
        snapshot = self._store.snapshot()
        shown = None if snapshot is None else snapshot.status
        return judge_heartbeat(shown, self._clock.now(), self._settings.drift_interval_s)

    def credentials(self, node: str) -> Callable[[], Finding]:
        """Whether the credentials of that node are there, private and good for a while."""
        settings = self._settings
        command = partial(issue_command, node, settings.credentials_dir, settings.realm_dir)

        def check() -> Finding:
            name, folder = f"credentials {node}", settings.credentials_dir / node
            for file in CREDENTIAL_FILES:
                if not (folder / file).is_file():
                    fix = command(is_renewal=(folder / "node.key").exists())
                    return Finding(name, Verdict.FAIL, f"there is no {folder / file}", fix)
            key = folder / "node.key"
            if key.stat().st_mode & 0o077:
                said = f"others may read {key}"
                return Finding(name, Verdict.FAIL, said, f"chmod 600 {key}; better: a new key")
            words = (*macula_command(), "cert", "show", "--json", str(folder / "node.crt"))
            said_of = json.loads(self._run(*words))
            ends_at = datetime.fromisoformat(said_of["not_after"]).timestamp()
            renewal = command(is_renewal=True)
            return judge_certificate(node, ends_at, self._clock.now(), renewal)

        return check

    def _run(self, *argv: str) -> str:
        return self._runner.run(*argv, timeout_s=COMMAND_TIMEOUT_S)

    def _folders(self) -> tuple[tuple[str, Path], ...]:
        settings = self._settings
        return (
            ("state_dir", settings.state_dir),
            ("run_dir", settings.run_dir),
            ("credentials_dir", settings.credentials_dir),
        )

    def _items(self) -> list[Item]:
        """The versions that are kept, and so were accepted once."""
        guard = Guard(items=self._settings.removal.items, share=self._settings.removal.share)
        return list(Estate(self._settings.state_dir, guard).versions().values())

    def _nodes(self) -> list[str]:
        try:
            folders = sorted(self._settings.credentials_dir.iterdir())
        except OSError:
            return []
        return [one.name for one in folders if one.is_dir()][:MOST_NODES]


def in_time(name: str, check: Callable[[], Finding], timeout_s: float = CHECK_TIMEOUT_S) -> Finding:
    """What ``check`` found, or that it failed or is late."""
    found: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(check())
        except (MaculaError, JailError) as error:
            hint = error.hint if isinstance(error, UsageError | JailError) else ""
            what = error.what if isinstance(error, UsageError | JailError) else str(error)
            found.put(Finding(name, Verdict.FAIL, one_line(what, LONGEST_REASON), hint))
        except (OSError, ValueError, KeyError) as error:
            said = one_line(str(error) or type(error).__name__, LONGEST_REASON)
            found.put(Finding(name, Verdict.FAIL, said))

    threading.Thread(target=work, daemon=True).start()
    try:
        return found.get(timeout=timeout_s)
    except queue.Empty:
        said = f"not done within {timeout_s:g} s"
        return Finding(name, Verdict.FAIL, said, "something hangs: a disk, a network, a program")


def lock_holder(path: Path) -> str | None:
    """The process that holds the lock, as it wrote itself down; None if nobody does."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    with closing(file):
        holder = file.read(32).decode("ascii", "replace").strip()
        # Only a living process is asked after: a lock tried for nothing could be in the way of a
        # reconciler that starts.
        if not _is_alive(holder):
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return holder
    return None


def _is_alive(holder: str) -> bool:
    if not holder.isdecimal():
        return False
    try:
        os.kill(int(holder), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
