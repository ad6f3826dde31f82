"""Two networks joined by one cable that is cut, and later is not: the mesh is one again.

Each network is a namespace of the kernel, with nodes of its own; the cable is a pair of virtual
interfaces. ``TEST_CUT_S=120`` makes the cut last two minutes instead of seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

import namespaceyard
from crowd import Crowd, View, crowd, found_names
from namespaceyard import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT: Final = 6
CUT_S: Final = float(os.environ.get("TEST_CUT_S", "12"))
# The bound on healing, and what a machine that is shared with other tests may add to any bound.
HEAL_S: Final = 60.0
SLACK_S: Final = 20.0
SIDES: Final = ("left", "right")
HOSTS: Final = tuple(f"10.{70 + namespaceyard.WORKER}.9.{number}" for number in (1, 2))


def space(side: str) -> str:
    """What a namespace is called."""
    return f"mjcut{namespaceyard.WORKER}-{side}"


def cable(state: str) -> None:
    """Cut the cable (``down``), or mend it (``up``)."""
    tool("ip", "-netns", space("left"), "link", "set", "dev", "cable", state)


@contextmanager
def networks() -> Iterator[None]:
    """Two namespaces, joined."""
    with ExitStack() as held:
        for side in SIDES:
            tool("ip", "netns", "add", space(side))
            held.callback(tool, "ip", "netns", "delete", space(side))
        peer = ("peer", "name", "cable", "netns", space("right"))
        tool("ip", "-netns", space("left"), "link", "add", "name", "cable", "type", "veth", *peer)
        for side, host in zip(SIDES, HOSTS, strict=True):
            inside = ("ip", "-netns", space(side))
            tool(*inside, "address", "add", f"{host}/24", "dev", "cable")
            for device in ("lo", "cable"):
                tool(*inside, "link", "set", "dev", device, "up")
        yield


async def part_and_heal(there: Crowd) -> dict[str, float]:
    """Form, be cut, know it, be joined, be one; what each step took in seconds."""
    groups, took = [there.names[0::2], there.names[1::2]], {}
    for side, group in zip(SIDES, groups, strict=True):
        await there.load(group, inside=("ip", "netns", "exec", space(side)))
    await there.start()
    took["form"] = await there.until(there.has_formed(there.names), SLACK_S, "all are linked")

    cable("down")
    cut_at = time.monotonic()
    own = {name: frozenset(group) for group in groups for name in group}

    def is_alone(view: View) -> bool:
        return view.alive == own[view.name]

    took["know"] = await there.until(is_alone, CUT_S + SLACK_S, "each side knows of the cut")
    await asyncio.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    took["cut"] = time.monotonic() - cut_at
    cable("up")
    took["heal"] = await there.until(there.has_formed(there.names), HEAL_S + SLACK_S, "one again")
    return took


@pytest.mark.timeout(120 + CUT_S + HEAL_S)
def test_mesh_heals_after_its_two_halves_were_cut_apart() -> None:
    namespaceyard.need_network()

    async def main() -> dict[str, float]:
        async with crowd(COUNT, hosts=HOSTS) as there:
            took = await part_and_heal(there)
            found = await there.meshes["n0"].find("n5", timeout_s=20.0)
            assert found_names(found)[0] == "n5"
            return took

    with networks():
        took = asyncio.run(main())
    sys.stdout.write(f"seconds: { {name: round(each, 2) for name, each in took.items()} }\n")
