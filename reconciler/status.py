"""What the reconciler says of itself and of what it runs: values, as JSON and as plain lines.

The words are those of Flux: *Ready* (as wanted), *Reconciling* (being worked on or tried again),
*Stalled* (trying again cannot help: somebody has to act). Ready is always there, the other two
only while they hold. Nothing is gathered or coloured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORT_REVISION: Final = 10
_COLUMNS: Final[tuple[str, ...]] = (
    "KIND", "NAME", "CONDITION", "STATE", "ADDRESS", "MEMBERS", "PID", "REASON",
)  # fmt: skip


class Word(StrEnum):
    """The kinds of conditions."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that holds; ``reason`` is one word for programs, ``message`` a line for people."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    word: Word
    holds: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCount:
    """How many members of its realm a node sees."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    alive: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStatus:
    """One node or app, wanted or still there; ``since`` in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    kind: Literal["node", "app"]
    # A word of ``jails.spec.JailState``, or absent or blocked.
    state: str
    ready: bool
    # Why it is not ready; a note for people if it is.
    reason: str = ""
    # Trying again cannot help.
    stalled: bool = False
    pid: int | None = None
    restarts: int = 0
    address: str = ""
    members: MemberCount | None = None
    since: float | None = None

    @property
    def word(self) -> Word:
        """The one word for it."""
        if self.ready:
            return Word.READY
        return Word.STALLED if self.stalled else Word.RECONCILING


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchStatus:
    """The last time that Git was asked; times in seconds since the epoch, None for never."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    ok_at: float | None = None
    failed_at: float | None = None
    # Empty if the last fetch went well.
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStatus:
    """Which commits the status is about; see ``reconciler.generations.Progress``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tip: str | None = None
    attempted: str | None = None
    applied: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment; times in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    at: float
    pid: int
    started_at: float
    runtime: str
    # Why it is this one, and what it lacks: a line for people.
    runtime_why: str = ""
    url: str
    branch: str
    realm: str = ""
    revisions: RevisionStatus = RevisionStatus()
    fetch: FetchStatus = FetchStatus()
    reconciled_at: float | None = None
    reconcile_s: float | None = None
    # The machine matches the last accepted commit, and nothing is left to do.
    converged: bool = False
    # Everything that somebody has to repair, a line each.
    problems: tuple[str, ...] = ()
    items: tuple[ItemStatus, ...] = ()

    @property
    def ready(self) -> bool:
        """The tip of the branch runs, and runs well."""
        upheld = self.converged and not self.problems and not self.fetch.error
        return upheld and all(item.ready for item in self.items)

    def conditions(self) -> tuple[Condition, ...]:
        """Ready, and Reconciling and Stalled where they hold."""
        return tuple(c for c in (self._is_ready(), self._is_working(), self._is_stalled()) if c)

    def as_json(self) -> dict[str, Any]:
        """For programs: the values, and the conditions that follow from them."""
        said: dict[str, Any] = _STATUS.dump_python(self, mode="json")
        conditions = _CONDITIONS.dump_python(self.conditions(), mode="json")
        return {**said, "ready": self.ready, "conditions": conditions}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Status:
        """Read what ``as_json`` gave; raises ``UsageError`` for anything else."""
        values = {key: said[key] for key in said if key not in {"ready", "conditions"}}
        try:
            return _STATUS.validate_json(_PLAIN.dump_json(values))
        except ValidationError as error:
            raise UsageError(
                "the reconciler's status cannot be read",
                "is it of the same version as this program?",
            ) from error

    def as_text(self) -> str:
        """Plain lines for people."""
        return "\n".join([*self._head(), *self._table(), *self._tail()]) + "\n"

    def _is_ready(self) -> Condition:
        if self.ready:
            return Condition(word=Word.READY, holds=True, reason="Converged")
        return Condition(word=Word.READY, holds=False, reason=self._why(), message=self._first())

    def _is_working(self) -> Condition | None:
        waiting = [item for item in self.items if item.word is Word.RECONCILING]
        if not (waiting or self.fetch.error) and (self.converged or self._is_idle):
            return None
        retrying = bool(self.fetch.error) or any(item.restarts for item in waiting)
        reason = "ProgressingWithRetry" if retrying else "Progressing"
        named = ", ".join(f"{item.kind} {item.name}" for item in waiting[:5])
        message = self.fetch.error or (f"waiting for {named}" if named else "")
        return Condition(word=Word.RECONCILING, holds=True, reason=reason, message=message)

    def _is_stalled(self) -> Condition | None:
        stuck = [item for item in self.items if item.word is Word.STALLED]
        if self.revisions.refused is None and not stuck:
            return None
        reason = "Refused" if self.revisions.refused is not None else "Blocked"
        return Condition(word=Word.STALLED, holds=True, reason=reason, message=self._first())

    @property
    def _is_idle(self) -> bool:
        """Nothing was ever accepted, so there is nothing to work on."""
        return self.revisions.applied is None and self.revisions.refused is not None

    def _why(self) -> str:
        if self.revisions.refused is not None:
            return "Refused"
        if self.fetch.error:
            return "GitUnreachable"
        return "Progressing" if not self.converged else "NotReady"

    def _first(self) -> str:
        if self.problems:
            more = len(self.problems) - 1
            return self.problems[0] + (f" (and {more} more)" if more else "")
        reasons = (f"{item.kind} {item.name}: {item.reason}" for item in self.items if item.reason)
        return self.fetch.error or next(reasons, "")

    def _head(self) -> list[str]:
        revisions, words = self.revisions, self.conditions()
        said = ", ".join(f"{c.word} ({c.reason})" for c in words if c.holds) or "Not ready"
        lines = [
            f"realm       {self.realm or '-'}",
            f"condition   {said}",
            f"repository  {self.url} ({self.branch})",
            f"tip         {short_revision(revisions.tip)}",
            f"applied     {short_revision(revisions.applied)}",
        ]
        if revisions.refused is not None:
            lines.append(f"refused     {short_revision(revisions.refused)}")
        if self.reconciled_at is not None:
            took = f", took {self.reconcile_s:.2f} s" if self.reconcile_s is not None else ""
            lines.append(f"reconciled  {_moment(self.reconciled_at)}{took}")
        if self.fetch.error:
            lines.append(f"fetch       {self.fetch.error}")
        return [
            *lines,
            f"runtime     {self.runtime_why or self.runtime}",
            f"reconciler  pid {self.pid}",
        ]

    def _table(self) -> list[str]:
        rows = [_COLUMNS, *(_row(item) for item in self.items)]
        if not self.items:
            return ["", "nothing is wanted, and nothing runs"]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        padded = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return ["", *padded]

    def _tail(self) -> list[str]:
        return ["", "problems", *(f"  {line}" for line in self.problems)] if self.problems else []


_STATUS: Final = TypeAdapter(Status)
_CONDITIONS: Final = TypeAdapter(tuple[Condition, ...])
_PLAIN: Final = TypeAdapter(dict[str, Any])


def short_revision(revision: str | None) -> str:
    """The first digits of a revision, enough for people; ``-`` for none."""
    return revision[:SHORT_REVISION] if revision else "-"


def counted(number: int, noun: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _row(item: ItemStatus) -> tuple[str, ...]:
    members = f"{item.members.alive}/{item.members.known}" if item.members else "-"
    pid = str(item.pid) if item.pid is not None else "-"
    address = item.address or "-"
    return item.kind, item.name, item.word, item.state, address, members, pid, item.reason


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
