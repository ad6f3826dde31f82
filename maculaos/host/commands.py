"""Commands: lists of words, never shell text; a fake that refuses what it was not told of."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT_S = 60.0


class CommandFailed(MaculaError):
    """A command ended with another status than 0, or did not end in time (status ``None``)."""

    def __init__(self, argv: tuple[str, ...], exit_status: int | None, stderr: str) -> None:
        how = "did not end in time" if exit_status is None else f"exit status {exit_status}"
        super().__init__(f"{' '.join(argv)}: {how}: {stderr.strip()[:2000]}")
        self.argv = argv
        self.exit_status = exit_status
        self.stderr = stderr


class CommandRunner(Protocol):
    """How a shell runs a program of the host and waits for it."""

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Standard output of the program; raises ``CommandFailed``."""
        ...


class SystemRunner:
    """Runs programs for real."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = None if environment is None else dict(environment)

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``."""
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                timeout=timeout_s,
                env=self._environment,
                check=False,
            )
        except FileNotFoundError as error:
            raise CommandFailed(argv, 127, f"{argv[0]}: not found") from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(argv, None, f"stopped after {timeout_s:g} s") from error
        if done.returncode != 0:
            raise CommandFailed(argv, done.returncode, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")


class ScriptedRunner:
    """Answers only what the test listed; any other command is a failure of the test."""

    def __init__(self, answers: Mapping[tuple[str, ...], str | CommandFailed]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, ...]] = []

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """The scripted answer to ``argv``."""
        del stdin, timeout_s
        self.asked.append(argv)
        answer = self.answers[argv]
        if isinstance(answer, CommandFailed):
            raise answer
        return answer
