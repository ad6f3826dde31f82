"""The tree finds what the plain matcher finds, after any changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.pubsub.patterns import matches
from maculaos.pubsub.tree import PatternTree, TopicMemo

SEGMENT = st.sampled_from(["a", "b", "c"])
TOPIC = st.lists(SEGMENT, min_size=1, max_size=5).map(".".join)
PATTERN = st.builds(
    lambda segments, rest: ".".join([*segments, *rest]),
    st.lists(SEGMENT | st.just("*"), min_size=1, max_size=4),
    st.sampled_from([[], ["**"]]),
) | st.just("**")
CHANGE = st.tuples(st.booleans(), PATTERN, st.integers(0, 3))


@given(st.lists(CHANGE, max_size=40), st.lists(TOPIC, min_size=1, max_size=10))
def test_tree_matches_as_the_plain_matcher_does(
    changes: list[tuple[bool, str, int]], topics: list[str]
) -> None:
    tree: PatternTree[int] = PatternTree()
    held: dict[tuple[str, int], None] = {}
    for is_added, pattern, value in changes:
        if is_added:
            tree.add(pattern, value)
            held[pattern, value] = None
        else:
            tree.remove(pattern, value)
            held.pop((pattern, value), None)
    for topic in topics:
        expected = [value for pattern, value in held if matches(pattern, topic)]
        assert sorted(tree.match(topic)) == sorted(expected)


@given(st.lists(st.tuples(PATTERN, st.integers(0, 3)), max_size=30))
def test_a_tree_from_which_all_is_taken_is_bare(pairs: list[tuple[str, int]]) -> None:
    tree: PatternTree[int] = PatternTree()
    for pattern, value in pairs:
        tree.add(pattern, value)
    for pattern, value in pairs:
        tree.remove(pattern, value)
    assert tree._root.is_bare
    assert not tree._exact


def test_a_memo_holds_no_more_than_its_limit_and_what_came_last() -> None:
    memo: TopicMemo[int] = TopicMemo(limit=2)
    for number, topic in enumerate("abc"):
        assert memo.put(topic, number) == number
    assert memo.get("c") == 2
    assert sum(memo.get(topic) is not None for topic in "abc") <= 2
    memo.clear()
    assert memo.get("c") is None
