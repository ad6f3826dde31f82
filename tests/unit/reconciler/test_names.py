"""Names of jails lead to what runs in them, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NAME_PATTERN
from reconciler.names import (
    app_jail,
    instance_in,
    item_key,
    jail_named,
    kind_and_name,
    node_jail,
    spoken,
)

names = st.from_regex(NAME_PATTERN, fullmatch=True)


@given(names)
def test_jail_leads_back_to_what_it_runs(name: str) -> None:
    assert kind_and_name(node_jail(name)) == ("node", name)
    assert kind_and_name(app_jail(name)) == ("app", name)


@pytest.mark.parametrize(
    ("jail", "said"),
    [
        ("node-n1", "node n1"),
        ("app-echo", "app echo"),
        ("app-node-a", "app node-a"),
        ("a2-echo", "app echo (blue 2)"),
        ("g1-echo", "app echo (green 1)"),
        ("x", "x"),
    ],
)
def test_people_read_kind_and_name(jail: str, said: str) -> None:
    assert spoken(jail) == said


@pytest.mark.parametrize("jail", ["node-n1", "app-echo", "a2-echo", "g1-echo", "c3-a2-echo"])
def test_jail_is_named_by_its_kind_its_name_and_its_instance(jail: str) -> None:
    kind, name = kind_and_name(jail)
    assert jail_named(kind, name, instance_in(jail)) == jail
    assert item_key(jail) == f"{kind}/{name}"
