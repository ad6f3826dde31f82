"""Remembered peers: which are kept, and what a file that may hold anything comes to."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.memory import MAX_ADDRESSES, MAX_PEERS, MAX_SIZE, Memory, decode, encode
from maculaos.identity import NodeId


def node_id(number: int) -> NodeId:
    return NodeId(hashlib.sha256(str(number).encode()).digest())


links = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.lists(st.integers(0, 70_000).map(lambda port: f"10.0.0.1:{port}"), max_size=12),
        st.floats(0, 2e9),
    ),
    max_size=120,
)


def memory_of(history: list[tuple[int, list[str], float]]) -> Memory:
    memory = Memory()
    for number, addresses, moment in history:
        memory.linked(node_id(number), tuple(addresses), moment)
    return memory


@given(links)
def test_a_file_keeps_the_last_64_that_were_linked(
    history: list[tuple[int, list[str], float]],
) -> None:
    memory = memory_of(history)
    kept = memory.latest_first()
    useful = [n for n, addresses, _ in history if memory_of([(n, addresses, 0.0)]).latest_first()]
    wanted = list(dict.fromkeys(reversed(useful)))[:MAX_PEERS]
    assert [peer.node_id for peer in kept] == list(map(node_id, wanted))
    assert all(1 <= len(peer.addresses) <= MAX_ADDRESSES for peer in kept)
    content = encode(memory, "home")
    assert len(content) <= MAX_SIZE
    again = decode(content, "home")
    assert {p.node_id: p.addresses for p in again.latest_first()} == {
        p.node_id: p.addresses for p in kept
    }


def test_the_peer_linked_longest_ago_makes_room() -> None:
    memory = memory_of([(number, ["a:1"], 1.0) for number in range(MAX_PEERS + 3)])
    memory.linked(node_id(3), ("a:2",), 0.5)
    memory.linked(node_id(1000), ("a:1",), 0.0)
    kept = [peer.node_id for peer in memory.latest_first()]
    assert len(kept) == MAX_PEERS
    assert kept[:2] == [node_id(1000), node_id(3)]
    assert node_id(4) not in kept


def test_every_peer_has_its_first_address_tried_before_the_second_of_any() -> None:
    memory = memory_of([(1, ["a:1", "a:2"], 1.0), (2, ["b:1", "b:2"], 2.0)])
    assert memory.addresses() == ("b:1", "a:1", "b:2", "a:2")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)


@given(st.binary(max_size=300))
def test_garbage_is_an_empty_memory(content: bytes) -> None:
    assert decode(content, "home").addresses() == ()


@given(json_values, json_values)
def test_whatever_stands_in_the_file_nothing_breaks(one: object, other: object) -> None:
    good = {"node_id": node_id(1).hex(), "addresses": ["a:1"], "linked_at": 1.0}
    for peer in (one, good | {"addresses": other}, good | {"linked_at": one}, {"node_id": other}):
        said = {"version": 1, "realm": "home", "peers": [peer, good]}
        found = decode(json.dumps(said).encode(), "home").latest_first()
        assert node_id(1) in {each.node_id for each in found}
    decode(json.dumps({"version": 1, "realm": "home", "peers": other}).encode(), "home")


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"0" * 100_000, b" " * (MAX_SIZE + 1), b"\xff\xfe{}", b""]
)
def test_hostile_files_cost_nothing(content: bytes) -> None:
    assert decode(content, "home").latest_first() == ()


def test_the_memory_of_another_realm_is_not_taken_over() -> None:
    content = encode(memory_of([(1, ["a:1"], 1.0)]), "home")
    assert decode(content, "home").addresses() == ("a:1",)
    assert decode(content, "away").addresses() == ()
