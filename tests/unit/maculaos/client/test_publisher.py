"""What a program publishes: gathered into runs, in order, bounded, and answered for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.client import CallFailed, NodeUnreachable
from maculaos.client.publisher import MAX_RUN_BYTES, MAX_UNDER_WAY, MAX_WAITING_BYTES
from maculaos.errors import UsageError
from maculaos.wire.events import Post
from maculaos.wire.messages import RpcError, RpcResult, encode_message
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import MAX_VALUE_SIZE, decode_value, encode_value
from stagenode import StageNode, on_stage, turn

if TYPE_CHECKING:
    from maculaos.client import Mesh, Value


def values_of(posts: list[Post]) -> list[tuple[str, Value]]:
    """Topics and values, in the order in which they were posted."""
    return [(post.topic, decode_value(each)) for post in posts for each in post.payloads]


def test_values_of_one_turn_to_one_topic_travel_together() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        for number in range(100):
            mesh.publish_now("a", number)
        assert node.heard(Post) == []
        await turn()
        (post,) = node.heard(Post)
        assert (post.request, post.acknowledge, len(post.payloads)) == (0, False, 100)
        assert values_of([post]) == [("a", number) for number in range(100)]

    on_stage(play)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["normal", "urgent"]), st.booleans()),
        max_size=40,
    )
)
def test_everything_arrives_once_and_in_order(wishes: list[tuple[str, str, bool]]) -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        for number, (topic, priority, turns) in enumerate(wishes):
            mesh.publish_now(topic, number, priority=priority)
            if turns:
                await turn()
        await mesh.drain()
        wanted = [(topic, number) for number, (topic, _, _) in enumerate(wishes)]
        assert values_of(node.heard(Post)) == wanted

    on_stage(play)


def test_a_run_is_bounded_in_bytes_and_in_number() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        for _ in range(2000):
            mesh.publish_now("a", b"")
        for _ in range(5):
            mesh.publish_now("a", b"x" * (MAX_RUN_BYTES // 2))
        await turn()
        posts = node.heard(Post)
        assert max(len(post.payloads) for post in posts) <= 512
        assert max(sum(map(len, post.payloads)) for post in posts) <= 2 * MAX_RUN_BYTES
        assert sum(len(post.payloads) for post in posts) == 2005

    on_stage(play)


def test_a_large_value_travels_alone_so_that_a_frame_can_hold_it() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        for size in (1000, MAX_VALUE_SIZE - 100, 2000):
            mesh.publish_now("a", b"x" * size)
        await mesh.publish_many("a", [b"y", b"x" * (MAX_VALUE_SIZE - 100), b"z"])
        posts = node.heard(Post)
        assert [len(post.payloads) for post in posts] == [1, 1, 1, 1, 1, 1]
        for post in posts:
            encode_message(post)

    on_stage(play)


def test_a_full_node_is_waited_for_and_too_much_is_refused() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.is_full = True
        large = b"x" * (MAX_WAITING_BYTES // 16)

        def publish_on() -> None:
            for _ in range(20):
                mesh.publish_now("a", large)

        with pytest.raises(CallFailed, match=r"OVERLOADED: .* await mesh.drain\(\)"):
            publish_on()
        draining = asyncio.ensure_future(mesh.drain())
        await turn(3)
        assert node.heard(Post) == []
        assert not draining.done()
        node.make_room()
        await draining
        assert 16 <= len(values_of(node.heard(Post))) <= 18

    on_stage(play)


def test_many_that_wait_for_room_have_it_in_the_order_in_which_they_came() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        payload = b"x" * 1_000_000
        node.leaves_open = (Post,)
        node.is_full = True
        posted: list[Post] = []
        publishing: list[asyncio.Task[int]] = []
        for number in range(100):
            waiting = mesh.publish(f"n{number}", payload, 20.0, acknowledge=True)
            publishing.append(asyncio.create_task(waiting))
            await turn()
        node.make_room()
        while len(posted) < 100:
            await turn()
            posts = node.heard(Post)
            posted += posts
            if posts and len(publishing) < 120:
                # Whoever comes now stands behind all that wait.
                late = mesh.publish(f"n{len(publishing)}", b"", 20.0, acknowledge=True)
                publishing.append(asyncio.create_task(late))
            for post in posts:
                node.tell(RpcResult(post.request, encode_value([1, 1])))
        while len(posted) < len(publishing):
            await turn()
            posts = node.heard(Post)
            posted += posts
            for post in posts:
                node.tell(RpcResult(post.request, encode_value([1, 1])))
        assert await asyncio.gather(*publishing) == [1] * len(publishing)
        assert [post.topic for post in posted] == [f"n{each}" for each in range(len(posted))]

    on_stage(play)


def test_who_gives_up_waiting_for_room_keeps_nobody_from_it() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.is_full = True
        for _ in range(MAX_WAITING_BYTES // 2_000_000 + 3):
            mesh.publish_now("a", b"x" * 1_000_000)
        gives_up = asyncio.create_task(mesh.publish("b", 1, 20.0))
        stays = asyncio.create_task(mesh.publish("c", 2, 20.0))
        await turn()
        gives_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gives_up
        with pytest.raises(CallFailed, match="DEADLINE"):
            await mesh.publish("d", 3, 0.01)
        node.make_room()
        await stays
        assert [post.topic for post in node.heard(Post) if post.topic != "a"] == ["c"]

    on_stage(play)


def test_whoever_publishes_and_waits_learns_who_confirmed() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        assert await mesh.publish("a", 1) == 0
        assert await mesh.publish("a", 2, acknowledge=True, timeout_s=9.0) == 2
        plain, acknowledged = node.heard(Post)
        assert (plain.acknowledge, plain.ttl_ms) == (False, 0)
        assert acknowledged.acknowledge
        # The node gives up when the program does.
        assert 8000 < acknowledged.ttl_ms <= 9000

    on_stage(play)


def test_options_become_words_of_the_wire() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        await mesh.publish("a", 1, priority="urgent", ttl_s=0.25, retain_s=60)
        (post,) = node.heard(Post)
        assert (post.priority, post.retain_ms) == (0, 60_000)
        assert 240 <= post.ttl_ms <= 250
        with pytest.raises(UsageError, match="no priority; choose one of urgent"):
            await mesh.publish("a", 1, priority="now")
        with pytest.raises(UsageError, match="must be positive"):
            mesh.publish_now("a", 1, ttl_s=-1)
        with pytest.raises(UsageError, match="timeout_s"):
            await mesh.publish("a", 1, timeout_s=0)
        with pytest.raises(UsageError, match="no exact topic"):
            await mesh.publish("a.*", 1)

    on_stage(play)


def test_many_that_wait_at_once_share_a_run_and_its_answer() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        said = await asyncio.gather(*(mesh.publish("a", n, acknowledge=True) for n in range(50)))
        assert said == [2] * 50
        (post,) = node.heard(Post)
        assert len(post.payloads) == 50
        assert await mesh.publish_many("a", list(range(2000)), acknowledge=True) == 2
        assert values_of(node.heard(Post)) == [("a", n) for n in range(2000)]

    on_stage(play)


def test_what_was_not_delivered_fails_for_everyone_in_the_run() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        waiting = [asyncio.ensure_future(mesh.publish("a", n, acknowledge=True)) for n in range(3)]
        await turn(2)
        (post,) = node.heard(Post)
        node.tell(RpcError(post.request, RpcErrorCode.NOT_DELIVERED, "n2 is gone"))
        for each in waiting:
            with pytest.raises(CallFailed, match="NOT_DELIVERED: n2 is gone"):
                await each

    on_stage(play)


def test_so_many_acknowledged_runs_are_under_way_and_more_wait() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        waiting = []
        for number in range(MAX_UNDER_WAY + 5):
            waiting.append(asyncio.ensure_future(mesh.publish("a", number, acknowledge=True)))
            await turn(2)
        posts = node.heard(Post)
        assert len(posts) == MAX_UNDER_WAY
        for post in posts:
            node.tell(RpcResult(post.request, encode_value([1, 1])))
        await turn(2)
        # What waited meanwhile has become one run.
        (last,) = node.heard(Post)
        assert len(last.payloads) == 5
        node.tell(RpcResult(last.request, encode_value([1, 1])))
        assert await asyncio.gather(*waiting) == [1] * len(waiting)

    on_stage(play)


def test_what_was_to_be_acknowledged_is_sent_again_when_the_node_is_back() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        waiting = [asyncio.ensure_future(mesh.publish(t, t, acknowledge=True)) for t in "abc"]
        await turn(2)
        assert [post.topic for post in node.heard(Post)] == ["a", "b", "c"]
        node.fall(for_good=True)
        mesh.publish_now("d", 4)
        assert mesh.state == "reconnecting"
        node.leaves_open = ()
        node.is_up = True
        assert await asyncio.gather(*waiting) == [2, 2, 2]
        assert [post.topic for post in node.heard(Post)] == ["a", "b", "c", "d"]
        assert mesh.state == "connected"

    on_stage(play)


def test_what_may_be_lost_is_never_sent_twice() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        mesh.publish_now("a", 1)
        waiting = asyncio.ensure_future(mesh.publish("b", 2))
        await turn(2)
        node.fall()
        with pytest.raises(NodeUnreachable, match="is gone: it fell"):
            await waiting
        node.leaves_open = ()
        await mesh.publish("c", 3)
        assert [post.topic for post in node.heard(Post)] == ["a", "b", "c"]

    on_stage(play)


def test_an_acknowledged_publication_ends_at_its_time_even_if_the_node_is_away() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        node.fall(for_good=True)
        with pytest.raises(CallFailed, match=r"DEADLINE_EXCEEDED: no answer within 0.01 s"):
            await mesh.publish("a", 1, acknowledge=True, timeout_s=0.01)

    on_stage(play)


def test_without_a_node_that_comes_back_everything_fails_at_once() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        waiting = asyncio.ensure_future(mesh.publish("a", 1, acknowledge=True))
        await turn(2)
        node.fall()
        for doing in (waiting, mesh.publish("a", 1), mesh.drain(), mesh.call("x")):
            with pytest.raises(NodeUnreachable, match="is gone: it fell"):
                await doing
        assert mesh.state == "lost"

    on_stage(play, reconnect=False)


def test_a_trace_is_a_post_that_is_not_delivered() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (Post,)
        tracing = asyncio.ensure_future(mesh.trace("a"))
        await turn(2)
        (post,) = node.heard(Post)
        assert post.is_trace
        routes = [{"node": "n2", "hops": [{"node": "n1", "at_us": 1}]}]
        node.tell(RpcResult(post.request, encode_value(routes)))  # type: ignore[arg-type]
        assert await tracing == routes

    on_stage(play)


def test_a_time_of_more_than_a_day_is_refused_before_anything_is_sent() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        with pytest.raises(UsageError, match="at most one day"):
            mesh.publish_now("t", 1, ttl_s=86_401.0)
        with pytest.raises(UsageError, match="at most one day"):
            await mesh.publish("t", 1, retain_s=7 * 86_400.0)
        assert node.heard(Post) == []
        await mesh.publish("t", 1, ttl_s=86_400.0, retain_s=86_400.0)
        assert len(node.heard(Post)) == 1

    on_stage(play)
