"""Whether the system that runs does its work: what is looked at, and when that is a verdict.

Three things: a way in for people (sshd answers, or a console waits for a login), a reconciler that
has converged, and nodes that see their mesh. A machine that follows no repository yet has only the
first. ``Watch`` is pure; ``MachineHealth`` looks and changes nothing.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from maculaos.host.commands import CommandRunner

DEADLINE_S: Final = 600.0
# Health that does not last that long is luck.
HOLD_S: Final = 30.0
INTERVAL_S: Final = 5.0
_SSH_ADDRESS: Final = ("127.0.0.1", 22)
_SSH_TIMEOUT_S: Final = 5.0
_COMMAND_TIMEOUT_S: Final = 20.0
_SHOWN: Final = 160


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; ``reason`` says what is missing."""

    name: str
    is_well: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at, at one moment."""

    checks: tuple[Check, ...]

    @property
    def is_well(self) -> bool:
        """Whether nothing is missing."""
        return all(check.is_well for check in self.checks)

    def describe(self) -> str:
        """One line: what is missing, or that nothing is."""
        missing = [f"{each.name}: {each.reason}" for each in self.checks if not each.is_well]
        return "; ".join(missing) or "healthy"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a trial; ``reason`` is for people."""

    is_well: bool
    reason: str


class Watch:
    """Reports come in, at most one verdict comes out; times are monotonic seconds."""

    def __init__(self, started_at: float, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._deadline = started_at + deadline_s
        self._well_since: float | None = None

    def see(self, report: Report, now: float) -> Verdict | None:
        """The verdict, or None while there is none."""
        if not report.is_well:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
        if self._well_since is not None and now - self._well_since >= HOLD_S:
            return Verdict(True, report.describe())
        # Who became well just before the deadline may show that it lasts.
        if now >= self._deadline + (HOLD_S if self._well_since is not None else 0.0):
            return Verdict(False, f"not healthy within {self._deadline_s:g} s: {report.describe()}")
        return None


class HealthSource(Protocol):
    """Where reports come from."""

    def look(self) -> Report:
        """How things stand; never raises for what it finds."""
        ...


class MachineHealth:
    """Looks at this machine."""

    def __init__(self, runner: CommandRunner, ssh: tuple[str, int] = _SSH_ADDRESS) -> None:
        self._runner = runner
        self._ssh = ssh

    def look(self) -> Report:
        """See ``HealthSource.look``."""
        entry = self._entry()
        if not self._succeeds("service", "reconciler", "enabled"):
            return Report((entry,))
        try:
            text = self._runner.run("reconciler", "status", "--json", timeout_s=_COMMAND_TIMEOUT_S)
        except CommandFailed as error:
            return Report((entry, Check("reconciler", False, _brief(error.stderr or str(error)))))
        return Report((entry, *read_status(text)))

    def _entry(self) -> Check:
        if _greets(self._ssh) or self._succeeds("pgrep", "-x", "getty"):
            return Check("way in", True)
        return Check("way in", False, "neither sshd nor a console waits for a login")

    def _succeeds(self, *argv: str) -> bool:
        try:
            self._runner.run(*argv, timeout_s=_COMMAND_TIMEOUT_S)
        except CommandFailed:
            return False
        return True


def read_status(text: str) -> tuple[Check, ...]:
    """What ``reconciler status --json`` says of reconciler and mesh; keys that are new are fine."""
    try:
        status = json.loads(text)
        converged = _reconciler(status)
        mesh = _mesh(status["items"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return (Check("reconciler", False, "its status cannot be read"),)
    return converged, mesh


def _reconciler(status: dict[str, Any]) -> Check:
    if status["converged"] is True:
        return Check("reconciler", True)
    problems = status.get("problems") or ["it has not converged"]
    return Check("reconciler", False, _brief(str(problems[0])))


def _mesh(items: list[dict[str, Any]]) -> Check:
    for node in (item for item in items if item["kind"] == "node"):
        members = node.get("members")
        if members is None:
            return Check("mesh", False, _brief(f"node {node['name']} does not answer"))
        if members["known"] > 1 and members["alive"] < 2:
            return Check("mesh", False, _brief(f"node {node['name']} sees nobody else"))
    return Check("mesh", True)


def _greets(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, _SSH_TIMEOUT_S) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _brief(text: str) -> str:
    return " ".join(text.split())[:_SHOWN]
