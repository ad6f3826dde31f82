"""The rollouts of this machine: looks, decides, remembers, and tells what happened.

``reconciler.passage`` decides. Here its past is read and kept, operators' orders wait to be taken,
and what the probes say is at hand. A decision counts only when it is claimed: who only asks what
would be done changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from reconciler.passage import Drained, Look, Opinion, Passage, pass_over
from reconciler.rollouts.decision import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jails.spec import JailFacts
    from maculaos.host.clock import Clock
    from reconciler.deployments import Deployments
    from reconciler.estate import Estate, Tenure
    from reconciler.render import MachinePaths

MOST_ORDERS: Final = 100


@dataclass(slots=True)
class Ordered:
    """An operator's word about one app, and what came of it."""

    app: str
    order: Order
    # None until it was taken.
    said: tuple[str, ...] | None = field(default=None)


class Rolling:
    """The rollouts of one reconciler; every call blocks but ``order``."""

    def __init__(self, deployments: Deployments, estate: Estate, clock: Clock) -> None:
        self._deployments = deployments
        self._estate = estate
        self._clock = clock
        self._orders: deque[Ordered] = deque(maxlen=MOST_ORDERS)
        # What the probes say by now, by jail.
        self.opinions: Mapping[str, Opinion] = MappingProxyType({})
        # How drain hooks ended, by jail.
        self.drained: Mapping[str, Drained] = MappingProxyType({})
        # What was written down last, and whose traffic is switched.
        self.claimed: Passage | None = None
        # Is told of each event, by app; nobody at first.
        self.tell: Callable[[str, str], None] = _ignore

    def order(self, app: str, order: Order) -> Ordered:
        """An operator's word; it is taken with the next decision that is claimed."""
        ordered = Ordered(app, order)
        self._orders.append(ordered)
        return ordered

    def prepare(
        self, tenure: Tenure, found: Mapping[str, JailFacts], machine: MachinePaths
    ) -> Passage:
        """What is to be now; writes nothing. Raises ``UsageError`` if the past cannot be read."""
        items = {item.name: item for item in tenure.desired.items.values() if item.kind == "app"}
        moves = tenure.settlement.moves.items()
        look = Look(
            found=found,
            deployments=self._deployments.known(),
            versions=self._estate.versions(),
            machine=machine,
            now=self._clock.monotonic(),
            opinions=self.opinions,
            drained=self.drained,
            orders={each.app: (each.order,) for each in reversed(self._orders)},
            moves={_name(new): _name(former) for new, former in moves if new.startswith("app/")},
        )
        goals = {name: self._estate.version(item) for name, item in items.items()}
        return pass_over(items, goals, look)

    def claim(self, passage: Passage) -> None:
        """Remember what was decided, before anything is done about it; raises ``OSError``."""
        known = self._deployments.known()
        owned = {_name(key) for key in self._estate.owned if key.startswith("app/")}
        kept = {app: deployment for app, deployment in known.items() if app in owned}
        decided = {app: decision.deployment for app, decision in passage.decisions.items()}
        self._deployments.keep({**kept, **decided})
        self._answer(passage)
        for app, decision in passage.decisions.items():
            for event in decision.events:
                self.tell(app, event)

    def _answer(self, passage: Passage) -> None:
        """The first order about each app was part of this decision."""
        taken: set[str] = set()
        for ordered in list(self._orders):
            if ordered.app in taken or ordered.order not in passage.orders.get(ordered.app, ()):
                continue
            taken.add(ordered.app)
            self._orders.remove(ordered)
            ordered.said = passage.decisions[ordered.app].events


def _name(key: str) -> str:
    return key.partition("/")[2]


def _ignore(_app: str, _event: str) -> None:
    """Nobody listens."""
