"""Hooks in specs: bounded, without a shell, in words of the app, and part of its version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jails.spec import ProgramHooks
from reconciler.fleet import Member
from reconciler.hooks.spec import LifeHooks
from reconciler.placement import Placement
from reconciler.render import MachinePaths, render_member
from reconciler.rollouts.instances import FIRST
from reconciler.specs.items import made_item, version_of
from reconciler.specs.spec import AppSpec

ADAPTER = TypeAdapter(AppSpec)
APP = {"version": 1, "name": "shop", "node": "n1", "command": ("run",)}
MACHINE = MachinePaths(
    macula=("/bin/macula",), credentials_dir=Path("/c"), run_dir=Path("/run/macula")
)


def app(**said: Any) -> AppSpec:
    # As it comes from a document: lists, and no types of ours.
    return ADAPTER.validate_json(json.dumps({**APP, **said}))


def test_an_app_has_no_hooks_unless_it_says_so() -> None:
    made = render_member(Member(FIRST, app()), "demo", MACHINE)
    assert made.hooks == ProgramHooks()
    assert not app().is_judged


@pytest.mark.parametrize(
    "hooks",
    [
        {"start": ()},
        {"start": ("",)},
        {"stop": "rm -r /"},
        {"timeout_s": 0},
        {"timeout_s": 61},
        {"begin": ("run",)},
    ],
)
def test_what_cannot_be_a_hook_is_refused(hooks: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        app(hooks=hooks)


def test_a_drain_must_leave_time_for_progress() -> None:
    strategy = {"drain_s": 595.0, "progress_deadline_s": 600.0}
    with pytest.raises(ValidationError, match="above drain_s and hooks"):
        app(hooks={"drain": ("run",)}, strategy=strategy)
    app(hooks={"stop": ("run",)}, strategy=strategy)


def test_hooks_are_part_of_the_version_and_of_what_the_jail_is_started_from() -> None:
    plain, hooked = app(), app(hooks={"stop": ("save",)})
    assert version_of(made_item(plain, "demo")) != version_of(made_item(hooked, "demo"))
    one, other = (render_member(Member(FIRST, each), "demo", MACHINE) for each in (plain, hooked))
    assert one.program_digest() != other.program_digest()


def test_words_of_hooks_mean_what_they_mean_in_the_command() -> None:
    machine = replace(MACHINE, placement=Placement(ports={"app-shop": {"web": 20417}}))
    said = app(
        ports=[{"name": "web", "port": 8080}],
        hooks={"start": ("macula", "ping", "{port:web}"), "stop": ("{data}/save",)},
    )
    made = render_member(Member(FIRST, said), "demo", machine)
    assert made.hooks.start == ("/bin/macula", "ping", "20417")
    assert made.hooks.stop == ("{data}/save",)
    assert said.hooks == LifeHooks(start=("macula", "ping", "{port:web}"), stop=("{data}/save",))
