"""An item comes back as it was written, and its digest is what it means."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.specs.items import decode_item, encode_item, made_item
from reconciler.specs.overrides import SwimOverrides
from reconciler.specs.spec import AppSpec, Listen, NodeSpec, RestartRule
from reconciler.specs.targets import Targets

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
apps = st.builds(
    AppSpec,
    version=st.just(1),
    name=st.just("a"),
    node=st.just("n"),
    command=st.lists(words, min_size=1, max_size=3).map(lambda each: ("x", *each)),
    environment=st.dictionaries(st.sampled_from(["A", "B"]), words),
    depends_on=st.sampled_from([(), ("b",), ("b", "c")]),
    restart=st.sampled_from([RestartRule(), RestartRule(policy="never", base_s=1.0)]),
    stop_deadline_s=st.floats(0.001, 86_400),
)
nodes = st.builds(
    NodeSpec,
    version=st.just(1),
    name=st.just("n"),
    realm=st.just("demo"),
    listen=st.builds(Listen, address=st.just("::1"), port=st.integers(1, 65_535)),
    peers=st.sampled_from([None, (), ("m", "x.example:1")]),
    swim=st.sampled_from([SwimOverrides(), SwimOverrides(tombstone_s=5.0)]),
)
APP = AppSpec(version=1, name="a", node="n", command=("x",))


@given(apps | nodes, apps | nodes)
def test_item_comes_back_and_equal_items_are_equal_bytes(
    one: AppSpec | NodeSpec, other: AppSpec | NodeSpec
) -> None:
    item, second = made_item(one, "demo"), made_item(other, "demo")
    assert decode_item(encode_item(item)) == item
    assert (item.digest == second.digest) == (item.spec == second.spec)
    assert (encode_item(item) == encode_item(second)) == (item == second)


def test_what_only_places_an_item_does_not_change_it() -> None:
    placed = replace(
        APP, targets=Targets(machines=("m",)), vars={"a": "b"}, moved_from="b", profiles=("p",)
    )
    assert made_item(placed, "demo") == made_item(APP, "demo")


def test_realm_and_order_of_variables() -> None:
    one = replace(APP, environment={"A": "1", "B": "2"})
    other = replace(APP, environment={"B": "2", "A": "1"})
    assert made_item(one, "demo").digest == made_item(other, "demo").digest
    assert made_item(one, "demo").digest != made_item(one, "other").digest


SAID = json.loads(encode_item(made_item(APP, "demo")))


@pytest.mark.parametrize(
    "said",
    [
        {**SAID, "version": 2},
        {**SAID, "more": 1},
        {**SAID, "kind": "thing"},
        {**SAID, "realm": "other"},
        {**SAID, "digest": "0" * 64},
        {**SAID, "path": "../x"},
        {**SAID, "spec": {**SAID["spec"], "command": []}},
        {**SAID, "spec": {**SAID["spec"], "colour": "blue"}},
        {key: SAID[key] for key in SAID if key != "spec"},
        [],
        None,
    ],
)
def test_what_was_not_written_so_is_not_taken(said: object) -> None:
    with pytest.raises(UsageError, match="kept item"):
        decode_item(json.dumps(said).encode())


@given(st.binary(max_size=40))
def test_garbage_is_not_taken(content: bytes) -> None:
    with pytest.raises(UsageError):
        decode_item(content)
