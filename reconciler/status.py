"""What the reconciler says of itself and of what it runs: values, as JSON and as plain lines.

What is claimed of an item and of the whole at this moment follows from their values
(``claims``); ``reconciler.conditions`` says what the words mean, and since when they hold. Nothing
is gathered or coloured here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.conditions import Condition, Reason, Truth, Word, with_next_move
from reconciler.front.standing import FrontState, FrontStatus
from reconciler.generations import Suspension
from reconciler.names import jail_named
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORT_REVISION: Final = 10
MOST_MISSING_SHOWN: Final = 5
_COLUMNS: Final[tuple[str, ...]] = (
    "KIND", "NAME", "CONDITION", "STATE", "ADDRESS", "MEMBERS", "PID", "REASON",
)  # fmt: skip


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
    # A word of ``jails.spec.JailState``, or absent, blocked or broken.
    state: str
    # It runs, answers if it is a node, and its file is not broken; the condition Ready also wants
    # it to be as in Git.
    ready: bool
    # Why it is not ready; a note for people if it is.
    reason: str = ""
    # Trying again cannot help.
    stalled: bool = False
    # Its file is wrong, and it stays as it is.
    broken: bool = False
    pid: int | None = None
    restarts: int = 0
    address: str = ""
    members: MemberCount | None = None
    since: float | None = None
    # How often in a row its step failed.
    failures: int = 0
    # The step that is not taken because an operator suspended the work.
    held: str = ""
    # Digests of the version that is wanted and of the one that is there; empty for none.
    generation: str = ""
    applied: str = ""
    # Which instance of the app, such as ``blue 2``; empty for the first one, and for nodes.
    instance: str = ""
    # How its app stands between versions, a word of ``reconciler.rollouts.deployment.Phase``;
    # empty for one that is stable, and for nodes. Reverted: what is wanted was tried and failed.
    rollout: str = ""
    reverted: bool = False
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        """What programs call it: ``node/n1``."""
        return f"{self.kind}/{self.name}"

    @property
    def jail(self) -> str:
        """The name of its jail."""
        return jail_named(self.kind, self.name, self.instance)

    def claims(self) -> tuple[Condition, ...]:
        """Ready, and Reconciling and Stalled where they hold, at this moment."""
        status, reason = self._verdict()
        claimed = [(Word.READY, status, reason)]
        if status is not Truth.TRUE and not self.held:
            if self.stalled:
                claimed.append((Word.STALLED, Truth.TRUE, reason))
            else:
                is_retried = bool(self.failures or self.restarts)
                word = Reason.PROGRESSING_WITH_RETRY if is_retried else Reason.PROGRESSING
                claimed.append((Word.RECONCILING, Truth.TRUE, word))
        # What is there is spoken of; before anything is, what is wanted.
        generation = self.applied or self.generation
        return tuple(
            Condition(
                word=word,
                status=status,
                reason=reason,
                message=with_next_move(reason, self.held or self.reason),
                generation=generation,
            )
            for word, status, reason in claimed
        )

    def _verdict(self) -> tuple[Truth, Reason]:
        """Ready or not, and why: the most telling reason first."""
        causes = (
            (self.held, Reason.DRIFTED),
            (self.broken, Reason.BROKEN),
            (self.state == "blocked", Reason.BLOCKED),
            (self.failures, Reason.STEP_FAILED),
            (self.state == "failed", Reason.RESTARTS_EXHAUSTED),
            (self.state == "backing-off", Reason.BACKING_OFF),
            (self.reverted, Reason.REVERTED),
            (self.stalled, Reason.DEADLINE_EXCEEDED),
        )
        for holds, reason in causes:
            if holds:
                return Truth.FALSE, reason
        if self.ready and self.applied in {"", self.generation}:
            return Truth.TRUE, Reason.HEALTHY
        return Truth.UNKNOWN, Reason.PROGRESSING

    @property
    def word(self) -> Word:
        """The one word for it."""
        if self.ready:
            return Word.READY
        return Word.STALLED if self.stalled else Word.RECONCILING


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStatus:
    """One remote as it answered last; times in seconds since the epoch, None for never."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    url: str
    head: str | None = None
    ok_at: float | None = None
    failed_at: float | None = None
    # How often in a row it failed, why the last time, and when it is asked again.
    failures: int = 0
    error: str = ""
    retry_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchStatus:
    """The last time that Git was asked; times in seconds since the epoch, None for never."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    ok_at: float | None = None
    failed_at: float | None = None
    # Empty if the last fetch went well.
    error: str = ""
    # In the order of preference.
    remotes: tuple[RemoteStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStatus:
    """Which commits the status is about; see ``reconciler.generations.Progress``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tip: str | None = None
    attempted: str | None = None
    applied: str | None = None
    refused: str | None = None
    # What was wrong with the refused one: specs, history or signatures; empty for none.
    refused_for: str = ""
    # What of the applied one is not as it says, such as ``node n2 is broken``; empty: nothing.
    missing: tuple[str, ...] = ()


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
    # Why the machine could not be looked at the last time; empty if it could.
    look_error: str = ""
    suspended: Suspension | None = None
    # The revision that an operator rolled back to; the branch waits until it is resumed.
    pinned: str | None = None
    # Those that were rolled back from.
    bad: tuple[str, ...] = ()
    # Who could not be told what came of commits, and why, a line each; no problem of the work.
    untold: tuple[str, ...] = ()
    # What connections to apps come by; None where no app has ports.
    front: FrontStatus | None = None
    conditions: tuple[Condition, ...] = ()
    items: tuple[ItemStatus, ...] = ()

    @property
    def ready(self) -> bool:
        """The tip of the branch runs, and runs well."""
        upheld = self.converged and not self.problems and not self.fetch.error
        return upheld and all(item.ready for item in self.items)

    @property
    def is_rolled_back(self) -> bool:
        """An earlier revision runs than the branch wants, by an operator's word."""
        return self.pinned is not None or self.revisions.tip in self.bad

    def claims(self) -> tuple[Condition, ...]:
        """Ready, and Reconciling and Stalled where they hold, at this moment."""
        return tuple(c for c in (self._is_ready(), self._is_working(), self._is_stalled()) if c)

    def as_json(self) -> dict[str, Any]:
        """For programs: the values, and ``ready``, which follows from them."""
        said: dict[str, Any] = _STATUS.dump_python(self, mode="json")
        return {**said, "ready": self.ready}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Status:
        """Read what ``as_json`` gave; raises ``UsageError`` for anything else."""
        values = {key: said[key] for key in said if key != "ready"}
        try:
            return _STATUS.validate_json(_PLAIN.dump_json(values))
        except ValidationError as error:
            raise UsageError(
                "the reconciler's status cannot be read",
                "is it of the same version as this program?",
            ) from error

    def withheld(self) -> tuple[tuple[str, str], ...]:
        """What an operator keeps from happening: a word and a line for people each."""
        said = []
        if (held := self.suspended) is not None:
            until = f" until {moment(held.until)}" if held.until is not None else ""
            why = f": {held.reason}" if held.reason else ""
            said.append(("suspended", f"since {moment(held.since)}{until}{why}"))
        if self.pinned is not None:
            said.append(("rolled back", f"to {short_revision(self.pinned)}, which stays"))
        elif self.is_rolled_back:
            said.append(
                ("rolled back", f"the tip {short_revision(self.revisions.tip)} is not taken")
            )
        return tuple(said)

    def as_text(self) -> str:
        """Plain lines for people."""
        return "\n".join([*self._head(), *self._table(), *self._tail()]) + "\n"

    def _is_ready(self) -> Condition:
        if self.ready:
            return self._claim(Word.READY, Truth.TRUE, Reason.CONVERGED)
        reason = self._why()
        unknown = {Reason.PROGRESSING, Reason.MACHINE_UNREADABLE}
        status = Truth.UNKNOWN if reason in unknown else Truth.FALSE
        return self._claim(Word.READY, status, reason, with_next_move(reason, self._first()))

    def _claim(self, word: Word, status: Truth, reason: Reason, message: str = "") -> Condition:
        spoken_of = self.revisions.attempted or ""
        return Condition(
            word=word, status=status, reason=reason, message=message, generation=spoken_of
        )

    def _is_working(self) -> Condition | None:
        if self.suspended is not None:
            return None
        waiting = [item for item in self.items if item.word is Word.RECONCILING]
        if not (waiting or self.fetch.error) and (self.converged or self._is_idle):
            return None
        retrying = bool(self.fetch.error) or any(item.restarts for item in waiting)
        reason = Reason.PROGRESSING_WITH_RETRY if retrying else Reason.PROGRESSING
        named = ", ".join(f"{item.kind} {item.name}" for item in waiting[:5])
        message = self.fetch.error or (f"waiting for {named}" if named else "")
        return self._claim(Word.RECONCILING, Truth.TRUE, reason, message)

    def _is_stalled(self) -> Condition | None:
        stuck = [item for item in self.items if item.word is Word.STALLED]
        if self.revisions.refused is not None:
            reason = self._refusal
        elif self.is_rolled_back:
            reason = Reason.ROLLED_BACK
        elif stuck:
            reason = Reason.BROKEN if any(item.broken for item in stuck) else Reason.BLOCKED
        elif self._is_front_stuck:
            reason = Reason.PORT_UNAVAILABLE
        else:
            return None
        message = with_next_move(reason, self._first())
        return self._claim(Word.STALLED, Truth.TRUE, reason, message)

    @property
    def _is_front_stuck(self) -> bool:
        return self.front is not None and self.front.state is FrontState.STALLED

    @property
    def _is_idle(self) -> bool:
        """Nothing was ever accepted, so there is nothing to work on."""
        return self.revisions.applied is None and self.revisions.refused is not None

    @property
    def _refusal(self) -> Reason:
        is_distrusted = self.revisions.refused_for in {"history", "signatures"}
        return Reason.UNTRUSTED if is_distrusted else Reason.REFUSED

    def _why(self) -> Reason:
        causes = (
            (self.suspended is not None, Reason.SUSPENDED),
            (self.is_rolled_back, Reason.ROLLED_BACK),
            (self.revisions.refused is not None, self._refusal),
            (self.fetch.error, Reason.GIT_UNREACHABLE),
            (self.look_error, Reason.MACHINE_UNREADABLE),
            (not self.converged, Reason.PROGRESSING),
            (self._is_front_stuck, Reason.PORT_UNAVAILABLE),
        )
        return next((reason for holds, reason in causes if holds), Reason.NOT_READY)

    def _first(self) -> str:
        if self.suspended is not None:
            return self.suspended.reason
        if self.problems:
            more = len(self.problems) - 1
            return self.problems[0] + (f" (and {more} more)" if more else "")
        reasons = (f"{item.kind} {item.name}: {item.reason}" for item in self.items if item.reason)
        return self.fetch.error or next(reasons, "")

    def _head(self) -> list[str]:
        revisions, words = self.revisions, self.claims()
        said = ", ".join(f"{c.word} ({c.reason})" for c in words if c.holds) or "Not ready"
        lines = [
            f"realm       {self.realm or '-'}",
            *(f"{word:<12}{said}" for word, said in self.withheld()),
            f"condition   {said}",
            f"repository  {self.url} ({self.branch})",
            f"tip         {short_revision(revisions.tip)}",
            f"applied     {applied_words(revisions)}",
        ]
        if revisions.refused is not None:
            lines.append(f"refused     {short_revision(revisions.refused)}")
        if self.reconciled_at is not None:
            took = f", took {self.reconcile_s:.2f} s" if self.reconcile_s is not None else ""
            lines.append(f"reconciled  {moment(self.reconciled_at)}{took}")
        if self.fetch.error:
            lines.append(f"fetch       {self.fetch.error}")
        failed = [one for one in self.fetch.remotes if one.error and one.error != self.fetch.error]
        lines += [f"remote      {one.error} (failed {one.failures} times)" for one in failed]
        if self.front is not None:
            lines.append(f"front       {self.front.line()}")
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
        titled = (("problems", self.problems), ("not told", self.untold))
        return [
            line
            for title, lines in titled
            if lines
            for line in ("", title, *(f"  {one}" for one in lines))
        ]


_STATUS: Final = TypeAdapter(Status)
_PLAIN: Final = TypeAdapter(dict[str, Any])


def short_revision(revision: str | None) -> str:
    """The first digits of a revision, enough for people; ``-`` for none."""
    return revision[:SHORT_REVISION] if revision else "-"


def applied_words(revisions: RevisionStatus) -> str:
    """The applied revision, and what of it is missing."""
    said = short_revision(revisions.applied)
    if revisions.applied is None or not revisions.missing:
        return said
    shown, more = revisions.missing[:MOST_MISSING_SHOWN], len(revisions.missing)
    rest = f" and {more - len(shown)} more" if more > len(shown) else ""
    return f"{said} partly: {', '.join(shown)}{rest}"


def counted(number: int, noun: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _row(item: ItemStatus) -> tuple[str, ...]:
    members = f"{item.members.alive}/{item.members.known}" if item.members else "-"
    pid = str(item.pid) if item.pid is not None else "-"
    address = item.address or "-"
    name = f"{item.name} ({item.instance})" if item.instance else item.name
    return item.kind, name, item.word, item.state, address, members, pid, item.reason


def moment(at: float) -> str:
    """A time in seconds since the epoch, as people read it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
