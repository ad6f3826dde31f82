"""Interest tables behave like a set of (source, topic) pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.pubsub.interest import Interest, TooManySubscriptions
from maculaos.pubsub.topics import InvalidTopic

topics = st.lists(st.sampled_from("abcd"), max_size=5).map(tuple)
changes = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "drop"]), st.integers(0, 2), topics), max_size=30
)


@given(changes)
def test_table_is_a_set_of_pairs(history: list[tuple[str, int, tuple[str, ...]]]) -> None:
    table, model = Interest(limit=100), set[tuple[int, str]]()
    for verb, source, names in history:
        before = {topic for _, topic in model}
        if verb == "add":
            model |= {(source, name) for name in names}
            changed = table.add(source, names)
            assert set(changed) == {topic for _, topic in model} - before
        elif verb == "remove":
            model -= {(source, name) for name in names}
            changed = table.remove(source, names)
            assert set(changed) == before - {topic for _, topic in model}
        else:
            model = {pair for pair in model if pair[0] != source}
            changed = table.drop(source)
            assert set(changed) == before - {topic for _, topic in model}
        assert len(set(changed)) == len(changed)
        assert len(table) == len(model)
        assert {(s, topic) for topic in "abcd" for s in table.sources(topic)} == model
        assert set(table.topics) == {topic for _, topic in model}


def test_beyond_the_limit_nothing_is_taken() -> None:
    table = Interest(limit=2)
    table.add(1, ("a",))
    with pytest.raises(TooManySubscriptions):
        table.add(1, ("b", "c"))
    assert list(table.topics) == ["a"]
    assert table.add(1, ("a", "b")) == ("b",)


def test_one_bad_topic_refuses_all_of_them() -> None:
    table = Interest(limit=10)
    with pytest.raises(InvalidTopic):
        table.add(1, ("good", "not good"))
    assert len(table) == 0
