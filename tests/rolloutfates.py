"""Rollouts that are broken off at any change, gone on with, and judged by what the machine shows.

A ``Theatre`` has one app in two or more instances, a neighbour that is never to be touched, and a
jail and a file that the reconciler does not own. ``Theatre.play`` pushes a version, lets a
reconciler meet its fate on the way, lets another end the work, and compares the end with that of
an uninterrupted run.
"""

from __future__ import annotations

import json
import re
import signal
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from applives import Lives, ended_in_traffic, fewest, twice, vanished
from doomed import Fate, Life, Nursery
from jails.process import ProcessRuntime
from jails.spec import JailSpec
from jailyard import IDLE, eventually, is_running
from maculaos.host.clock import SystemClock
from reconciler.rollouts.deployment import MOST_REJECTED
from reconciler.rollouts.instances import Colour, Instance, instance_jail, instance_of
from reconciling import REALM, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator

# A life takes seconds; this is for a machine that has much else to do.
DEADLINE_S = 180.0
APP = "apps/shop.yaml"
# Long deadlines: a good version must not fail because the machine is slow. A bad one ends for good.
TIMES = {"min_healthy_time_s": 0.1, "healthy_deadline_s": 30.0, "progress_deadline_s": 50.0}


_TURNED = {"app-shop": "g1-shop", "g1-shop": "app-shop", "a2-shop": "g2-shop", "g2-shop": "a2-shop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One strategy; ``floor`` of its instances serve at any time, come what may."""

    strategy: dict[str, Any]
    instances: int
    floor: int

    @property
    def served(self) -> int:
        """How many the traffic file names at rest; an app that cannot have several has none."""
        has_file = self.instances > 1 or self.strategy["kind"] in {"blue-green", "canary"}
        return self.instances if has_file else 0

    def spec(self, lives: Lives, version: str, *, fails: bool = False) -> str:
        """The file of the app at that version."""
        said: dict[str, Any] = {"strategy": {**TIMES, **self.strategy}, "instances": self.instances}
        if fails:
            return lives.spec(version, status=3, restart={"policy": "never"}, **said)
        return lives.spec(version, **said)


PLAYS = {
    "restart": Play(strategy={"kind": "restart"}, instances=1, floor=0),
    "rolling": Play(strategy={"kind": "rolling"}, instances=2, floor=1),
    "blue-green": Play(strategy={"kind": "blue-green", "drain_s": 0.1}, instances=2, floor=2),
    "canary": Play(strategy={"kind": "canary", "drain_s": 0.1}, instances=2, floor=2),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the machine shows when everything is at rest; equal for equal ends."""

    versions: dict[str, int]
    # Colours and numbers of the instances, and those that have the traffic.
    instances: tuple[str, ...]
    active: tuple[str, ...]
    jails: tuple[str, ...]
    owned: tuple[str, ...]
    is_stable: bool
    rejected: int
    leftovers: tuple[str, ...]


@dataclass
class Theatre:
    """A machine with one app, rolled out over and over."""

    bench: Bench
    nursery: Nursery
    play_of: Play
    stable: str = ""
    count: int = 0
    untouched: dict[str, int] = field(default_factory=dict)

    @property
    def lives(self) -> Lives:
        """Of the app."""
        return Lives(self.bench.root, "shop")

    def open(self) -> None:
        """Bring the first version, a neighbour, and what nobody owns."""
        neighbour = Lives(self.bench.root, "neighbour")
        self.stable = "v0"
        revision = self.bench.upstream.commit(
            {
                "realm.yaml": REALM,
                "nodes/n1.yaml": node("n1", 4701),
                APP: self.play_of.spec(self.lives, "v0"),
                "apps/neighbour.yaml": neighbour.spec("v1", strategy=TIMES),
            }
        )
        runtime = ProcessRuntime(self.bench.root / "state/jails", SystemClock())
        runtime.ensure(JailSpec(name="app-alien", command=IDLE))
        alien = runtime.look()["app-alien"].pid
        assert alien is not None
        (self.bench.root / "state/notes.txt").write_text("not ours")
        self.end_with(self.nursery.begin(self.bench.config), revision)
        self.untouched = {"alien": alien, "neighbour": neighbour.spans()[0].pid}

    def play(self, fate: Fate, *, fails: bool = False) -> Life:
        """Push a version, meet ``fate``, go on to the end; every law holds.

        ``fate`` is told as of a rollout that begins with the blue instances.
        """
        before, fate = self.outcome(), self._turned(fate)
        since = self._forget_the_past()
        self.count += 1
        version = f"bad{self.count}" if fails else f"v{self.count}"
        spec = self.play_of.spec(self.lives, version, fails=fails)
        revision = self.bench.upstream.commit({APP: spec})
        doomed = self.nursery.begin(self.bench.config, fate)
        eventually(
            f"{fate} is met, or all is done",
            lambda: doomed.poll() is not None or self._is_over(revision, version, fails=fails),
            DEADLINE_S,
        )
        self.stable = self.stable if fails else version
        # What was named may come about while it ends, or never.
        if doomed.poll() is not None or self._is_killed_at_its_end(doomed):
            last = self.nursery.begin(self.bench.config)
            self.end_with(last, revision, version if fails else "")
        self.check(fate, before, since, fails=fails)
        return doomed

    def end_with(self, life: Life, revision: str, rejected: str = "") -> None:
        """That reconciler brings everything to its end, and ends well itself."""
        version = rejected or self.stable
        eventually(
            f"{version} is over with, {self._shown()}",
            lambda: life.has_begun() and self._is_over(revision, version, fails=bool(rejected)),
            DEADLINE_S,
        )
        self.close(life)

    def close(self, life: Life) -> None:
        """End that reconciler as a service does."""
        life.nursery.signal(life, signal.SIGTERM)
        assert life.wait() == 0, self.nursery.log.read_text()[-3000:]

    def _is_killed_at_its_end(self, life: Life) -> bool:
        self.nursery.signal(life, signal.SIGTERM)
        assert life.wait() in (0, -signal.SIGKILL), self.nursery.log.read_text()[-3000:]
        return life.status != 0

    def outcome(self) -> Outcome:
        """What the machine shows."""
        state = self.bench.root / "state"
        deployment = self._deployment()
        placed = deployment["placed"]
        return Outcome(
            versions=dict(self.lives.running()),
            instances=tuple(f"{each['colour']}-{each['index']}" for each in placed),
            active=tuple(self._active()),
            jails=tuple(sorted(self._jails())),
            owned=tuple(sorted(json.loads((state / "inventory.json").read_text())["owned"])),
            is_stable=deployment["rollout"] is None
            and {each["digest"] for each in placed} == {deployment["stable"]},
            rejected=len(deployment["rejected"]),
            leftovers=tuple(
                str(each.relative_to(state))
                for each in state.rglob(".*")
                if each.name != ".macula-jail"
            ),
        )

    def expected(self, before: Outcome, *, fails: bool) -> Outcome:
        """What an uninterrupted run ends with."""
        versions = {self.stable: self.play_of.instances}
        end = replace(before, versions=versions, is_stable=True, leftovers=())
        if fails:
            return replace(end, rejected=min(before.rejected + 1, MOST_REJECTED))
        if self.play_of.strategy["kind"] != "blue-green":
            return end
        colours = {each.partition("-")[0] for each in before.instances}
        other = Colour.GREEN if Colour.BLUE in colours else Colour.BLUE
        row = self._row(other)
        former = {instance_jail("shop", each) for colour in Colour for each in self._row(colour)}
        names = tuple(f"{each.colour}-{each.index}" for each in row)
        jails = {*before.jails} - former | {instance_jail("shop", each) for each in row}
        return replace(end, instances=names, active=names, jails=tuple(sorted(jails)))

    def _row(self, colour: Colour) -> list[Instance]:
        return [Instance(colour, index) for index in range(1, self.play_of.instances + 1)]

    def check(self, fate: Fate, before: Outcome, since: int, *, fails: bool) -> None:
        """The end is that of an uninterrupted run, and nothing was wrong on the way."""
        spans = self.lives.spans()
        expected, found = self.expected(before, fails=fails), self.outcome()
        assert found == expected, f"{fate}: {found}, wanted {expected}"
        assert not vanished(spans), fate
        assert not twice(spans), fate
        assert not ended_in_traffic(spans), fate
        assert (
            fewest([each for each in spans if each.how != "fails"], since) >= self.play_of.floor
        ), fate
        for what, pid in self.untouched.items():
            assert is_running(pid), f"{what} was touched: {fate}"
        assert (self.bench.root / "state/notes.txt").read_text() == "not ours"
        assert len(Lives(self.bench.root, "neighbour").spans()) == 1, fate
        assert "Traceback" not in self.nursery.log.read_text(), self.nursery.log.read_text()[-3000:]

    def _turned(self, fate: Fate) -> Fate:
        if not any(each.startswith(Colour.GREEN) for each in self._active()):
            return fate
        label = re.sub(r"\b(?:app|a2|g1|g2)-shop\b", lambda at: _TURNED[at[0]], fate.label)
        return replace(fate, label=label)

    def _is_over(self, revision: str, version: str, *, fails: bool) -> bool:
        try:
            deployment = self._deployment()
            if deployment["rollout"] is not None or deployment["looked_at"] is not None:
                return False
            progress = json.loads((self.bench.root / "state/state.json").read_text())
        except (FileNotFoundError, ValueError):
            return False
        if progress["last_accepted"] != revision:
            return False
        if not fails and progress["last_applied"] != revision:
            return False
        if fails and f"{version}" not in self._tried():
            return False
        placed = {f"{each['colour']}-{each['index']}" for each in deployment["placed"]}
        if placed != self._kept():
            return False
        wanted = {self.stable if fails else version: self.play_of.instances}
        return self.lives.running() == wanted and len(self._active()) == self.play_of.served

    def _kept(self) -> set[str]:
        """The instances of which there is a jail, running or not."""
        named = map(instance_of, self._jails())
        return {f"{one[1].colour}-{one[1].index}" for one in named if one and one[0] == "shop"}

    def _jails(self) -> list[str]:
        """An empty folder is no jail: whoever comes next may have its name."""
        folders = (self.bench.root / "state/jails").iterdir()
        return [each.name for each in folders if any(each.iterdir())]

    def _tried(self) -> set[str]:
        return {each.version for each in self.lives.spans()}

    def _shown(self) -> str:
        return str(self.outcome()) if (self.bench.root / "state/deployments.jsonl").exists() else ""

    def _deployment(self) -> dict[str, Any]:
        lines = (self.bench.root / "state/deployments.jsonl").read_text().splitlines()
        every = {one["app"]: one["deployment"] for one in map(json.loads, lines)}
        return dict(every.get("shop") or {"rollout": "none yet"})

    def _active(self) -> list[str]:
        try:
            said = json.loads(self.lives.traffic.read_text())
        except FileNotFoundError:
            return []
        return [each["instance"] for each in said["active"]]

    def _forget_the_past(self) -> int:
        """Keep the lines of those who run; return the moment from which laws are looked at."""
        running = {each.pid for each in self.lives.spans() if each.ended_at is None}
        lines = self.lives.file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if int(line.split()[5]) in running]
        self.lives.file.write_text("".join(kept))
        return max(int(line.split()[0]) for line in kept)


@contextmanager
def a_theatre(kind: str) -> Iterator[Theatre]:
    """A theatre for rollouts of that kind."""
    with a_bench() as bench:
        # Git is asked once in a life: what repeats itself says nothing new.
        poll = {"interval_s": 60.0, "backoff_base_s": 0.05, "backoff_max_s": 0.2}
        health = {"interval_s": 0.1, "timeout_s": 0.5}
        bench.configure(poll=poll, health=health, drift_interval_s=0.5)
        with Nursery(bench.root) as nursery:
            theatre = Theatre(bench, nursery, PLAYS[kind])
            try:
                theatre.open()
                yield theatre
            finally:
                runtime = ProcessRuntime(bench.root / "state/jails", SystemClock())
                for jail in runtime.look():
                    runtime.remove(jail)
