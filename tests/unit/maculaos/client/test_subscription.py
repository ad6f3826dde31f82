"""What a program hears: bounded queues and their policies, credit, and what counts as taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.client import CallFailed, NodeUnreachable
from maculaos.client.watching import MAX_WINDOW
from maculaos.errors import UsageError
from maculaos.wire.events import Delivery, Taken, Unwatch, Watch
from maculaos.wire.messages import RpcError
from maculaos.wire.registry import Policy, RpcErrorCode
from stagenode import PUBLISHER, StageNode, on_stage, turn

if TYPE_CHECKING:
    from maculaos.client import Event, Mesh, Subscription, Value


async def queued(subscription: Subscription, count: int) -> list[Value]:
    """The next payloads."""
    return [(await anext(subscription)).payload for _ in range(count)]


def test_every_pattern_is_watched_and_the_node_answers() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = await mesh.subscribe("a.*", "b.**", group="g", policy="block").ready()
        first, second = node.heard(Watch)
        assert (first.pattern, second.pattern) == ("a.*", "b.**")
        assert (first.group, first.policy) == ("g", Policy.BLOCK)
        assert first.credit + first.queue == 10_000
        subscription.close()
        assert {each.subscription for each in node.heard(Unwatch)} == {1, 2}

    on_stage(play)


def test_what_the_node_refuses_ends_the_subscription_with_the_reason() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Watch,)
        subscription = mesh.subscribe("a")
        (watch,) = node.heard(Watch)
        node.tell(RpcError(watch.request, RpcErrorCode.OVERLOADED, "too many"))
        with pytest.raises(CallFailed, match="OVERLOADED: too many"):
            await subscription.ready()
        with pytest.raises(CallFailed, match="OVERLOADED"):
            await anext(subscription)

    on_stage(play)


def test_a_node_may_end_a_subscription_that_it_knew() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = await mesh.subscribe("t", policy="disconnect").ready()
        (watch,) = node.heard(Watch)
        node.deliver(1)
        node.tell(RpcError(watch.request, RpcErrorCode.OVERLOADED, "it fell behind"))
        assert await queued(subscription, 1) == [1]
        with pytest.raises(CallFailed, match="it fell behind"):
            await anext(subscription)

    on_stage(play)


def test_an_event_tells_where_it_comes_from() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t")
        node.deliver("x", {"y": [1]}, first=41)
        first, second = await anext(subscription), await anext(subscription)
        assert (first.topic, first.publisher, first.payload) == ("t", PUBLISHER.hex(), "x")
        assert (second.sequence, second.payload) == (42, {"y": [1]})
        assert not second.is_retained

    on_stage(play)


@given(st.integers(1, 8), st.lists(st.integers(1, 6), max_size=12), st.sampled_from(["o", "n"]))
def test_a_full_queue_holds_the_newest_or_the_oldest_and_counts_the_rest(
    size: int, runs: list[int], kept: str
) -> None:
    policy = {"o": "drop-newest", "n": "drop-oldest"}[kept]

    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=size, policy=policy)
        total = 0
        for length in runs:
            node.deliver(*range(total, total + length), first=total)
            total += length
        every = list(range(total))
        wanted = every[:size] if kept == "o" else every[max(0, total - size) :]
        assert await queued(subscription, len(wanted)) == wanted
        assert subscription.dropped == total - len(wanted)

    on_stage(play)


def test_a_subscription_that_disconnects_ends_when_it_falls_behind() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=3, policy="disconnect")
        node.deliver(1, 2, 3)
        node.deliver(4)
        assert await queued(subscription, 3) == [1, 2, 3]
        with pytest.raises(CallFailed, match="OVERLOADED: 3 events wait"):
            await anext(subscription)
        assert len(node.heard(Unwatch)) == 1

    on_stage(play)


def test_a_blocking_subscription_gives_credit_back_as_the_program_takes() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=8, policy="block")
        (watch,) = node.heard(Watch)
        assert watch.credit == 4
        node.deliver(1, 2, 3, 4)
        await turn(2)
        assert node.heard(Taken) == []
        # An event is taken when the program comes back for the next one.
        await queued(subscription, 2)
        await turn(2)
        assert node.heard(Taken) == []
        await queued(subscription, 1)
        await turn(2)
        (taken,) = node.heard(Taken)
        assert (taken.subscription, taken.credit, taken.deliveries) == (1, 2, ())

    on_stage(play)


def test_credit_comes_back_at_once_where_events_may_be_dropped() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        mesh.subscribe("t", queue_size=4)
        node.deliver(1)
        await turn(2)
        assert node.heard(Taken) == []
        node.deliver(2, 3)
        await turn(2)
        (taken,) = node.heard(Taken)
        assert taken.credit == 3

    on_stage(play)


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest", "block", "disconnect"])
def test_an_acknowledged_run_is_taken_when_the_program_comes_back_after_its_last(
    policy: str,
) -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", policy=policy)
        node.deliver("a", "b", number=7)
        await queued(subscription, 2)
        await turn(2)
        assert node.heard(Taken) == []
        coming_back = asyncio.ensure_future(anext(subscription))
        await turn(3)
        (taken,) = node.heard(Taken)
        assert (taken.credit, taken.deliveries) == (2, (7,))
        node.deliver("c")
        assert (await coming_back).payload == "c"

    on_stage(play)


def test_acknowledged_events_are_never_dropped() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=2)
        node.deliver("a", "b", number=7)
        node.deliver("c")
        assert await queued(subscription, 2) == ["a", "b"]
        assert subscription.dropped == 1
        node.deliver("d", "e", "f", number=8)
        assert await queued(subscription, 3) == ["d", "e", "f"]

    on_stage(play)


def test_a_callback_hears_every_event_and_confirms_by_returning() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        heard: list[Event] = []
        mesh.subscribe("t", callback=heard.append)
        node.deliver("a", "b", number=7, first=5)
        await turn()
        assert [(each.payload, each.sequence) for each in heard] == [("a", 5), ("b", 6)]
        (taken,) = node.heard(Taken)
        assert taken.deliveries == (7,)

    on_stage(play)


def test_a_callback_that_fails_is_reported_and_hears_the_next_event() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        heard: list[Value] = []

        def hear(event: Event) -> None:
            if event.payload == 2:
                raise ValueError("not two")
            heard.append(event.payload)

        mesh.subscribe("t", callback=hear)
        node.deliver(1, 2, 3)
        assert heard == [1, 3]
        assert [str(each["exception"]) for each in reported] == ["not two"]

    on_stage(play)


def test_what_is_no_value_is_counted_and_passed_over() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        one, other = mesh.subscribe("t"), mesh.subscribe("t", callback=lambda _: None)
        node.tell(Delivery(0, (1, 2), "t", PUBLISHER, 1, (Raw(b"\xc1"), Raw(b"\x05"))))
        assert await queued(one, 1) == [5]
        assert (one.refused, other.refused) == (1, 1)

    on_stage(play)


def test_an_event_of_two_patterns_of_one_subscription_comes_once() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        both, alone = mesh.subscribe("t", "*"), mesh.subscribe("t")
        node.deliver("a", number=3, subscriptions=(1, 2, 3))
        node.deliver("b", number=4, subscriptions=(1, 2, 3))
        assert await queued(both, 2) == ["a", "b"]
        await turn(2)
        # The delivery is taken when everybody has taken it.
        assert [each.deliveries for each in node.heard(Taken) if each.deliveries] == []
        assert await queued(alone, 2) == ["a", "b"]
        await turn(2)
        assert [each.deliveries for each in node.heard(Taken) if each.deliveries] == [(3,)]

    on_stage(play)


def test_who_closes_keeps_nobody_waiting() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        one, other = mesh.subscribe("t"), mesh.subscribe("t")
        node.deliver("a", "b", number=3, subscriptions=(1, 2))
        await queued(one, 2)
        await queued(other, 1)
        one.close()
        other.close()
        assert [event async for event in one] == []
        await turn(2)
        said = [type(each) for each in node.said if isinstance(each, Taken | Unwatch)]
        assert said.index(Unwatch) >= 0
        assert node.heard(Unwatch)

    on_stage(play)


def test_subscriptions_come_back_with_the_node_and_their_credit_counts_what_is_held() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=8, policy="block")
        closed = mesh.subscribe("u")
        closed.close()
        node.heard(Watch)
        node.deliver(1, 2, 3, number=5)
        node.fall()
        await node.connected.wait()
        await turn()
        (watch,) = node.heard(Watch)
        assert (watch.subscription, watch.pattern, watch.credit) == (1, "t", 1)
        assert await queued(subscription, 3) == [1, 2, 3]
        coming_back = asyncio.ensure_future(anext(subscription))
        await turn(3)
        # The delivery was one of the connection before; the last event is not half of the credit.
        (taken,) = node.heard(Taken)
        assert (taken.credit, taken.deliveries) == (2, ())
        node.deliver(4)
        assert (await coming_back).payload == 4

    on_stage(play)


def test_a_node_that_is_gone_for_good_ends_the_loop_after_what_is_queued() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t")
        node.deliver(1)
        node.fall()
        assert await queued(subscription, 1) == [1]
        with pytest.raises(NodeUnreachable, match="is gone"):
            await anext(subscription)
        with pytest.raises(NodeUnreachable):
            mesh.subscribe("t")

    on_stage(play, reconnect=False)


def test_the_window_is_bounded() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        mesh.subscribe("t", queue_size=1_000_000)
        (watch,) = node.heard(Watch)
        assert (watch.credit, watch.queue) == (MAX_WINDOW, 1_000_000)

    on_stage(play)


@given(
    st.sampled_from(["block", "drop-oldest"]),
    st.integers(1, 9),
    st.lists(st.tuples(st.sampled_from(["deliver", "confirm", "take", "turn"]), st.integers(1, 4))),
)
def test_a_node_that_keeps_to_its_credit_is_never_refused_and_gets_all_of_it_back(
    policy: str, size: int, steps: list[tuple[str, int]]
) -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        subscription = mesh.subscribe("t", queue_size=size, policy=policy)
        window = credit = node.heard(Watch)[0].credit
        sent, numbers = 0, 0
        confirmed: list[int] = []
        for what, count in [*steps, ("turn", 1)]:
            if what in {"deliver", "confirm"} and count <= credit:
                numbers += what == "confirm"
                number = numbers if what == "confirm" else 0
                node.deliver(*range(sent, sent + count), first=sent, number=number)
                sent, credit = sent + count, credit - count
            elif what == "take":
                for _ in range(min(count, subscription.waiting)):
                    await anext(subscription)
            await turn()
            for taken in node.heard(Taken):
                credit += taken.credit
                confirmed += taken.deliveries
            assert 0 <= credit <= window
            # What may be sent, what waits here, and what is too little to be told of.
            assert credit + subscription.waiting + (window + 1) // 2 + 1 >= window
        assert confirmed == sorted(set(confirmed))
        if policy == "block":
            assert subscription.dropped == 0

    on_stage(play)


def test_what_makes_no_sense_is_refused_at_once() -> None:
    async def play(_node: StageNode, mesh: Mesh) -> None:
        async def hear(_event: Event) -> None: ...

        mistakes: tuple[tuple[tuple[str, ...], dict[str, Any], str], ...] = (
            ((), {}, "needs a topic"),
            (("a*",), {}, "no whole segment"),
            (("a",), {"policy": "keep"}, "no policy"),
            (("a",), {"queue_size": 0}, "queue_size is 0"),
            (("a",), {"callback": hear}, "a plain function"),
        )
        for topics, options, said in mistakes:
            with pytest.raises(UsageError, match=said):
                mesh.subscribe(*topics, **options)

    on_stage(play)
