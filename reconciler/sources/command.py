"""One run of the git program: hardened, bounded in time, stoppable from another thread.

A run reaches no other machine and no other folder unless it is handed a ``Reach``: not even Git
itself can go and get what it misses. It goes through GitPython's ``Git.execute`` with lists of
words. What is deliberately absent: GitPython's ``Repo`` with its long-living ``cat-file``
processes and its config and ref writers, where its security advisories lie. Nothing here is
configured by files outside our own clone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.sources.unreachable import SourceUnreachable

if TYPE_CHECKING:
    from pathlib import Path

    from git import Git

NOT_FOUND_STATUS = 127

# Given with -c, so they win over the clone's own configuration file.
_CONFIGURATION: Final[tuple[str, ...]] = (
    "protocol.allow=never",
    # What any commit may be asked for by its hash; older versions need the server's leave.
    "protocol.version=2",
    # Damaged or malicious objects are refused before they are stored.
    "transfer.fsckObjects=true",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "submodule.recurse=false",
    # Clean-up stays inside the command that asked for it, so our time limit covers it.
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    # A server that sends us elsewhere does not take our token or our trust with it.
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=20",
    "advice.detachedHead=false",
)

# All that git takes over from our own environment: how to reach a network, and nothing else.
_PASSED_ON: Final[tuple[str, ...]] = (
    "PATH",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one run may use beyond the clone: settings given with -c, and variables.

    Both can be read in the list of processes, so neither holds a secret: only where one lies.
    """

    configuration: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


ALONE: Final = Reach()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of git said; ``status`` is ``None`` when it did not end in time."""

    status: int | None
    output: bytes
    said: str

    @property
    def is_ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0

    @property
    def text(self) -> str:
        """The output as one stripped string."""
        return self.output.decode(errors="replace").strip()


class GitCommand:
    """Runs git on one bare repository; safe to call from several threads."""

    def __init__(self, directory: Path, home: Path) -> None:
        self._directory = directory
        self._home = home
        self._git = _load_gitpython()
        self._guard = threading.Lock()
        self._running: dict[int, bool] = {}
        self._is_aborted = False

    def run(
        self, *words: str, timeout_s: float, stdin: BinaryIO | None = None, reach: Reach = ALONE
    ) -> Answer:
        """Run ``git words`` on the repository, for at most ``timeout_s`` seconds.

        ``stdin`` is a real file. Raises ``SourceUnreachable`` only if there is no git program or
        ``abort`` was called; every other failure is in the answer.
        """
        process = self._start(self._argv(words, reach), stdin)
        timer = threading.Timer(timeout_s, self._kill, (process.pid,))
        timer.daemon = True
        timer.start()
        try:
            output, said = process.communicate()
        finally:
            timer.cancel()
            with self._guard:
                was_killed = self._running.pop(process.pid)
        if process.returncode == NOT_FOUND_STATUS:
            raise _no_git()
        if was_killed:
            self._refuse_when_aborted()
            return Answer(None, b"", f"timed out: stopped after {timeout_s:g} s")
        return Answer(process.returncode, output, said.decode(errors="replace"))

    def abort(self) -> None:
        """End what runs and refuse to start more: the reconciler is about to stop."""
        with self._guard:
            self._is_aborted = True
            pids = list(self._running)
        for pid in pids:
            self._kill(pid)

    def _start(self, argv: list[str], stdin: BinaryIO | None) -> Git.AutoInterrupt:
        with self._guard:
            self._refuse_when_aborted()
            process = self._git.execute(
                argv, as_process=True, istream=stdin, start_new_session=True
            )
            self._running[process.pid] = False
        return process

    def _refuse_when_aborted(self) -> None:
        """What we stopped ourselves says nothing, neither about a remote nor about the clone."""
        if self._is_aborted:
            raise SourceUnreachable("git was stopped", "")

    def _argv(self, words: tuple[str, ...], reach: Reach) -> list[str]:
        # GitPython hands its caller's environment on; env -i leaves nothing of it, so a stray
        # GIT_DIR or GIT_CONFIG_COUNT of the operator's shell cannot redirect us.
        variables = self._environment() | dict(reach.environment)
        environment = [f"{name}={value}" for name, value in variables.items()]
        settings = (*_CONFIGURATION, *reach.configuration)
        options = [word for setting in settings for word in ("-c", setting)]
        return ["env", "-i", *environment, "git", *options, *words]

    def _environment(self) -> dict[str, str]:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return passed_on | {
            "HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_DIR": str(self._directory),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_NO_REPLACE_OBJECTS": "1",
            # Known to Git from 2.45 on; before, it is the protocols that are not allowed.
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }

    def _kill(self, pid: int) -> None:
        with self._guard:
            if pid not in self._running:
                return
            self._running[pid] = True
            # Its own session, so the transport helpers that git started end with it.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def _load_gitpython() -> Git:
    try:
        # GitPython looks for the program while it is imported, and fails without it.
        from git import Git
    except ImportError as error:
        raise _no_git() from error
    return Git()


def _no_git() -> SourceUnreachable:
    return SourceUnreachable("there is no git program on the PATH", "install git")
