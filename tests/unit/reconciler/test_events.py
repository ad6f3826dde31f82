"""Events are bounded and counted, and survive their codec and what may befall their file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.events import (
    FORGOTTEN_AFTER_S,
    Event,
    EventRing,
    about,
    decode_events,
    encode_events,
)

words = st.text(st.characters(codec="utf-8"), max_size=10)
events = st.builds(
    Event,
    name=words,
    text=words,
    level=st.sampled_from(["info", "warning", "error"]),
    item=st.sampled_from(["", "node/n1", "app/echo"]),
    cause=words,
    first_at=st.just(1.0),
    last_at=st.floats(min_value=1, max_value=4e9),
    count=st.integers(1, 1000),
)


def event(name: str, at: float, text: str = "", cause: str = "") -> Event:
    return Event(name=name, text=text, cause=cause, item="app/echo", first_at=at, last_at=at)


@given(st.lists(events, max_size=20))
def test_events_survive_their_codec(said: list[Event]) -> None:
    assert decode_events(encode_events(said)) == tuple(said)


@given(st.lists(events, max_size=5), st.binary(max_size=50))
def test_a_torn_end_costs_no_other_event(said: list[Event], torn: bytes) -> None:
    content = encode_events(said) + b'{"name": "cut' + torn.replace(b"\n", b"").replace(b"\r", b"")
    assert decode_events(content)[: len(said)] == tuple(said)


@given(st.lists(events, max_size=50))
def test_no_more_are_kept_than_the_bound_says(said: list[Event]) -> None:
    ring = EventRing(most=7)
    for one in said:
        ring.note(one)
    kept = ring.all()
    assert len(kept) <= 7
    if said:
        assert (kept[-1].name, kept[-1].text) == (said[-1].name, said[-1].text)


def test_the_same_thing_again_is_counted_and_moves_to_the_end() -> None:
    ring = EventRing()
    ring.note(event("cannot_start", 10.0, "no room (0.10 s)", "no room"))
    ring.note(event("start", 11.0))
    ring.note(event("cannot_start", 12.0, "no room (0.20 s)", "no room"))
    first, second = ring.all()
    assert first.name == "start"
    assert (second.count, second.first_at, second.last_at) == (2, 10.0, 12.0)
    assert second.text == "no room (0.20 s)"


def test_another_cause_is_another_event() -> None:
    ring = EventRing()
    ring.note(event("cannot_start", 10.0, cause="no room"))
    ring.note(event("cannot_start", 11.0, cause="no program"))
    assert [one.count for one in ring.all()] == [1, 1]


def test_after_a_long_time_it_is_news_again() -> None:
    ring = EventRing()
    ring.note(event("start", 10.0))
    ring.note(event("start", 11.0 + FORGOTTEN_AFTER_S))
    assert [one.count for one in ring.all()] == [1]


def test_recalled_events_are_no_news_and_go_on_being_counted() -> None:
    ring = EventRing([event("start", 10.0)])
    assert ring.version == 0
    ring.note(event("start", 11.0))
    assert ring.version == 1
    assert ring.all()[0].count == 2


def test_events_of_one_item() -> None:
    ring = EventRing([event("start", 1.0), Event(name="x", text="", first_at=1.0, last_at=1.0)])
    assert [one.name for one in about(ring.all(), "app/echo")] == ["start"]
