"""The seen-cache: once only, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.pubsub.seen import SeenCache


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 9)), max_size=40))
def test_every_event_is_new_once(events: list[tuple[bytes, int]]) -> None:
    seen = SeenCache(limit=1000)
    assert [event for event in events if seen.is_new(*event)] == list(dict.fromkeys(events))


def test_cache_is_bounded_and_keeps_the_latest() -> None:
    seen = SeenCache(limit=10)
    for sequence in range(1000):
        assert seen.is_new(b"a", sequence)
        assert len(seen) <= 20
    assert not any(seen.is_new(b"a", sequence) for sequence in range(990, 1000))
