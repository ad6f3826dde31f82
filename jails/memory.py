"""Jails that exist only in memory: the same contract, for tests of whoever drives a runtime.

A test says what goes wrong (``fail_next_ensure``, ``crash``, ``orphan``, ``tamper``) and reads in
``started`` and ``ended`` what was done. Nothing runs, and no file is written.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jails.runtime import (
    EXEC_TIMEOUT_S,
    JailError,
    cannot,
    is_jail_name,
    refuse_bad_rename,
    refuse_bad_spec,
    refuse_isolation,
    taken,
)
from jails.spec import AT_REST, JailFacts, JailSpec, JailState, RestartPolicy, digest_of_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jails.spec import HookKind, JailUsage

_FIRST_PID = 1_000
_MOST_LINES = 1_000
_KEPT = (JailState.RUNNING, JailState.BACKING_OFF)
_WITH_PROCESS = (JailState.RUNNING, JailState.ORPHANED)


@dataclass(slots=True, kw_only=True)
class _Jail:
    """One jail; ``files`` are those of the spec, as they would lie on disk now."""

    spec: JailSpec
    # Of what was started last; empty: nothing was under this name.
    program_digest: str = ""
    state: JailState = JailState.STOPPED
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    # The files of each snapshot.
    kept: dict[str, dict[str, tuple[bytes, int]]] = field(default_factory=dict)
    pid: int = 0
    started_at: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    written: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))


class MemoryRuntime:
    """A ``Runtime`` in memory. Its time is a count of starts, so a run repeats exactly."""

    def __init__(self, root: Path = Path("/nonexistent/jails")) -> None:
        self._root = root
        self._jails: dict[str, _Jail] = {}
        self._failures: dict[str, str] = {}
        # Names, in order: every start (restarts too), and every program that was made to end.
        self.started: list[str] = []
        self.ended: list[str] = []
        # Every hook that was run, by jail.
        self.hooked: list[tuple[str, HookKind]] = []

    @property
    def name(self) -> str:
        """See ``Runtime.name``."""
        return "memory"

    def look(self) -> Mapping[str, JailFacts]:
        """See ``Runtime.look``."""
        return {name: _facts(name, self._jails[name]) for name in sorted(self._jails)}

    def ensure(self, spec: JailSpec) -> None:
        """See ``Runtime.ensure``."""
        refuse_bad_spec(spec)
        refuse_isolation(spec, self.name)
        self._fail_if_told(spec.name)
        jail = self._jails.setdefault(spec.name, _Jail(spec=spec))
        is_kept = jail.state in _KEPT and jail.program_digest == spec.program_digest()
        if not is_kept:
            self._end(spec.name, jail)
            jail.spec, jail.restarts, jail.last_exit = spec, 0, ""
            jail.program_digest = spec.program_digest()
        _place(jail, spec)
        if not is_kept:
            self._start(spec.name, jail)

    def update_files(self, spec: JailSpec) -> None:
        """See ``Runtime.update_files``; raises ``JailError`` if there is no such jail."""
        refuse_bad_spec(spec)
        refuse_isolation(spec, self.name)
        if spec.name not in self._jails:
            raise JailError(spec.name, "there is no such jail", "start it first")
        _place(self._jails[spec.name], spec)

    def stop(self, name: str) -> None:
        """See ``Runtime.stop``."""
        if name in self._jails:
            self._end(name, self._jails[name])

    def remove(self, name: str) -> None:
        """See ``Runtime.remove``."""
        self.stop(name)
        self._jails.pop(name, None)

    def rename(self, former: str, name: str) -> None:
        """See ``Runtime.rename``."""
        refuse_bad_rename(former, name)
        if former not in self._jails:
            return
        jail = self._at_rest(former)
        if name in self._jails:
            raise taken(name)
        spec = replace(jail.spec, name=name)
        self._jails[name] = _Jail(spec=spec, files=jail.files, kept=jail.kept)
        del self._jails[former]

    def data_path(self, name: str) -> Path:
        """See ``Runtime.data_path``; there is nothing at it."""
        if not is_jail_name(name):
            raise JailError(repr(name), "is no name for a jail")
        return self._root / name / "data"

    def logs(self, name: str, lines: int) -> list[str]:
        """See ``Runtime.logs``: what ``write`` put there."""
        jail = self._jails.get(name)
        return list(jail.written)[-lines:] if jail and lines > 0 else []

    def exec(self, name: str, command: tuple[str, ...], timeout_s: float = EXEC_TIMEOUT_S) -> str:
        """Refused: nothing runs."""
        del command, timeout_s
        raise cannot(name, self.name, "run a command inside a jail")

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        """See ``Runtime.hook``: put down in ``hooked``."""
        del extra_s
        jail = self._jails.get(name)
        is_running = jail is not None and jail.state in _WITH_PROCESS
        if jail is None or not is_running or not jail.spec.hooks.command(kind):
            return False
        self.hooked.append((name, kind))
        return True

    def usage(self, name: str) -> JailUsage:
        """Refused: nothing runs."""
        raise cannot(name, self.name, "measure a jail")

    def snapshots(self, name: str) -> list[str]:
        """See ``Runtime.snapshots``."""
        jail = self._jails.get(name)
        return sorted(jail.kept) if jail else []

    def snapshot(self, name: str, label: str) -> None:
        """See ``Runtime.snapshot``."""
        jail = self._at_rest(name)
        if label in jail.kept or not is_jail_name(label):
            raise JailError(name, f"there is a snapshot {label} already, or it is no label")
        jail.kept[label] = dict(jail.files)

    def restore(self, name: str, label: str) -> None:
        """See ``Runtime.restore``."""
        jail = self._at_rest(name)
        if label not in jail.kept:
            raise JailError(name, f"there is no snapshot {label!r}", "take one first")
        jail.files = dict(jail.kept[label])

    def export(self, name: str, archive: Path) -> None:
        """Refused: no file is ever written."""
        del archive
        raise cannot(name, self.name, "write an archive")

    def import_archive(self, name: str, archive: Path) -> None:
        """Refused: no file is ever read."""
        del archive
        raise cannot(name, self.name, "read an archive")

    def _at_rest(self, name: str) -> _Jail:
        if name not in self._jails:
            raise JailError(name, "there is no such jail", "start it first")
        if self._jails[name].state not in AT_REST:
            raise JailError(name, "it runs", "stop it first")
        return self._jails[name]

    def fail_next_ensure(self, name: str, what: str = "ended at once") -> None:
        """Let the next ``ensure`` of that jail raise ``JailError``, once, and change nothing."""
        self._failures[name] = what

    def crash(self, name: str, last_exit: str = "killed by SIGKILL") -> None:
        """Let the program end; its policy says whether ``restart`` may follow."""
        jail = self._jails[name]
        is_over = jail.spec.restart.policy is RestartPolicy.NEVER
        jail.state = JailState.FAILED if is_over else JailState.BACKING_OFF
        jail.last_exit = last_exit

    def restart(self, name: str) -> None:
        """Let the supervisor start a crashed program again."""
        jail = self._jails[name]
        if jail.state is JailState.BACKING_OFF:
            jail.restarts += 1
            self._start(name, jail)

    def orphan(self, name: str) -> None:
        """Let the supervisor vanish; the program goes on if there is one."""
        jail = self._jails[name]
        had_program = jail.state in _WITH_PROCESS
        jail.state = JailState.ORPHANED if had_program else JailState.STOPPED

    def tamper(self, name: str, path: str, content: bytes) -> None:
        """Let somebody change a file of the spec behind the runtime's back."""
        jail = self._jails[name]
        jail.files[path] = (content, jail.files[path][1])

    def write(self, name: str, line: str) -> None:
        """Let the program write a line."""
        self._jails[name].written.append(line)

    def _fail_if_told(self, name: str) -> None:
        what = self._failures.pop(name, None)
        if what is not None:
            raise JailError(name, what)

    def _start(self, name: str, jail: _Jail) -> None:
        self.started.append(name)
        jail.state = JailState.RUNNING
        jail.pid = _FIRST_PID + len(self.started)
        jail.started_at = float(len(self.started))

    def _end(self, name: str, jail: _Jail) -> None:
        if jail.state in _WITH_PROCESS:
            self.ended.append(name)
            jail.last_exit = "killed by SIGTERM"
        jail.state = JailState.STOPPED


def _place(jail: _Jail, spec: JailSpec) -> None:
    jail.files = {file.path: (file.content, file.mode) for file in spec.files}


def _facts(name: str, jail: _Jail) -> JailFacts:
    has_process = jail.state in _WITH_PROCESS
    return JailFacts(
        name=name,
        state=jail.state,
        program_digest=jail.program_digest,
        files_digest=digest_of_files(jail.files),
        pid=jail.pid if has_process else None,
        started_at=jail.started_at if has_process else None,
        restarts=jail.restarts,
        last_exit=jail.last_exit,
    )
