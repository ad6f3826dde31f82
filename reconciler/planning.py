"""From what a commit wants to the steps of this machine: settle, render, look, compare.

For the worker, which also claims what it is about to make and releases what is gone; and, without
writing anything, for who only asks what would be done. When to do it is not decided here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jails.spec import JailFacts
from maculaos.host.clock import SystemClock
from reconciler.estate import Estate, Tenure
from reconciler.machine import machine_paths, make_socket_folders
from reconciler.names import item_key, jail_of
from reconciler.passage import Passage, trouble
from reconciler.plan import plan
from reconciler.porter import Porter
from reconciler.ports.allotment import Allotment
from reconciler.ports.book import PortBook, table_of
from reconciler.render import Rendered, render
from reconciler.rollouts.instances import instance_jail, instance_of
from reconciler.specs.dependencies import order
from reconciler.specs.spec import AppSpec
from reconciler.steps import StartJail, Step
from reconciler.traffic import Traffic, has_ports

if TYPE_CHECKING:
    from jails.runtime import Runtime
    from reconciler.rolling import Rolling
    from reconciler.settings import ReconcilerSettings
    from reconciler.specs.desired import Desired
    from reconciler.supply import Supply

SOON_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What one commit comes to on this machine, and what is left to do about it."""

    tenure: Tenure
    rendered: Rendered
    found: Mapping[str, JailFacts]
    steps: tuple[Step, ...]
    # Where the apps are on their way between versions.
    passage: Passage
    # Which instance has which port for itself.
    ports: Allotment = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_whole(self) -> bool:
        """Whether no step towards what is wanted is left for later, or was given up."""
        return not self.passage.lagging and not trouble(self.passage.standings())

    def look_at(self, now: float) -> float:
        """When to look at the machine again for the sake of rollouts; infinite for no such time."""
        next_at = self.passage.next_at
        if next_at is None:
            return math.inf
        # What was just started is looked at as soon as it can be there.
        return min(next_at, now + SOON_S) if self.steps else next_at

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

    def __init__(
        self,
        settings: ReconcilerSettings,
        runtime: Runtime,
        estate: Estate,
        rolling: Rolling,
        supply: Supply,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._estate = estate
        self.rolling = rolling
        self._traffic = Traffic(settings.run_dir)
        self._book = PortBook(settings.state_dir, settings.front.span)
        # Keeps what forwards connections to apps with ports.
        self.porter = Porter(settings, SystemClock())
        # Brings what jails need before their steps.
        self.supply = supply

    def prepare(self, desired: Desired, *, has_consent: bool = False) -> Prepared:
        """The steps to ``desired``; writes nothing.

        ``has_consent``: an operator consented to the removals of this commit. Raises
        ``MaculaError``, ``JailError`` or ``OSError`` if the machine cannot be looked at.
        """
        tenure = self._estate.settle(desired, has_consent=has_consent)
        nodes = tuple(tenure.desired.nodes)
        machine = machine_paths(self._settings, nodes, self._runtime.name)
        apps = self._apps(tenure.desired)
        machine = self.supply.unseal(apps, tenure.desired, machine)
        found = self._runtime.look()
        ports = self._book.allot(tenure.desired, apps, found, _heirs(tenure.settlement.moves))
        machine = replace(machine, placement=replace(machine.placement, ports=table_of(ports)))
        passage = self.rolling.prepare(tenure, found, machine)
        rendered = render(tenure.desired, machine, passage.fleet)
        kept = rendered.kept | tenure.kept(found) | passage.adrift
        moves = _moves(tenure.settlement.moves, found)
        ranks = _ranks(tenure.desired, {*rendered.jails, *found})
        steps = plan(rendered.jails, found, kept, moves=moves, ranks=ranks)
        lost = self.supply.lost(passage.fleet) & found.keys() - kept
        steps = (*steps, *_fetched_again(lost, rendered, steps))
        return Prepared(
            tenure=tenure,
            rendered=rendered,
            found=found,
            steps=steps,
            passage=passage,
            ports=ports,
        )

    def claim(self, prepared: Prepared) -> None:
        """Own what is about to be made, and make its folders; raises ``OSError``."""
        self.supply.expect(self._apps(prepared.desired), prepared.passage.fleet)
        self._estate.claim(prepared.tenure, prepared.passage.named())
        self.rolling.claim(prepared.passage)
        self._book.keep(prepared.ports)
        files = self._traffic.show(prepared.passage, prepared.rendered.placement)
        self.porter.switch(files, is_needed=has_ports(prepared.passage))
        make_socket_folders(self._settings, tuple(prepared.desired.nodes))
        self.rolling.claimed = prepared.passage

    def release(self, prepared: Prepared, found: Mapping[str, JailFacts]) -> None:
        """Own no more what was to go and is gone; raises ``OSError``."""
        self._estate.release(prepared.tenure, found)
        there = {*self._estate.owned, *prepared.desired.items, *map(item_key, found)}
        self.supply.settle(prepared.passage, lambda app: f"app/{app}" not in there)
        self.supply.custody.tidy(prepared.rendered, found, self._apps(prepared.desired))

    def _apps(self, desired: Desired) -> list[AppSpec]:
        """Every app, as it is wanted and as it is kept."""
        kept = (item.spec for item in self._estate.versions().values())
        return [*desired.apps.values(), *(spec for spec in kept if isinstance(spec, AppSpec))]


def _fetched_again(
    lost: Collection[str], rendered: Rendered, steps: Collection[Step]
) -> Iterator[Step]:
    """What runs goes on, and is there again when it has to be started anew."""
    planned = {step.name for step in steps}
    for jail in sorted(lost):
        if jail in rendered.jails and jail not in planned:
            yield StartJail(rendered.jails[jail], "its release is gone from the disk")


def _heirs(moved: Mapping[str, str]) -> dict[str, str]:
    """By its former name, what an app is called now."""
    apps = ((former, new) for new, former in moved.items() if new.startswith("app/"))
    return {former.partition("/")[2]: new.partition("/")[2] for former, new in apps}


def _moves(moved: Mapping[str, str], found: Mapping[str, JailFacts]) -> dict[str, str]:
    """By jail what it was called before: every instance of an app goes along."""
    moves = {jail_of(new): jail_of(former) for new, former in moved.items()}
    heirs = {former: new for new, former in moved.items() if new.startswith("app/")}
    for jail in found:
        heir, named = heirs.get(item_key(jail)), instance_of(jail)
        if heir is not None and named is not None:
            moves[instance_jail(heir.partition("/")[2], named[1])] = jail
    return moves


def _ranks(desired: Desired, jails: Collection[str]) -> dict[str, int]:
    """By jail, how many others come before it."""
    ranks = {key: rank for rank, layer in enumerate(order(desired.items)) for key in layer}
    return {jail: ranks.get(item_key(jail), 0) for jail in jails}
