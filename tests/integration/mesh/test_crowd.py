"""25 real nodes on one machine: they form, lose five at once, close the gap, and take them back.

The ordinary run has five nodes in each of five processes. With ``TEST_CROWD=processes``
every node has a process of its own, and the five that are killed are killed one by one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from crowd import Crowd, View, crowd, found_names
from node_process import macula

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from maculaos.client import Mesh, Value

COUNT: Final = 25
LOST: Final = 5
# What a machine that is shared with other tests may add to any bound.
SLACK_S: Final = 60.0
# Links beyond those wanted that may stay: made while views differed, for the other end to close.
FEW: Final = 2
# An answer of a node on a busy machine may come too late for one lookup, and then for another.
TRIES: Final = 5
# A shorter grace than the default saves seconds; detection runs with the defaults.
MORE: Final = "topology: {grace_s: 3.0}\n"
PER_PROCESS: Final = 1 if os.environ.get("TEST_CROWD") == "processes" else 5


class Story:
    """The crowd, the programs at some of its nodes, and how long each step took in seconds."""

    def __init__(self, there: Crowd) -> None:
        self.there = there
        self.groups = [
            there.names[start : start + PER_PROCESS] for start in range(0, COUNT, PER_PROCESS)
        ]
        # Not the seed, which is in the first group.
        self.lost_groups = self.groups[-LOST // PER_PROCESS :]
        self.lost = tuple(name for group in self.lost_groups for name in group)
        self.left = tuple(name for name in there.names if name not in self.lost)
        self.offering: dict[str, Mesh] = {}
        self.took: dict[str, float] = {}

    async def form(self) -> None:
        """From a cold start to every link that is wanted, and none too many."""
        there = self.there
        await there.load(*self.groups)
        began = time.monotonic()
        await there.start()
        await there.until(there.has_formed(there.names), 5 + SLACK_S, "all are linked")
        self.took["form"] = time.monotonic() - began
        wanted = there.wanted(there.names)
        self.took["tidy"] = await there.until(
            lambda view: len(view.linked) <= len(wanted[view.name]) + FEW,
            10 + SLACK_S,
            "no link too many",
        )

    async def offer(self) -> None:
        """At some nodes, programs want a topic and answer a method with the node's name."""
        self.offering = {name: self.there.meshes[name] for name in self.left[:3]}
        for name, mesh in self.offering.items():
            mesh.subscribe("news")
            await mesh.register("where", partial(_said, name))

    async def lose(self) -> None:
        """Five are killed: all others find what they look for, know the dead, and relink."""
        there, began = self.there, time.monotonic()
        await there.kill(*self.lost_groups)
        await asyncio.gather(*(self._finds_first(name, self.left[5]) for name in self.left))
        dead = self.lost

        def knows(view: View) -> bool:
            return all(view.healths[name] == "dead" for name in dead)

        await there.until(knows, 10 + SLACK_S, "the dead are known")
        self.took["detect"] = time.monotonic() - began
        await there.until(there.has_formed(self.left), 10 + SLACK_S, "the gap is closed")
        self.took["heal"] = time.monotonic() - began

    async def take_back(self) -> None:
        """The five start again, with the same names."""
        there = self.there
        await there.load(*self.lost_groups)
        began = time.monotonic()
        await there.start(*self.lost_groups)
        await there.until(there.has_formed(there.names), 10 + SLACK_S, "they are back")
        self.took["return"] = time.monotonic() - began

    async def check_lookups(self, living: Iterable[str]) -> None:
        """From every node another one is found; from some, the topic and the method, too."""
        alive = sorted(living)
        turned = [*alive[7:], *alive[:7]]
        found = [self._finds(one, goal, alive) for one, goal in zip(alive, turned, strict=True)]
        await asyncio.gather(*found, *map(self._finds_offers, alive[::4]))

    async def check_verb(self) -> None:
        """``macula find`` says the same to people and to machines."""
        path = self.there.folder / f"{self.left[1]}.sock"
        asked = ("find", self.left[5]), ("find", "--method", "where", "--json")
        told, shown = await asyncio.gather(
            *(asyncio.to_thread(macula, *words, socket_path=path) for words in asked)
        )
        assert told.returncode == 0, told.stderr
        assert told.stdout.splitlines()[1].split()[0] == self.left[5]
        assert sorted(found_names(json.loads(shown.stdout))) == sorted(self.offering)

    async def check_messages(self) -> None:
        """Events and calls reach nodes that the sender is not linked with."""
        meshes = self.there.meshes
        views = [await self.there.view(name) for name in meshes]
        sender = next(view.name for view in views if not view.linked & self.offering.keys())
        hearing = [mesh.subscribe("far.news") for mesh in self.offering.values()]
        for mesh in self.offering.values():
            await mesh.ping()
        await meshes[sender].publish("far.news", sender)
        for subscription in hearing:
            assert (await anext(subscription)).payload == sender
            subscription.close()
        for _ in range(4):
            assert await meshes[sender].call("where", timeout_s=20.0) in self.offering

    async def _finds_first(self, asker: str, goal: str) -> None:
        """That node finds ``goal``, first of all."""
        mesh = self.there.meshes[asker]
        if asker != goal:
            await _found(lambda: mesh.find(goal, timeout_s=20.0), lambda names: names[:1] == [goal])

    async def _finds(self, asker: str, goal: str, alive: list[str]) -> None:
        """That node finds ``goal`` and the others closest to it, in order."""
        mesh, others = self.there.meshes[asker], [name for name in alive if name != asker]
        nearest = self.there.nearest(goal, others)[:20]
        await _found(lambda: mesh.find(goal, timeout_s=20.0), nearest.__eq__)

    async def _finds_offers(self, asker: str) -> None:
        """That node finds who wants the topic, and who answers the method."""
        mesh, offering = self.there.meshes[asker], sorted(self.offering)

        def is_right(names: list[str]) -> bool:
            return sorted(names) == offering

        await _found(lambda: mesh.find(topic="news", timeout_s=20.0), is_right)
        await _found(lambda: mesh.find(method="where", timeout_s=20.0), is_right)


def _said(name: str, _value: Value) -> Value:
    return name


async def _found(
    find: Callable[[], Awaitable[dict[str, Any]]], is_right: Callable[[list[str]], bool]
) -> None:
    """What is found is right, if not at once then soon."""
    for _ in range(TRIES):
        names = found_names(await find())
        if is_right(names):
            return
    raise AssertionError(f"{TRIES} times wrong, at last: {names}")


@pytest.mark.timeout(300)
def test_25_nodes_form_survive_five_kills_and_take_them_back() -> None:
    async def main() -> dict[str, float]:
        async with crowd(COUNT, MORE) as there:
            story = Story(there)
            await story.form()
            await story.offer()
            await story.check_lookups(there.names)
            await story.check_messages()
            await story.check_verb()
            await story.lose()
            await story.check_lookups(story.left)
            await story.check_messages()
            await story.take_back()
            await story.check_lookups(there.names)
            await story.check_messages()
            return story.took

    took = asyncio.run(main())
    sys.stdout.write(f"seconds: { {name: round(each, 2) for name, each in took.items()} }\n")
