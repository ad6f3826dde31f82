"""How the front stands, as the status shows it: words, and lines for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from reconciler.values import STRICT


class FrontState(StrEnum):
    """Whether the front does its work, in the words of conditions."""

    READY = "Ready"
    RECONCILING = "Reconciling"  # it is being started, or does not answer yet
    STALLED = "Stalled"  # some port cannot be had, or it cannot run at all


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPort:
    """One port of an app that is listened at, or ought to be."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    app: str
    name: str
    # Address, port and protocol: ``127.0.0.1:8080/tcp``.
    at: str
    # Why it is not listened at; empty if it is.
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontCount:
    """Connections to one instance; ``total`` and ``failed`` since the front was started."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    app: str
    instance: str
    open: int
    total: int
    # How often it could not be reached, and somebody else was tried.
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontStatus:
    """The front at one moment."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    state: FrontState
    # Why it is not ready, for people.
    reason: str = ""
    pid: int | None = None
    ports: tuple[FrontPort, ...] = ()
    connections: tuple[FrontCount, ...] = ()
    # Connections that were turned away for want of room.
    refused: int = 0
    # What is wrong with single ports or files, a line each.
    problems: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """What somebody has to repair, a line each."""
        if self.state is not FrontState.STALLED:
            return ()
        return self.problems or (f"front: {self.reason}",)

    def line(self) -> str:
        """One line for people."""
        if self.reason:
            return f"{self.state}: {self.reason}"
        listed = ", ".join(f"{each.app} {each.at}" for each in self.ports[:5])
        more = len(self.ports) - 5
        return f"{self.state}: {listed}" + (f" and {more} more" if more > 0 else "")


def front_status(said: dict[str, Any]) -> FrontStatus:
    """What a front reported, as a status; raises ``ValueError`` for anything else."""
    try:
        ports = tuple(FrontPort(**each) for each in said["ports"])
        counts = tuple(FrontCount(**each) for each in said["connections"])
        problems = [
            f"app {each.app}: port {each.name}: {each.at}: {each.problem}"
            for each in ports
            if each.problem
        ]
        problems += map(str, said["problems"])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return FrontStatus(
            state=FrontState.STALLED if problems else FrontState.READY,
            reason=problems[0] + more if problems else "",
            pid=int(said["pid"]),
            ports=ports,
            connections=counts,
            refused=int(said["refused"]),
            problems=tuple(problems),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not what a front says: {error}") from error
