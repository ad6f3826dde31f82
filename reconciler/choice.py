"""Which runtime jails are run by: the one that is asked for, or the strongest that works.

Pure: what works here, and whose jails are there, is found out by ``reconciler.runtimes``. Jails
of two runtimes never lie in one place, so as long as jails are there their runtime stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AUTO: Final = "auto"
STRONGEST_FIRST: Final = ("jail", "namespaces", "process")

_CHANGE: Final = "run reconciler down, then start again"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runtime as it is on this machine; ``statement`` says what it can and cannot do here."""

    name: str
    works: bool
    statement: str


@dataclass(frozen=True, slots=True)
class Kept:
    """Jails are there: those of the runtime ``name``, in the folder ``where``."""

    name: str
    where: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime that was chosen; ``why`` tells people in one line, and what it lacks."""

    name: str
    why: str


def choose(wanted: str, candidates: Sequence[Candidate], kept: Kept | None = None) -> Choice:
    """The runtime to run jails by.

    ``wanted`` is ``auto`` or a name. ``candidates`` may come in any order; for a name only that
    one is needed, for ``auto`` those down to the first that works, and the kept one. Raises
    ``UsageError`` if the choice does not work here, or is not the one whose jails are there.
    """
    known = {candidate.name: candidate for candidate in candidates}
    if wanted == AUTO:
        return _strongest(known) if kept is None else _going_on(known, kept)
    if kept is not None and kept.name != wanted:
        raise UsageError(f"jails of the runtime {kept.name} are in {kept.where}", _CHANGE)
    chosen = known[wanted]
    if kept is not None:
        refuse_broken(chosen, kept)
    if not chosen.works:
        raise UsageError(chosen.statement, f"mend that, or set runtime to {AUTO}")
    return Choice(wanted, f"{wanted} is the runtime that the settings name; {chosen.statement}")


def refuse_broken(candidate: Candidate, kept: Kept) -> None:
    """Raise ``UsageError`` if the runtime whose jails are there does not work any more."""
    if not candidate.works:
        raise UsageError(
            f"jails of the runtime {kept.name} are in {kept.where}, but {candidate.statement}",
            "mend that first: nothing else can stop or adopt them",
        )


def _strongest(known: dict[str, Candidate]) -> Choice:
    ranked = [known[name] for name in STRONGEST_FIRST if name in known]
    chosen = _first_working(ranked)
    if chosen is None:
        raise UsageError("; ".join(_statements(ranked)), "mend one of them")
    told = [*_statements(ranked[: ranked.index(chosen)]), chosen.statement]
    return Choice(
        chosen.name, f"{chosen.name} is the strongest runtime that works here; {'; '.join(told)}"
    )


def _going_on(known: dict[str, Candidate], kept: Kept) -> Choice:
    held = known[kept.name]
    refuse_broken(held, kept)
    strongest = _strongest(known)
    if strongest.name == held.name:
        return strongest
    why = (
        f"{held.name} is kept while jails of it are there, though {strongest.name} is stronger: "
        f"to change, {_CHANGE}; {held.statement}"
    )
    return Choice(held.name, why)


def _first_working(ranked: Iterable[Candidate]) -> Candidate | None:
    return next((candidate for candidate in ranked if candidate.works), None)


def _statements(candidates: Iterable[Candidate]) -> list[str]:
    return [candidate.statement for candidate in candidates]
