"""What may be overridden is exactly what a node can be told."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from pydantic import TypeAdapter

from maculaos.settings import EventSettings, LimitSettings, LinkSettings, SwimSettings
from maculaos.topology.settings import TopologySettings
from reconciler.specs.overrides import (
    NODE_DEFAULTS,
    PROFILES,
    EventOverrides,
    LimitOverrides,
    LinkOverrides,
    SwimOverrides,
    TopologyOverrides,
    said,
)

PARTS = [
    pytest.param("swim", SwimSettings, SwimOverrides, id="swim"),
    pytest.param("link", LinkSettings, LinkOverrides, id="link"),
    pytest.param("topology", TopologySettings, TopologyOverrides, id="topology"),
    pytest.param("events", EventSettings, EventOverrides, id="events"),
    pytest.param("limits", LimitSettings, LimitOverrides, id="limits"),
]


def _numbers(kind: type) -> dict[str, dict[str, Any]]:
    """The bounds of each key, whether or not it may be left out."""
    found = {}
    for key, of in TypeAdapter(kind).json_schema()["properties"].items():
        number = of["anyOf"][0] if "anyOf" in of else of
        found[key] = {
            word: number[word]
            for word in ("type", "minimum", "maximum", "exclusiveMinimum")
            if word in number
        }
    return found


@pytest.mark.parametrize(("part", "settings", "overrides"), PARTS)
def test_documented_defaults_are_those_of_a_node(part: str, settings: Any, overrides: Any) -> None:
    made = settings()
    taken = {each.name: getattr(made, each.name) for each in fields(made)}
    assert dict(NODE_DEFAULTS[part]) == taken
    assert said(overrides()) == {}


@pytest.mark.parametrize(("part", "settings", "overrides"), PARTS)
def test_overrides_have_the_keys_and_bounds_of_a_node(
    part: str, settings: type, overrides: type
) -> None:
    assert _numbers(overrides) == _numbers(settings)


@pytest.mark.parametrize("profile", ["lan", "wan", "local"])
def test_numbers_of_a_profile_are_those_of_a_node(profile: Any) -> None:
    made = SwimSettings(profile=profile)
    lan = {key: NODE_DEFAULTS["swim"][key] for key in ("probe_interval_s", "probe_timeout_s")}
    numbers = dict(PROFILES.get(profile, {})) or lan
    assert {key: getattr(made, key) for key in numbers} == numbers


def test_only_what_was_written_is_said() -> None:
    assert said(LinkOverrides(idle_timeout_s=3.0)) == {"idle_timeout_s": 3.0}
