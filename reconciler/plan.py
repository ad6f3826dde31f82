"""The plan: which steps take this machine from what was found to what is wanted.

Pure and without memory. Nothing is done here, and nothing is said about when: failed steps are
planned again and again, ``reconciler.convergence`` decides when they are tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jails.spec import JailState
from reconciler.steps import RemoveJail, ReplaceJail, StartJail, UpdateFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jails.spec import JailFacts, JailSpec
    from reconciler.steps import Step

# Removals free ports and memory first; replacements free ports that new jails may want.
_ORDER: Final = {RemoveJail: 0, ReplaceJail: 1, StartJail: 2, UpdateFiles: 3}
# In these states a program is there, or somebody who will start it again.
_ALIVE: Final = frozenset({JailState.RUNNING, JailState.BACKING_OFF, JailState.ORPHANED})


def plan(
    wanted: Mapping[str, JailSpec],
    found: Mapping[str, JailFacts],
    kept: frozenset[str] = frozenset(),
) -> tuple[Step, ...]:
    """The steps from ``found`` to ``wanted``, both by jail name; empty means: no drift.

    Removals come first, then replacements, starts and updates of files, each by name. Jails in
    ``kept`` are left as they are, wanted or not.
    """
    unwanted = sorted(found.keys() - wanted.keys() - kept)
    removals = [RemoveJail(name, "is no longer wanted") for name in unwanted]
    steps = [_step(wanted[name], found.get(name)) for name in sorted(wanted.keys() - kept)]
    changes = [step for step in steps if step is not None]
    return (*removals, *sorted(changes, key=lambda step: _ORDER[type(step)]))


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
