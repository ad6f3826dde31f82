"""The board of one look: which instance is to run what, and which moves are allowed now.

Pure. It knows no versions but those that it is told to move to; where a rollout is bound, and
when it has failed, is the business of ``reconciler.rollouts.decide``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.rollouts.decision import Assignment, Assignments, InstanceFacts
from reconciler.rollouts.deployment import Placed
from reconciler.rollouts.instances import Colour, Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.rollouts.layout import Layout
    from reconciler.rollouts.spec import Strategy


class Board:
    """The instances of one app at one look; moves change it, ``placed`` is what comes of it."""

    def __init__(
        self,
        placed: Iterable[Placed],
        facts: Mapping[Instance, InstanceFacts],
        strategy: Strategy,
        live: Colour,
        age: float,
    ) -> None:
        self.live = live
        self._places = {each.instance: each for each in placed}
        self._facts = facts
        self._strategy = strategy
        self._age = age

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Every instance that is to be, in order."""
        return tuple(self._places[instance] for instance in sorted(self._places))

    def adopt(self) -> None:
        """Take what runs as what is to run: nothing is known of it."""
        running = [each for each, facts in self._facts.items() if facts.is_running]
        if any(each.colour is Colour.GREEN for each in running) and not any(
            each.colour is Colour.BLUE for each in running
        ):
            self.live = Colour.GREEN
        for instance, facts in self._facts.items():
            self._place(instance, facts.digest)

    def note(self) -> None:
        """Take down who is healthy, and for how long by now."""
        for instance, place in self._places.items():
            if not self.is_healthy(instance):
                self._places[instance] = replace(place, healthy_since=None)
                continue
            run = self._facts[instance].run
            is_same = place.healthy_since is not None and run == place.run
            since = place.healthy_since if is_same else self._age
            is_proved = place.is_proved or self._is_long(since)
            self._places[instance] = replace(
                place, healthy_since=since, run=run, is_proved=is_proved
            )

    def at(self, instance: Instance) -> Placed | None:
        """What is to run there; None if nothing is."""
        return self._places.get(instance)

    def is_healthy(self, instance: Instance) -> bool:
        """Whether it runs what it is to run, and does well."""
        place, facts = self._places.get(instance), self._facts.get(instance)
        if place is None or facts is None:
            return False
        return facts.digest == place.digest and facts.is_well

    def proves(self, instance: Instance, digest: str) -> bool:
        """Whether it runs ``digest``, is to go on with it, and is healthy for long enough now."""
        place = self._places.get(instance)
        if place is None or place.digest != digest or place.draining_since is not None:
            return False
        return self._is_long(place.healthy_since)

    def takes_traffic(self, instance: Instance) -> bool:
        """Whether traffic may go there, as far as the board is concerned."""
        place = self._places.get(instance)
        is_open = instance.colour in (self.live, Colour.CANARY)
        return place is not None and is_open and place.draining_since is None

    def serves(self, instance: Instance) -> bool:
        """Whether traffic goes there and is well answered."""
        return self.takes_traffic(instance) and self.is_healthy(instance)

    def has_serving_canary(self) -> bool:
        """Whether there is a canary that serves."""
        return any(each.colour is Colour.CANARY and self.serves(each) for each in self._places)

    def serving(self) -> int:
        """How many instances serve."""
        return sum(1 for instance in self._places if self.serves(instance))

    def restart_proofs(self, digest: str) -> None:
        """A rollout to ``digest`` begins: who runs it already has its time from now on."""
        for instance, place in self._places.items():
            if place.digest == digest:
                is_proved = place.is_proved and place.healthy_since is not None
                self._places[instance] = replace(place, since=self._age, is_proved=is_proved)

    def grant_time(self) -> None:
        """What is not proved yet has its time from now on."""
        for instance, place in self._places.items():
            if not place.is_proved:
                self._places[instance] = replace(place, since=self._age)

    def judge_by(self, strategy: Strategy) -> None:
        """From now on these are the times that count."""
        self._strategy = strategy

    def switch_to(self, colour: Colour) -> None:
        """Give the traffic to ``colour``; the instances that had it drain."""
        for instance, place in self._places.items():
            if instance.colour is self.live and place.draining_since is None:
                self._places[instance] = replace(place, draining_since=self._age)
        self.live = colour

    def arrange(self, layout: Layout) -> None:
        """Take every move towards ``layout`` that is allowed now."""
        wanted = layout.wanted(self.live)
        self._end_drains(wanted)
        self._retire(wanted, layout)
        for instance, digest in wanted.items():
            chosen = layout.absent_digest if instance.colour is self.live else digest
            if instance not in self._places and chosen is not None:
                self._place(instance, chosen)
        self._move_live(wanted, layout)
        self._move_beside(wanted, layout)

    def assignments(self) -> Assignments:
        """What is to be, by instance."""
        return tuple(
            Assignment(
                each.instance,
                each.digest,
                self.takes_traffic(each.instance),
                each.draining_since is not None,
            )
            for each in self.placed
        )

    def settled(self) -> tuple[Placed, ...]:
        """The instances without what was only of use on the way."""
        return tuple(
            Placed(colour=each.colour, index=each.index, digest=each.digest) for each in self.placed
        )

    def _is_long(self, since: float | None) -> bool:
        return since is not None and self._age - since >= self._strategy.min_healthy_time_s

    def _place(self, instance: Instance, digest: str) -> None:
        self._places[instance] = Placed(
            colour=instance.colour, index=instance.index, digest=digest, since=self._age
        )

    def _end_drains(self, wanted: Mapping[Instance, str | None]) -> None:
        for instance, place in [*self._places.items()]:
            if place.draining_since is None:
                continue
            digest = wanted.get(instance, "")
            if digest in (None, place.digest):
                # It is to stay after all.
                self._places[instance] = replace(place, draining_since=None, since=self._age)
            elif self._is_drained(instance, place.draining_since):
                self._end(instance, digest)

    def _end(self, instance: Instance, digest: str | None) -> None:
        if digest:
            self._place(instance, digest)
        else:
            del self._places[instance]

    def _is_drained(self, instance: Instance, since: float) -> bool:
        facts = self._facts.get(instance)
        if facts is None or facts.is_drained or not facts.is_running:
            return True
        return self._age - since >= self._strategy.drain_s + facts.drain_grace_s

    def _retire(self, wanted: Mapping[Instance, str | None], layout: Layout) -> None:
        """Let go of instances that nobody wants any more."""
        for instance, place in [*self._places.items()]:
            if instance in wanted or place.draining_since is not None:
                continue
            is_servant = instance.colour is Colour.CANARY and self.serves(instance)
            if layout.keeps_canaries and is_servant:
                continue
            self._leave(instance, "")

    def _leave(self, instance: Instance, digest: str) -> None:
        """Let it drain if it serves, then run ``digest``; nothing if that is empty."""
        facts = self._facts.get(instance)
        drain_s = self._strategy.drain_s + (0.0 if facts is None else facts.drain_grace_s)
        if self.serves(instance) and drain_s > 0:
            self._places[instance] = replace(
                self._places[instance], draining_since=self._age, is_proved=False
            )
        else:
            self._end(instance, digest)

    def _move_live(self, wanted: Mapping[Instance, str | None], layout: Layout) -> None:
        target = layout.live_digest
        if target is None:
            return
        live = [each for each in wanted if each.colour is self.live and each in self._places]
        places = {each: self._places[each] for each in live}
        under_way = sum(1 for place in places.values() if _is_under_way(place, target))
        room, spare = layout.at_once - under_way, self.serving() - layout.floor
        waiting = [each for each in live if _is_movable(places[each], target)]
        # What does not serve goes first: it has nothing to lose.
        for instance in sorted(waiting, key=self.serves):
            cost = int(self.serves(instance))
            if room <= 0 or cost > max(0, spare):
                return
            room, spare = room - 1, spare - cost
            self._leave(instance, target)

    def _move_beside(self, wanted: Mapping[Instance, str | None], layout: Layout) -> None:
        """Give those beside their version; a servant only if the live ones can do without."""
        for instance, digest in wanted.items():
            place = self._places.get(instance)
            if instance.colour is self.live or place is None or not digest:
                continue
            if _is_movable(place, digest) and self._can_spare(instance, wanted, layout):
                self._leave(instance, digest)

    def _can_spare(
        self, instance: Instance, wanted: Mapping[Instance, str | None], layout: Layout
    ) -> bool:
        if not self.serves(instance) or self.serving() > layout.count:
            return True
        live = [self._places.get(each) for each in wanted if each.colour is self.live]
        # Whoever does not serve by now has had its time.
        return all(
            place is None or self.serves(place.instance) or self._had_its_time(place)
            for place in live
        )

    def _had_its_time(self, place: Placed) -> bool:
        return self._age - place.since > self._strategy.healthy_deadline_s


def _is_movable(place: Placed, digest: str) -> bool:
    return place.digest != digest and place.draining_since is None


def _is_under_way(place: Placed, target: str) -> bool:
    """It was begun with, and did not prove itself yet."""
    return place.draining_since is not None or (place.digest == target and not place.is_proved)
