"""Topics: segments of printable text without spaces, joined by dots, at most 255 bytes."""

from __future__ import annotations

from typing import Final

from maculaos.errors import MaculaError

MAX_TOPIC_BYTES: Final = 255


class InvalidTopic(MaculaError, ValueError):
    """Text that cannot be an exact topic."""


def check_topic(topic: str) -> str:
    """Return ``topic`` if it can be published and subscribed to; raise ``InvalidTopic`` if not."""
    if not topic:
        raise InvalidTopic("a topic must not be empty")
    if len(topic) > MAX_TOPIC_BYTES or len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES:
        raise InvalidTopic(f"a topic has at most {MAX_TOPIC_BYTES} bytes in UTF-8")
    if " " in topic or not topic.isprintable():
        raise InvalidTopic(f"{topic!r} is no topic: use printable text without spaces")
    if "*" in topic:
        raise InvalidTopic(f"{topic!r} is no exact topic: leave out '*'")
    if topic[0] == "." or topic[-1] == "." or ".." in topic:
        raise InvalidTopic(f"{topic!r} has an empty segment between its dots")
    return topic
