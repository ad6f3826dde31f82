"""What a pattern means, and which ones there are."""

from __future__ import annotations

import pytest

from maculaos.pubsub.patterns import check_group, check_pattern, literal_prefix, matches
from maculaos.pubsub.topics import InvalidTopic


@pytest.mark.parametrize("pattern", ["a", "a.b", "*", "**", "a.*", "*.b", "a.*.c.**", "é.*"])
def test_patterns_that_can_be_subscribed_to(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    ["", "a.", "a b.*", "a*", "*a", "a.b*.c", "**.a", "a.**.b", "***", "a.***", "a..*", "x" * 256],
)
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidTopic):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "topic", "is_meant"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.**", "a.b", True),
        ("a.**", "a.b.c.d", True),
        ("a.**", "a", False),
        ("**", "a", True),
        ("**", "a.b.c", True),
        ("a.*.**", "a.b.c", True),
        ("a.*.**", "a.b", False),
    ],
)
def test_a_star_is_one_segment_and_two_are_the_rest(
    pattern: str, topic: str, is_meant: bool
) -> None:
    assert matches(pattern, topic) is is_meant


@pytest.mark.parametrize(
    ("pattern", "prefix"), [("a.b", "a.b"), ("a.b.*", "a.b"), ("a.*.c", "a"), ("**", "")]
)
def test_the_prefix_ends_before_the_first_star(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


@pytest.mark.parametrize("group", ["x" * 65, "a\nb"])
def test_groups_are_short_and_printable(group: str) -> None:
    with pytest.raises(InvalidTopic):
        check_group(group)
