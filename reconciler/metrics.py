"""Metrics in the text format of Prometheus, worked out from a snapshot and from what was counted.

``exposition`` is a pure function to one text: it is written to ``state_dir/metrics.prom`` for the
textfile collector of node_exporter, printed by ``reconciler metrics``, and answered by
``reconciler.monitoring``, where the settings name a listener.
Names follow Flux (``gotk_``) and comin in what they measure; counters begin at 0 with each start.
Labels come from bounded sets only: words of ours, items of this machine, and one revision.

Format: Prometheus, exposition formats, text-based format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.conditions import Truth, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.front.standing import FrontStatus
    from reconciler.status import Status

PREFIX: Final = "macula_reconciler"
# Items beyond this many have no lines of their own; sums still count them.
MOST_ITEMS: Final = 1000

Labels: TypeAlias = Mapping[str, str]


@dataclass(slots=True)
class Spent:
    """How often something was done, and how long it took in all and last, in seconds."""

    count: int = 0
    total_s: float = 0.0
    last_s: float = 0.0
    # Seconds since the epoch.
    last_at: float = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Once more."""
        self.count += 1
        self.total_s += max(seconds, 0.0)
        self.last_s, self.last_at = max(seconds, 0.0), now


@dataclass(slots=True)
class Tally:
    """What one reconciler did since it started; the keys are words of ours."""

    # By "success" or "failure".
    fetches: dict[str, Spent] = field(default_factory=dict)
    repairs: dict[str, Spent] = field(default_factory=dict)
    # By verb of the step, and "success" or "failure".
    steps: dict[tuple[str, str], Spent] = field(default_factory=dict)
    # By target, and "success" or "failure".
    notices: dict[tuple[str, str], Spent] = field(default_factory=dict)

    def fetched(self, seconds: float, now: float, *, is_ok: bool) -> None:
        """Git was asked."""
        self.fetches.setdefault(_outcome(is_ok), Spent()).add(seconds, now)

    def repaired(self, seconds: float, now: float, *, is_ok: bool) -> None:
        """A repair of the machine ended."""
        self.repairs.setdefault(_outcome(is_ok), Spent()).add(seconds, now)

    def stepped(self, verb: str, seconds: float, now: float, *, is_ok: bool) -> None:
        """A step was taken, or failed."""
        self.steps.setdefault((verb, _outcome(is_ok)), Spent()).add(seconds, now)

    def told(self, target: str, seconds: float, now: float, *, is_ok: bool) -> None:
        """A target was told what came of a commit, or could not be."""
        self.notices.setdefault((target, _outcome(is_ok)), Spent()).add(seconds, now)


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric with its samples: labels and value each."""

    name: str
    kind: str
    text: str
    samples: Sequence[tuple[Labels, float]]

    def lines(self) -> Iterator[str]:
        name = f"{PREFIX}_{self.name}"
        yield f"# HELP {name} {self.text}"
        yield f"# TYPE {name} {self.kind}"
        for labels, value in self.samples:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{name}{{{inner}}} {value!r}" if inner else f"{name} {value!r}"


def exposition(status: Status, tally: Tally) -> str:
    """Everything that is measured, as one text that ends with a line break."""
    families = (*_whole(status), *_items(status), *_front(status.front), *_done(tally))
    return "".join(f"{line}\n" for one in families if one.samples for line in one.lines())


def _whole(status: Status) -> Iterator[_Family]:
    revisions, fetch = status.revisions, status.fetch
    info = {
        "branch": status.branch,
        "tip": revisions.tip or "",
        "attempted": revisions.attempted or "",
        "applied": revisions.applied or "",
        "runtime": status.runtime,
    }
    yield _Family("info", "gauge", "Which revisions this is about, as labels.", [(info, 1)])
    yield _gauge("status_time_seconds", "When this was written; old: nobody is at work.", status.at)
    yield _gauge("start_time_seconds", "When the reconciler started.", status.started_at)
    yield _gauge(
        "converged", "Whether the tip is applied and nothing left to do.", status.converged
    )
    yield _gauge("missing", "Parts of the applied revision not applied.", len(revisions.missing))
    yield _gauge("untold", "Targets that cannot be told of commits.", len(status.untold))
    is_suspended = status.suspended is not None
    yield _gauge("suspended", "Whether an operator suspended the work.", is_suspended)
    yield _gauge("rolled_back", "Whether an operator rolled back.", status.is_rolled_back)
    yield _gauge("problems", "Things that somebody has to repair.", len(status.problems))
    yield _gauge("held_steps", "Steps kept back.", sum(1 for one in status.items if one.held))
    times = (
        ("last_fetch_success_time_seconds", "When Git was last asked with success.", fetch.ok_at),
        ("last_fetch_failure_time_seconds", "When it last failed.", fetch.failed_at),
        ("last_repair_time_seconds", "When a repair last ended.", status.reconciled_at),
    )
    for name, text, at in times:
        if at is not None:
            yield _gauge(name, text, at)
    samples = [
        ({"type": str(word), "status": str(truth)}, float(_is(status, word, truth)))
        for word in Word
        for truth in Truth
    ]
    yield _Family("condition", "gauge", "Conditions of the whole; 1 for the one that is.", samples)


def _items(status: Status) -> Iterator[_Family]:
    counts = {(kind, word): 0 for kind in ("app", "node") for word in Word}
    for item in status.items:
        counts[item.kind, item.word] += 1
    samples = [
        ({"kind": kind, "condition": str(word)}, float(n)) for (kind, word), n in counts.items()
    ]
    yield _Family("items", "gauge", "Nodes and apps by their condition.", samples)
    listed = status.items[:MOST_ITEMS]
    restarts = [({"item": item.key}, float(item.restarts)) for item in listed]
    yield _Family("item_restarts", "gauge", "Restarts of its program since it was made.", restarts)
    ready = [({"item": item.key}, float(item.ready)) for item in listed]
    yield _Family("item_ready", "gauge", "Whether it runs, and answers if it is a node.", ready)
    failures = [({"item": item.key}, float(item.failures)) for item in listed]
    yield _Family("item_step_failures", "gauge", "Failures in a row of its step.", failures)


def _front(front: FrontStatus | None) -> Iterator[_Family]:
    if front is None:
        return
    up = [
        ({"app": each.app, "port": each.name}, float(not each.problem))
        for each in front.ports[:MOST_ITEMS]
    ]
    yield _Family("front_port_up", "gauge", "Whether that port of an app is listened at.", up)
    counted = [
        ({"app": each.app, "instance": each.instance}, each)
        for each in front.connections[:MOST_ITEMS]
    ]
    opened = [(labels, float(one.open)) for labels, one in counted]
    yield _Family("front_connections", "gauge", "Connections that are open.", opened)
    total = [(labels, float(one.total)) for labels, one in counted]
    yield _Family("front_connections_total", "counter", "Connections passed on.", total)
    failed = [(labels, float(one.failed)) for labels, one in counted]
    yield _Family("front_failures_total", "counter", "An instance could not be reached.", failed)
    refused: list[tuple[Labels, float]] = [({}, float(front.refused))]
    yield _Family("front_refused_total", "counter", "Connections without room.", refused)


def _done(tally: Tally) -> Iterator[_Family]:
    yield from _spent("fetch", "Asking Git", _by_outcome(tally.fetches))
    yield from _spent("repair", "Bringing the machine to its revision", _by_outcome(tally.repairs))
    steps = [({"verb": verb, "outcome": o}, s) for (verb, o), s in sorted(tally.steps.items())]
    yield from _spent("step", "Steps", steps)
    told = [({"target": t, "outcome": o}, s) for (t, o), s in sorted(tally.notices.items())]
    yield from _spent("notice", "Telling of commits", told)


def _spent(name: str, text: str, spent: Sequence[tuple[Labels, Spent]]) -> Iterator[_Family]:
    totals = [(labels, float(one.count)) for labels, one in spent]
    plural = f"{name}es" if name.endswith("ch") else f"{name}s"
    yield _Family(f"{plural}_total", "counter", f"{text}: how often.", totals)
    seconds = [(labels, one.total_s) for labels, one in spent]
    yield _Family(f"{name}_seconds_total", "counter", f"{text}: time in all.", seconds)
    last = [(labels, one.last_s) for labels, one in spent]
    yield _Family(f"{name}_last_seconds", "gauge", f"{text}: time of the last one.", last)
    at = [(labels, one.last_at) for labels, one in spent]
    yield _Family(f"{name}_last_time_seconds", "gauge", f"{text}: when the last one ended.", at)


def _by_outcome(spent: Mapping[str, Spent]) -> Sequence[tuple[Labels, Spent]]:
    return [({"outcome": outcome}, one) for outcome, one in sorted(spent.items())]


def _gauge(name: str, text: str, value: float) -> _Family:
    return _Family(name, "gauge", text, [({}, float(value))])


def _is(status: Status, word: Word, truth: Truth) -> bool:
    """Whether that condition has that status; one that is absent is false."""
    found: Iterable[Truth] = (one.status for one in status.conditions if one.word is word)
    return next(iter(found), Truth.FALSE) is truth


def _outcome(is_ok: bool) -> str:
    return "success" if is_ok else "failure"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
