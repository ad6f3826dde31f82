"""The attendant runs what is due, once for each start of a program, and tells once what failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from jails.hooks import HookFailed
from jails.memory import MemoryRuntime
from jails.spec import HookKind
from maculaos.host.clock import FakeClock
from reconciler.fleet import Member
from reconciler.hooks.attendant import RETRY_S, Attendant
from reconciler.hooks.record import HookRecord
from reconciler.hooks.spec import LifeHooks
from reconciler.observed import World
from reconciler.passage import Look, Opinion, Passage, pass_over, run_of
from reconciler.render import MachinePaths, Rendered, render_member
from reconciler.rollouts.deployment import Deployment
from reconciler.rollouts.instances import FIRST
from reconciler.specs.items import Item, made_item, version_of
from reconciler.specs.spec import AppSpec

MACHINE = MachinePaths(
    macula=("/bin/macula",), credentials_dir=Path("/c"), run_dir=Path("/run/macula")
)
JAIL = "app-shop"


class HookedRuntime(MemoryRuntime):
    """Hooks that fail as long as they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_bad = False

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        super().hook(name, kind, extra_s)
        if self.is_bad:
            raise HookFailed(name, kind, "exit status 3")
        return True


@dataclass
class Stage:
    """One app on a machine in memory, and its attendant."""

    folder: Path
    version: str = "v1"
    runtime: HookedRuntime = field(default_factory=HookedRuntime)
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, HookKind, str]] = field(default_factory=list)
    deployments: dict[str, Deployment] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.old = self.item("v1")
        self.runtime.ensure(render_member(Member(FIRST, self.app("v1")), "demo", MACHINE))
        self.attendant = self.another()

    def another(self) -> Attendant:
        """The attendant of the next reconciler."""
        return Attendant(
            self.runtime, self.clock, HookRecord(self.folder), lambda *said: self.told.append(said)
        )

    def app(self, version: str) -> AppSpec:
        hooks = LifeHooks(start=("announce",), drain=("withdraw",), stop=("save",))
        return AppSpec(version=1, name="shop", node="n1", command=("run", version), hooks=hooks)

    def item(self, version: str) -> Item:
        return made_item(self.app(version), "demo")

    def passage(self) -> Passage:
        """What is decided now, and remembered."""
        wanted = self.item(self.version)
        look = Look(
            found=self.runtime.look(),
            deployments=self.deployments,
            versions={version_of(each): each for each in (self.old, wanted)},
            machine=MACHINE,
            now=self.clock.monotonic(),
            drained=self.attendant.drained,
            opinions={JAIL: Opinion(self.run, is_healthy=True)},
        )
        passage = pass_over({"shop": wanted}, {"shop": version_of(wanted)}, look)
        self.deployments = {"shop": passage.decisions["shop"].deployment}
        return passage

    @property
    def run(self) -> str:
        return run_of(self.runtime.look()[JAIL])

    def attend(self, passage: Passage, attendant: Attendant | None = None) -> None:
        """Once, until everything that was due has ended."""
        attendant = attendant or self.attendant
        jails = {
            jail: render_member(member, "demo", MACHINE) for jail, member in passage.fleet.items()
        }
        world = World(rendered=Rendered(jails, {}), found=self.runtime.look(), passage=passage)

        async def main() -> None:
            attendant.attend(world, passage)
            others = asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())}
            await asyncio.gather(*others)

        asyncio.run(main())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def begin_drain(stage: Stage) -> Passage:
    """The stable version is about to be replaced."""
    stage.deployments = {"shop": replace(stage.deployments["shop"], rollout=None)}
    stage.deployments = {
        "shop": replace(stage.deployments["shop"], stable=version_of(stage.old), looked_at=None)
    }
    stage.version = "v2"
    passage = stage.passage()
    assert passage.decisions["shop"].assignments[0].is_draining
    return passage


def test_start_hook_is_run_once_for_each_start_of_a_program(stage: Stage) -> None:
    app = stage.app("v1")
    assert stage.attendant.obstacle(JAIL, app, stage.run)
    for _ in range(3):
        stage.attend(stage.passage())
    assert stage.runtime.hooked == [(JAIL, HookKind.START)]
    assert not stage.attendant.obstacle(JAIL, app, stage.run)
    stage.runtime.crash(JAIL)
    stage.runtime.restart(JAIL)
    assert stage.attendant.obstacle(JAIL, app, stage.run)
    stage.attend(stage.passage())
    assert stage.runtime.hooked == [(JAIL, HookKind.START)] * 2


def test_next_reconciler_runs_no_start_hook_again_that_ended_well(stage: Stage) -> None:
    stage.attend(stage.passage())
    stage.attend(stage.passage(), stage.another())
    assert len(stage.runtime.hooked) == 1


def test_start_hook_that_fails_is_told_once_and_tried_again_after_a_while(stage: Stage) -> None:
    stage.runtime.is_bad = True
    for _ in range(3):
        stage.attend(stage.passage())
    assert len(stage.runtime.hooked) == 1
    assert stage.told == [(JAIL, HookKind.START, "its start hook: exit status 3")]
    assert "exit status 3" in stage.attendant.obstacle(JAIL, stage.app("v1"), stage.run)
    stage.clock.sleep(RETRY_S + 0.1)
    stage.attend(stage.passage())
    assert len(stage.runtime.hooked) == 2
    assert len(stage.told) == 1
    stage.runtime.is_bad = False
    stage.clock.sleep(2 * RETRY_S + 0.1)
    stage.attend(stage.passage())
    assert not stage.attendant.obstacle(JAIL, stage.app("v1"), stage.run)


@pytest.mark.parametrize("is_bad", [False, True])
def test_drain_hook_is_run_once_when_the_traffic_is_gone(stage: Stage, is_bad: bool) -> None:
    stage.attend(stage.passage())
    passage = begin_drain(stage)
    stage.runtime.is_bad = is_bad
    for _ in range(3):
        stage.attend(passage)
    assert stage.runtime.hooked[1:] == [(JAIL, HookKind.DRAIN)]
    assert stage.attendant.drained[JAIL].is_ok is not is_bad
    assert len(stage.told) == is_bad
    # Whatever came of it, nothing is waited for any more.
    (assignment,) = stage.passage().decisions["shop"].assignments
    assert not assignment.is_draining


def test_next_reconciler_runs_no_drain_hook_again_that_ended(stage: Stage) -> None:
    stage.attend(stage.passage())
    passage = begin_drain(stage)
    stage.attend(passage)
    another = stage.another()
    another.attend(World(found=stage.runtime.look()), None)
    stage.attend(passage, another)
    assert [kind for _, kind in stage.runtime.hooked] == [HookKind.START, HookKind.DRAIN]


def test_who_takes_traffic_after_all_is_started_anew(stage: Stage) -> None:
    stage.attend(stage.passage())
    stage.attend(begin_drain(stage))
    stage.attend(stage.passage())
    stage.attendant = stage.another()
    stage.version = "v1"
    back = stage.passage()
    assert not back.decisions["shop"].assignments[0].is_draining
    stage.attend(back)
    kinds = [kind for _, kind in stage.runtime.hooked]
    assert kinds == [HookKind.START, HookKind.DRAIN, HookKind.START]
