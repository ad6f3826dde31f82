"""Suspicions know their deadlines."""

from __future__ import annotations

import math

from maculaos.identity import NodeId
from maculaos.swim.suspicion import Suspicions

ONE, OTHER = NodeId(b"1" * 32), NodeId(b"2" * 32)


def test_a_suspect_that_is_not_cleared_expires_at_its_deadline() -> None:
    suspicions = Suspicions()
    suspicions.start(ONE, now=10.0, timeout_s=3.0)
    suspicions.start(OTHER, now=11.0, timeout_s=3.0)
    assert suspicions.next_deadline() == 13.0
    assert suspicions.expired(12.9) == []
    assert suspicions.expired(13.0) == [ONE]
    suspicions.clear(ONE)
    suspicions.clear(OTHER)
    assert suspicions.next_deadline() == math.inf


def test_postponing_gives_every_suspect_more_time() -> None:
    suspicions = Suspicions()
    suspicions.start(ONE, now=10.0, timeout_s=3.0)
    suspicions.postpone(5.0)
    assert ONE in suspicions
    assert suspicions.next_deadline() == 18.0
