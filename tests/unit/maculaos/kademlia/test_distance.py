"""XOR distance is a metric, and unidirectional."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.kademlia.distance import distance

ids = st.binary(min_size=32, max_size=32).map(NodeId)


@given(ids, ids, ids)
def test_distance_is_a_metric(one: NodeId, two: NodeId, three: NodeId) -> None:
    assert distance(one, one) == 0
    assert (distance(one, two) == 0) == (one == two)
    assert distance(one, two) == distance(two, one)
    assert distance(one, three) <= distance(one, two) + distance(two, three)


def test_the_first_bit_counts_most() -> None:
    origin = NodeId(bytes(32))
    far, near = NodeId(b"\x80" + bytes(31)), NodeId(b"\x7f" + b"\xff" * 31)
    assert distance(origin, far) > distance(origin, near)
