"""Who is linked, for methods that want to know."""

from __future__ import annotations

import asyncio

from discovering import bounded, identity
from maculaos.discovery.linked import RECENT_MAX, Linked

AT = ("10.0.0.1:4701",)


def test_links_are_known_while_they_are_up_and_recent_ones_a_while_longer() -> None:
    linked, one, two = Linked(), identity("n1").node_id, identity("n2").node_id
    linked.up(1, one, AT)
    linked.up(2, two, AT)
    linked.down(1)
    linked.down(7)
    assert linked.now() == ((two, AT),)
    assert linked.since(0) == ((one, AT), (two, AT))
    assert linked.since(1) == ((two, AT),)
    linked.up(3, one, ())
    assert linked.since(1) == ((two, AT), (one, ()))


def test_recent_links_are_bounded() -> None:
    linked = Linked()
    for number in range(3 * RECENT_MAX):
        linked.up(number, identity(f"n{number}").node_id, AT)
        linked.down(number)
    assert len(linked.since(0)) == RECENT_MAX
    assert linked.now() == ()


def test_everybody_who_waits_hears_of_a_link_and_nobody_misses_one() -> None:
    async def main() -> None:
        linked = Linked()
        waiting = [asyncio.create_task(linked.wait(0)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        linked.up(1, identity("n1").node_id, AT)
        assert await asyncio.gather(*waiting) == [1, 1]
        linked.up(2, identity("n1").node_id, AT)
        assert await linked.wait(1) == 2

    bounded(main())
