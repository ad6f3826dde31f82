"""Which texts are topics."""

from __future__ import annotations

import pytest

from maculaos.pubsub.topics import MAX_TOPIC_BYTES, InvalidTopic, check_topic


@pytest.mark.parametrize(
    "topic", ["a", "a.b.c", "plant/1.temp-c", "größe", "x" * MAX_TOPIC_BYTES, "日本.東京"]
)
def test_exact_topics_are_accepted(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize(
    "topic",
    ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\n", "a.*", "*", "x" * 256, "ö" * 128, "\ud800"],
)
def test_other_text_is_refused(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        check_topic(topic)
