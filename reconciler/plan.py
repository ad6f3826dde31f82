"""The plan: which steps take this machine from what was found to what is wanted.

Pure and without memory. Nothing is done here, and nothing is said about when: failed steps are
planned again and again, ``reconciler.convergence`` decides when they are tried.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jails.spec import JailState
from reconciler.names import spoken
from reconciler.steps import MoveJail, RemoveJail, ReplaceJail, StartJail, UpdateFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jails.spec import JailFacts, JailSpec
    from reconciler.steps import Step

# Removals free ports and memory first; replacements free ports that new jails may want.
_ORDER: Final = {RemoveJail: 0, ReplaceJail: 1, MoveJail: 2, StartJail: 2, UpdateFiles: 3}
# In these states a program is there, or somebody who will start it again.
_ALIVE: Final = frozenset({JailState.RUNNING, JailState.BACKING_OFF, JailState.ORPHANED})
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def plan(
    wanted: Mapping[str, JailSpec],
    found: Mapping[str, JailFacts],
    kept: frozenset[str] = frozenset(),
    *,
    moves: Mapping[str, str] = _NONE,
    ranks: Mapping[str, int] = _NONE,
) -> tuple[Step, ...]:
    """The steps from ``found`` to ``wanted``, both by jail name; empty means: no drift.

    Removals come first, then replacements, starts and updates of files, each by rank and name:
    what others need has a lower rank, is started before them and removed after them. ``moves``
    says what jails were called before, if they may take over what is kept under that name. Jails
    in ``kept`` are left as they are, wanted or not.
    """
    former = {
        moves[name] for name in moves if name in wanted.keys() - kept and moves[name] in found
    }
    unwanted = found.keys() - wanted.keys() - kept - former
    removals = [
        RemoveJail(name, "is no longer wanted")
        for name in sorted(unwanted, key=lambda name: (-ranks.get(name, 0), name))
    ]
    steps = [
        _moved(wanted[name], moves[name])
        if moves.get(name) in former
        else _step(wanted[name], found.get(name))
        for name in wanted.keys() - kept
    ]
    changes = [step for step in steps if step is not None]
    return (*removals, *sorted(changes, key=lambda step: _turn(step, ranks)))


def _turn(step: Step, ranks: Mapping[str, int]) -> tuple[int, int, str]:
    return _ORDER[type(step)], ranks.get(step.name, 0), step.name


def _moved(spec: JailSpec, former: str) -> MoveJail:
    return MoveJail(spec, f"was {spoken(former)} before", former)


def _step(spec: JailSpec, facts: JailFacts | None) -> Step | None:
    """The one step that this jail needs: a start or a replacement brings its files along."""
    if facts is None:
        return StartJail(spec, "is not there yet")
    if facts.program_digest != spec.program_digest():
        if facts.state in _ALIVE:
            return ReplaceJail(spec, "its program or settings changed")
        return StartJail(spec, f"its program or settings changed, and it {_ended(facts)}")
    if facts.state is JailState.STOPPED:
        return StartJail(spec, _ended(facts))
    if facts.state is JailState.ORPHANED:
        return StartJail(spec, "its supervisor is gone")
    # BACKING_OFF is its supervisor's business, and FAILED is what its restart policy asked for.
    if facts.files_digest != spec.files_digest():
        return UpdateFiles(spec, "its files are not as wanted")
    return None


def _ended(facts: JailFacts) -> str:
    return f"is not running ({facts.last_exit})" if facts.last_exit else "is not running"
