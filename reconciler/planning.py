"""From what a commit wants to the steps of this machine: settle, render, look, compare.

For the worker, which also claims what it is about to make and releases what is gone; and, without
writing anything, for who only asks what would be done. When to do it is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jails.spec import JailFacts
from reconciler.estate import Estate, Tenure
from reconciler.machine import machine_paths, make_socket_folders
from reconciler.names import jail_of
from reconciler.plan import plan
from reconciler.render import Rendered, render
from reconciler.specs.dependencies import order
from reconciler.steps import Step

if TYPE_CHECKING:
    from jails.runtime import Runtime
    from reconciler.settings import ReconcilerSettings
    from reconciler.specs.desired import Desired


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What one commit comes to on this machine, and what is left to do about it."""

    tenure: Tenure
    rendered: Rendered
    found: Mapping[str, JailFacts]
    steps: tuple[Step, ...]

    @property
    def desired(self) -> Desired:
        """What is wanted, with the last good version in the place of what is broken."""
        return self.tenure.desired

    @property
    def waiting(self) -> tuple[str, ...]:
        """The keys of items that go as soon as an operator consents."""
        return tuple(sorted(self.tenure.settlement.held))


class Planner:
    """Plans for one machine; every call blocks."""

    def __init__(self, settings: ReconcilerSettings, runtime: Runtime, estate: Estate) -> None:
        self._settings = settings
        self._runtime = runtime
        self._estate = estate

    def prepare(self, desired: Desired, *, has_consent: bool = False) -> Prepared:
        """The steps to ``desired``; writes nothing.

        ``has_consent``: an operator consented to the removals of this commit. Raises
        ``MaculaError``, ``JailError`` or ``OSError`` if the machine cannot be looked at.
        """
        tenure = self._estate.settle(desired, has_consent=has_consent)
        nodes = tuple(tenure.desired.nodes)
        rendered = render(tenure.desired, machine_paths(self._settings, nodes, self._runtime.name))
        found = self._runtime.look()
        layers = order(tenure.desired.items)
        ranks = {jail_of(key): rank for rank, layer in enumerate(layers) for key in layer}
        moves = {jail_of(new): jail_of(old) for new, old in tenure.settlement.moves.items()}
        kept = rendered.kept | tenure.kept(found)
        steps = plan(rendered.jails, found, kept, moves=moves, ranks=ranks)
        return Prepared(tenure=tenure, rendered=rendered, found=found, steps=steps)

    def claim(self, prepared: Prepared) -> None:
        """Own what is about to be made, and make its folders; raises ``OSError``."""
        self._estate.claim(prepared.tenure)
        make_socket_folders(self._settings, tuple(prepared.desired.nodes))

    def release(self, prepared: Prepared, found: Mapping[str, JailFacts]) -> None:
        """Own no more what was to go and is gone; raises ``OSError``."""
        self._estate.release(prepared.tenure, found)
