"""Timelines of rollouts for ``docs/rollouts.md``, drawn by the real decider on a model machine.

``PYTHONPATH=.:tests python -m rolloutpictures`` draws those in the document anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.rollouts.decision import Order, Wish, Word
from reconciler.rollouts.spec import Strategy
from rollingmachine import RollingMachine

if TYPE_CHECKING:
    from reconciler.rollouts.instances import Instance

DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "rollouts.md"
STEP_S: Final = 5
MOST_STEPS: Final = 60
_MARKED: Final = re.compile(r"<!-- timeline (\S+) -->\n.*?<!-- end -->", re.DOTALL)


@dataclass(frozen=True)
class Scene:
    """One picture: what is stable, what comes, and what an operator says when."""

    strategy: Strategy
    goal: str = "B"
    instances: int = 3
    stable: str = "A"
    words: tuple[tuple[int, Word], ...] = ()


def _strategy(**words: object) -> Strategy:
    short: dict[str, object] = {"healthy_deadline_s": 35.0, "progress_deadline_s": 60.0}
    return Strategy(**{**short, **words})  # type: ignore[arg-type]  # the words of a spec


SCENES: Final = {
    "restart": Scene(_strategy(kind="restart")),
    "rolling": Scene(_strategy()),
    "rolling-two": Scene(_strategy(max_parallel=2), instances=4),
    "rolling-bad": Scene(_strategy(), goal="X"),
    "blue-green": Scene(_strategy(kind="blue-green", drain_s=15.0), instances=2),
    "blue-green-bad": Scene(_strategy(kind="blue-green"), goal="X", instances=2),
    "canary": Scene(_strategy(kind="canary", auto_promote=False), words=((40, Word.PROMOTE),)),
    "canary-abort": Scene(_strategy(kind="canary", auto_promote=False), words=((40, Word.ABORT),)),
    "first-bad": Scene(_strategy(), goal="X", instances=2, stable=""),
}


def picture(name: str) -> str:
    """The timeline of one scene, a letter for each ``STEP_S`` seconds."""
    scene = SCENES[name]
    machine = _prepared(scene)
    rows: dict[Instance, str] = {}
    said: list[str] = []
    begun = machine.now
    for step in range(MOST_STEPS):
        second = step * STEP_S
        orders = [Order(word) for at, word in scene.words if at == second]
        # An instance shows what it was until this look.
        _draw(machine, rows, step)
        decision = machine.look(*orders)
        said += [f"{second:4} s  {event}" for event in decision.events]
        if decision.next_at is None:
            break
        machine.now = begun + second + STEP_S
    _draw(machine, rows, step + 1)
    width = max(map(len, rows.values()))
    drawn = [f"{instance!s:<9} {rows[instance]:<{width}}".rstrip() for instance in sorted(rows)]
    return "\n".join([*drawn, "", *said]) + "\n"


def _prepared(scene: Scene) -> RollingMachine:
    wish = Wish(goal=scene.stable or scene.goal, instances=scene.instances, strategy=scene.strategy)
    machine = RollingMachine(wish, good={"A": 8.0, "B": 8.0})
    if scene.stable:
        machine.run_until_quiet()
        machine.now += 100.0
        machine.events.clear()
        machine.want(scene.goal)
    return machine


def _draw(machine: RollingMachine, rows: dict[Instance, str], step: int) -> None:
    drains = {
        place.instance for place in machine.deployment.placed if place.draining_since is not None
    }
    for instance in machine.programs.keys() | rows.keys():
        row = rows.setdefault(instance, " " * step)
        program = machine.programs.get(instance)
        if program is None:
            letter = " "
        elif instance in drains:
            letter = "~"
        elif program.takes_traffic and machine.is_healthy(instance):
            letter = program.digest
        else:
            letter = program.digest.lower()
        rows[instance] = row + letter


def with_pictures(text: str) -> str:
    """``text`` with every timeline between its marks drawn anew."""
    return _MARKED.sub(lambda mark: _between_marks(mark[1]), text)


def names(text: str) -> list[str]:
    """The timelines that ``text`` has marks for."""
    return _MARKED.findall(text)


def _between_marks(name: str) -> str:
    return f"<!-- timeline {name} -->\n```\n{picture(name)}```\n<!-- end -->"


if __name__ == "__main__":
    DOCUMENT.write_text(with_pictures(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
