"""The outcome of a load test: everything that is told of it, to people and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from maculaos.loadtest.checker import Counts
from maculaos.loadtest.faults import blamed
from maculaos.loadtest.latencies import Latencies
from maculaos.loadtest.scenario import Scenario
from maculaos.loadtest.timeline import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.loadtest.checker import Loss
    from maculaos.loadtest.faults import Fault
    from maculaos.loadtest.load import Load

# A fault is felt for a while after it is over: until its node is believed alive and linked again.
GRACE_S = 15.0
#: Who is blamed for what was lost while nothing was done to anybody.
NOBODY = "no fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    scenario: Scenario
    counts: Counts
    latencies: Latencies
    # How much later than meant events went out.
    lag: Latencies
    # Parts of the run, one after the other, each so long in seconds.
    slots: tuple[Slot, ...]
    slot_s: float
    losses: Mapping[str, int]
    errors: Mapping[str, int]
    connections_lost: int
    # Of publishing, and until the last delivery.
    published_for_s: float
    delivered_for_s: float

    @property
    def published_per_s(self) -> float:
        """Events that were taken by the mesh, in each second of publishing."""
        return _per_second(self.counts.published - self.counts.refused, self.published_for_s)

    @property
    def delivered_per_s(self) -> float:
        """Deliveries to all subscribers in each second, up to the last one."""
        return _per_second(self.counts.delivered, self.delivered_for_s)

    @property
    def keeps_its_word(self) -> bool:
        """Whether what the mesh confirmed came to all who were there the whole time."""
        return not (self.scenario.acknowledge and self.counts.lost > self.counts.away)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for machines."""
        scenario = asdict(self.scenario)
        scenario["faults"] = [str(fault) for fault in self.scenario.faults]
        return {
            "scenario": scenario,
            **asdict(self.counts),
            "published_per_s": round(self.published_per_s, 1),
            "delivered_per_s": round(self.delivered_per_s, 1),
            "latency": self.latencies.to_dict(),
            "lag": self.lag.to_dict(),
            "losses": dict(self.losses),
            "errors": dict(self.errors),
            "connections_lost": self.connections_lost,
            "slot_s": self.slot_s,
            "slots": [_row(each) for each in self.slots],
        }


def outcome_of(load: Load, published_for_s: float, delivered_for_s: float) -> Outcome:
    """Sum up a run that is over."""
    return Outcome(
        scenario=load.scenario,
        counts=load.checker.counts(),
        latencies=load.timeline.total(),
        lag=load.lag,
        slots=load.timeline.slots,
        slot_s=load.timeline.slot_s,
        losses=attributed(load.checker.losses(), load.scenario),
        errors=dict(sorted(load.errors.items())),
        connections_lost=load.connections_lost,
        published_for_s=published_for_s,
        delivered_for_s=delivered_for_s,
    )


def attributed(losses: Iterable[Loss], scenario: Scenario) -> dict[str, int]:
    """How many losses each fault is blamed for; every fault is named, in order of time."""
    every = sorted(scenario.faults, key=lambda fault: fault.at_s)
    counted: Counter[Fault | None] = Counter()
    for loss in losses:
        # Who was away missed it because of a fault of its own node.
        places = [scenario.subscriber_place(loss.subscriber)]
        if not loss.is_away:
            places.append(scenario.publisher_place(loss.publisher))
        nodes = [scenario.names[place] for place in places]
        counted[blamed(every, loss.due_s, GRACE_S, nodes)] += 1
    named = {str(fault): counted[fault] for fault in every}
    return {**named, NOBODY: counted[None]}


def _row(slot: Slot) -> dict[str, float]:
    return {
        "published": slot.published,
        "refused": slot.refused,
        "delivered": slot.delivered.count,
        "p50_ms": slot.delivered.percentile_us(0.5) / 1000,
        "p99_ms": slot.delivered.percentile_us(0.99) / 1000,
        "max_ms": slot.delivered.highest_us / 1000,
    }


def _per_second(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
