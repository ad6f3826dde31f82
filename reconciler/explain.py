"""Why an item is as it is, and what would mend it: for ``reconciler explain ITEM``.

Pure: everything that is known about one item goes in, an explanation comes out, as JSON and as
plain lines. What a program wrote is quoted to the operator who asks, and kept nowhere.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import TypeAdapter

from maculaos.errors import UsageError
from reconciler.conditions import NEXT_MOVES, Condition, Reason, Truth, Word
from reconciler.events import Event
from reconciler.status import ItemStatus, counted, moment, short_revision
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.status import Status

EVENTS_TOLD: Final = 8
WORDS_TOLD: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an item comes from: the commit that is wanted here, and the file in it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    revision: str = ""
    subject: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one item beyond its status."""

    origin: Origin = Origin()
    # The step that the last plan had for it; empty for none.
    step: str = ""
    # Seconds until a failed step is tried again; None if none failed.
    retry_in_s: float | None = None
    # Of its file, each with its place.
    problems: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    # What its program wrote last, oldest first.
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One item, explained; every text is a line for people."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    item: str
    # The one reason, a word for programs.
    reason: Reason
    verdict: str
    because: tuple[str, ...]
    # What would mend it; empty if nothing has to be done.
    fix: str
    origin: Origin
    conditions: tuple[Condition, ...]
    events: tuple[Event, ...]
    words: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        said: dict[str, Any] = _EXPLANATION.dump_python(self, mode="json")
        return said

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Explanation:
        """Read what ``as_json`` gave."""
        return _EXPLANATION.validate_json(_PLAIN.dump_json(dict(said)))

    def as_text(self) -> str:
        """Plain lines for people."""
        lines = [f"{self.item}: {self.verdict}"]
        lines += [f"  because  {line}" for line in self.because]
        lines += [f"  fix      {self.fix}"] if self.fix else []
        origin = self.origin
        if origin.revision:
            file = f"{origin.file} in " if origin.file else ""
            lines.append(f"  from     {file}{short_revision(origin.revision)} {origin.subject}")
        for one in self.conditions:
            said = f"{one.word}={one.status} ({one.reason}) since {moment(one.since)}"
            lines.append(f"  is       {said}, of {short_revision(one.generation)}")
        for event in self.events:
            times = f" ({event.count} times)" if event.count > 1 else ""
            lines.append(f"  event    {moment(event.last_at)}  {event.text}{times}")
        lines += [f"  wrote    {line}" for line in self.words]
        return "\n".join(lines) + "\n"


def find_item(status: Status, named: str) -> ItemStatus:
    """The item called ``node/n1`` or, if no other has that name, ``n1``; else ``UsageError``."""
    known = {item.key: item for item in status.items}
    wanted = named.replace(" ", "/", 1)
    if wanted in known:
        return known[wanted]
    by_name = [item for item in status.items if item.name == named]
    if len(by_name) == 1:
        return by_name[0]
    if by_name:
        raise UsageError(f"{named} is more than one item", f"name one: {_listed(by_name)}")
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    names = {item.name: item.key for item in status.items}
    close += [names[one] for one in difflib.get_close_matches(named, names, n=3, cutoff=0.5)]
    hint = (
        f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else "see reconciler status"
    )
    raise UsageError(f"there is no item {named}", hint)


def explain(status: Status, item: ItemStatus, evidence: Evidence) -> Explanation:
    """Why ``item`` is as it is, from what is known of it."""
    claims = item.conditions or item.claims()
    ready = next(claim for claim in claims if claim.word is Word.READY)
    return Explanation(
        item=item.key,
        reason=ready.reason,
        verdict=_verdict(item, ready),
        because=tuple(_causes(status, item, evidence)),
        fix="" if ready.status is Truth.TRUE else _fix(item, ready.reason, evidence),
        origin=evidence.origin,
        conditions=claims,
        events=evidence.events[-EVENTS_TOLD:],
        words=evidence.words[-WORDS_TOLD:],
    )


def _verdict(item: ItemStatus, ready: Condition) -> str:
    said = {Truth.TRUE: "as wanted", Truth.FALSE: "not as wanted", Truth.UNKNOWN: "not ready yet"}
    return f"{said[ready.status]} ({ready.reason}); it is {item.state}"


def _causes(status: Status, item: ItemStatus, evidence: Evidence) -> list[str]:
    """The most telling first: what its file says, what failed, what holds it, what it did."""
    causes = list(evidence.problems)
    if item.reason and item.reason not in causes:
        causes.append(item.reason)
    if item.failures:
        retry = evidence.retry_in_s
        soon = "" if retry is None else f", tried again in {max(retry, 0.0):.0f} s"
        causes.append(f"its step failed {counted(item.failures, 'time')} in a row{soon}")
    if evidence.step:
        causes.append(f"the last plan has a step for it: {evidence.step}")
    if item.generation and item.applied and item.generation != item.applied:
        causes.append(f"version {item.applied} is there, {item.generation} is wanted")
    if item.restarts:
        causes.append(f"its program was restarted {counted(item.restarts, 'time')}")
    causes += [f"the work is {word} {said}" for word, said in status.withheld()]
    if status.fetch.error:
        causes.append(f"what is wanted may be out of date: {status.fetch.error}")
    if status.look_error:
        causes.append(f"the machine cannot be looked at: {status.look_error}")
    return causes


def _fix(item: ItemStatus, reason: Reason, evidence: Evidence) -> str:
    if evidence.problems:
        return "mend its file as said above, and push"
    if reason is Reason.PROGRESSING:
        return "wait: it is being worked on; watch it with: reconciler status --watch"
    if reason is Reason.BLOCKED and item.kind == "node" and "credential" in item.reason:
        # The message itself says how to issue them.
        return item.reason
    return NEXT_MOVES.get(reason, "")


def _listed(items: list[ItemStatus]) -> str:
    return ", ".join(item.key for item in items)


_EXPLANATION: Final = TypeAdapter(Explanation)
_PLAIN: Final = TypeAdapter(dict[str, Any])
