"""Retained events: the last of each topic and publisher, bounded, until it expires."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.pubsub.retained import NIL, Kept, RetainedEvents

TOPICS = st.sampled_from(["a.x", "a.y", "b"])


def kept(
    topic: str, sequence: int, payload: bytes = b"1234", until: float = 10.0, by: bytes = b"p"
) -> Kept:
    return Kept(topic, by, sequence, Raw(payload), 2, until)


@given(st.lists(st.tuples(TOPICS, st.booleans(), st.sampled_from([b"p", b"q"])), max_size=30))
def test_only_the_last_of_each_topic_and_publisher_is_kept(
    said: list[tuple[str, bool, bytes]],
) -> None:
    events = RetainedEvents(100, 1000)
    last: dict[tuple[str, bytes], int] = {}
    for sequence, (topic, is_nil, by) in enumerate(said):
        events.put(kept(topic, sequence, NIL if is_nil else b"v", by=by))
        last.pop((topic, by), None)
        if not is_nil:
            last[topic, by] = sequence
    found = {(each.topic, each.publisher): each.sequence for each in events.matching("**", 0.0)}
    assert found == last
    assert len(events) == len(last)
    in_a = {each.topic for each in events.matching("a.*", 0.0)}
    assert in_a == {topic for topic, _ in last if topic.startswith("a.")}


def test_what_expired_is_told_to_nobody_and_dropped() -> None:
    events = RetainedEvents(100, 1000)
    events.put(kept("a", 1, until=5.0))
    assert len(events.matching("a", 4.9)) == 1
    assert events.matching("a", 5.0) == []
    assert len(events) == 0


@given(st.integers(1, 5), st.integers(4, 30))
def test_count_and_bytes_are_bounded_and_the_oldest_gives_way(limit: int, size: int) -> None:
    events = RetainedEvents(limit, size)
    for number in range(20):
        events.put(kept(f"t{number}", number))
    held = [each.sequence for each in events.matching("**", 0.0)]
    assert held == list(range(20 - min(limit, size // 4), 20))


def test_what_is_removed_is_told_no_more() -> None:
    events = RetainedEvents(100, 1000)
    events.put(kept("a", 1))
    events.put(kept("b", 2))
    events.remove("a", b"p")
    events.remove("nothing", b"p")
    assert [each.topic for each in events.matching("**", 0.0)] == ["b"]
    assert events.sequence_of("a", b"p") is None
