"""Patterns of topics: ``*`` stands for one segment, a last ``**`` for the rest of them.

``a.*.c`` means ``a.b.c``; ``a.**`` means every topic that begins with ``a.``, however many segments
follow, and not ``a`` itself. A pattern without ``*`` is a topic. The matcher here is the plain one
that says what a pattern means; ``tree`` matches many at once.
"""

from __future__ import annotations

from typing import Final

from maculaos.pubsub.topics import InvalidTopic, check_topic

ONE: Final = "*"
REST: Final = "**"
MAX_GROUP_BYTES: Final = 64


def check_pattern(pattern: str) -> str:
    """Return ``pattern`` if it can be subscribed to; raise ``InvalidTopic`` if not."""
    if ONE not in pattern:
        return check_topic(pattern)
    # What holds for topics holds for the rest of it.
    check_topic(pattern.replace(ONE, "_"))
    *before, last = pattern.split(".")
    if REST in before:
        raise InvalidTopic(f"{pattern!r} goes on behind '**', which stands for all the rest")
    if any(ONE in each and each != ONE for each in (*before, "" if last == REST else last)):
        raise InvalidTopic(f"{pattern!r} has a '*' that is no whole segment")
    return pattern


def check_group(group: str) -> str:
    """Return the name of a shared subscription if it is one; raise ``InvalidTopic`` if not."""
    if len(group.encode(errors="replace")) > MAX_GROUP_BYTES or not group.isprintable():
        raise InvalidTopic(f"a group is printable text of at most {MAX_GROUP_BYTES} bytes")
    return group


def is_exact(pattern: str) -> bool:
    """Whether ``pattern`` is a topic."""
    return ONE not in pattern


def literal_prefix(pattern: str) -> str:
    """The segments before the first that stands for others; empty if there are none."""
    return pattern.partition(ONE)[0].rstrip(".")


def matches(pattern: str, topic: str) -> bool:
    """Whether ``topic`` is one that ``pattern`` means."""
    segments, wanted = topic.split("."), pattern.split(".")
    if wanted[-1] == REST:
        wanted.pop()
        if len(segments) <= len(wanted):
            return False
        del segments[len(wanted) :]
    if len(segments) != len(wanted):
        return False
    return all(want in (ONE, is_) for want, is_ in zip(wanted, segments, strict=True))
