"""The layout that a rollout aims at by its next move, and how freely moves may be made. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from reconciler.rollouts.decision import Wish
from reconciler.rollouts.deployment import Mode, Rollout
from reconciler.rollouts.instances import Colour, Instance

UNLIMITED: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the board is to go."""

    count: int
    # What live instances are to run; None: what they run.
    live_digest: str | None
    # What a live instance gets that is not there yet; None: nothing for now.
    absent_digest: str | None = None
    # Live instances that run something else are replaced: so many at once, and never so that
    # fewer than ``floor`` serve.
    at_once: int = 0
    floor: int = 0
    # Instances of another colour that stand beside the live ones.
    beside: Colour | None = None
    beside_count: int = 0
    # None: what they run.
    beside_digest: str | None = None
    # Canaries that serve stay while they are of use.
    keeps_canaries: bool = False

    def wanted(self, live: Colour) -> dict[Instance, str | None]:
        """What every instance is to run in the end; None: what it runs."""
        ours: dict[Instance, str | None] = {
            Instance(live, index): self.live_digest for index in range(1, self.count + 1)
        }
        if self.beside is not None:
            for index in range(1, self.beside_count + 1):
                ours[Instance(self.beside, index)] = self.beside_digest
        return ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a layout depends on."""

    wish: Wish
    rollout: Rollout | None
    stable: str | None
    live: Colour
    is_paused: bool
    has_serving_canary: bool


def layout_of(now: Circumstances) -> Layout:
    """Where the instances are to go by the next move."""
    rollout, count = now.rollout, now.wish.instances
    if rollout is None:
        return Layout(count=count, live_digest=now.stable, absent_digest=now.stable)
    is_stuck = bool(rollout.failure) and rollout.target != now.stable
    if now.is_paused or is_stuck:
        return _frozen(now, rollout)
    if rollout.mode is Mode.IN_PLACE:
        return _in_place(now, rollout)
    max_parallel = now.wish.strategy.max_parallel
    live = rollout.target if rollout.is_promoted else now.stable
    # Canaries are there so that no live instance is missed while it is replaced.
    has_to_wait = rollout.is_promoted or now.has_serving_canary
    return replace(
        _beside(now, rollout),
        live_digest=live,
        absent_digest=live,
        at_once=max_parallel if rollout.is_promoted else UNLIMITED,
        floor=count if has_to_wait else count - max_parallel,
        beside_digest=rollout.target,
    )


def _in_place(now: Circumstances, rollout: Rollout) -> Layout:
    strategy, count = now.wish.strategy, now.wish.instances
    is_trusted = rollout.target == now.stable
    # A way back that failed as well has nothing to be careful about.
    is_free = strategy.kind == "restart" or (is_trusted and bool(rollout.failure))
    is_unlimited = is_free or is_trusted or now.stable is None
    floor = count if now.has_serving_canary else count - strategy.max_parallel
    return Layout(
        count=count,
        live_digest=rollout.target,
        absent_digest=rollout.target,
        at_once=UNLIMITED if is_unlimited else strategy.max_parallel,
        floor=0 if is_free else floor,
        keeps_canaries=True,
    )


def _beside(now: Circumstances, rollout: Rollout) -> Layout:
    """What stands beside the live instances in this rollout, as it is."""
    count, canaries = now.wish.instances, now.wish.strategy.canary
    colours = {Mode.BESIDE: now.live.other, Mode.CANARY: Colour.CANARY}
    return Layout(
        count=count,
        live_digest=None,
        beside=colours.get(rollout.mode),
        beside_count=canaries if rollout.mode is Mode.CANARY else count,
        keeps_canaries=True,
    )


def _frozen(now: Circumstances, rollout: Rollout) -> Layout:
    """Everything stays as it is; new live instances run what is best known."""
    fallback = None if now.is_paused else rollout.target
    return replace(_beside(now, rollout), absent_digest=now.stable or fallback)
