"""The judgement over the answers of probes: starting, healthy since, or unhealthy since and why.

Pure. One answer changes little: ``failures`` and ``successes`` in a row are what counts, so that
one lost packet restarts nothing. An app that fails every other time would never fail often enough
in a row; so who fails more than half of the last ``WINDOW`` times is unhealthy too, and then needs
``STEADY`` successes in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.probes.spec import Rhythm

WINDOW: Final = 16
STEADY: Final = 8
LONGEST_REASON: Final = 200


class State(StrEnum):
    """What is thought of an app."""

    STARTING = "starting"  # it was not healthy yet since its start, and may be soon
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Result:
    """One answer: good, or why not; ``at`` in seconds of any one clock."""

    at: float
    is_good: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is thought, since when, and why."""

    state: State
    since: float
    # What the last failure said; empty if healthy.
    reason: str = ""
    # Results in a row that were alike: successes above 0, failures below.
    streak: int = 0
    # The last results, the oldest first.
    window: tuple[bool, ...] = ()
    is_flapping: bool = False


def begin(now: float) -> Judgement:
    """A program was started, and nothing is known of it."""
    return Judgement(state=State.STARTING, since=now)


def judge(before: Judgement, result: Result, rhythm: Rhythm) -> Judgement:
    """What is thought after one more result."""
    window = (*before.window, result.is_good)[-WINDOW:]
    if result.is_good:
        seen = replace(before, streak=max(0, before.streak) + 1, window=window)
        return _after_success(seen, result, rhythm)
    seen = replace(before, streak=min(0, before.streak) - 1, window=window)
    return _after_failure(seen, result, rhythm)


def _after_success(seen: Judgement, result: Result, rhythm: Rhythm) -> Judgement:
    needed = max(rhythm.successes, STEADY) if seen.is_flapping else rhythm.successes
    if seen.state is State.HEALTHY or seen.streak < needed:
        return seen
    return replace(seen, state=State.HEALTHY, since=result.at, reason="", is_flapping=False)


def _after_failure(seen: Judgement, result: Result, rhythm: Rhythm) -> Judgement:
    bad = seen.window.count(False)
    is_flapping = seen.is_flapping or _begins_to_flap(seen, bad)
    said = f"fails {bad} of {WINDOW} times: {result.reason}" if is_flapping else result.reason
    reason = said[:LONGEST_REASON]
    if seen.state is State.UNHEALTHY:
        return replace(seen, reason=reason)
    if -seen.streak < rhythm.failures and not is_flapping:
        return seen if seen.state is State.HEALTHY else replace(seen, reason=reason)
    return replace(
        seen, state=State.UNHEALTHY, since=result.at, reason=reason, is_flapping=is_flapping
    )


def _begins_to_flap(seen: Judgement, bad: int) -> bool:
    return seen.state is State.HEALTHY and len(seen.window) == WINDOW and 2 * bad > WINDOW


def overall(judgements: Iterable[Judgement]) -> Judgement:
    """What is thought of an app by all its probes: the worst of them, since it is so.

    Raises ``ValueError`` for no judgement at all.
    """
    every = list(judgements)
    for state in (State.UNHEALTHY, State.STARTING):
        those = [each for each in every if each.state is state]
        if those:
            return min(those, key=lambda each: each.since)
    return max(every, key=lambda each: each.since)
