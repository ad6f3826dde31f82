"""Sysctls: every name that we set is one that the release has, or is marked with the reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.tuning import LARGE_ONLY, TABLE, When
from imagebuilder.sysctls import Known, check, parse_changes, parse_names, settings_in

if TYPE_CHECKING:
    from imagebuilder.sysctls import Change

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "overlays/base"
LISTS = ROOT / "image/sysctls"
FILES = ("etc/sysctl.conf", "boot/loader.conf")
NAMES = parse_names((LISTS / "13.1.txt").read_text(), "13.1.txt")
CHANGES = parse_changes((LISTS / "changes.toml").read_text(), "changes.toml")
KNOWN = Known({"13.1": NAMES}, CHANGES)
# The list at hand, and the release that is built.
RELEASES = ("13.1", "15.1")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("release", RELEASES)
def test_every_name_is_known_or_marked(file: str, release: str) -> None:
    settings = settings_in((BASE / file).read_text(), file)
    assert settings
    assert check(settings, release, KNOWN).problems == ()


@pytest.mark.parametrize("release", RELEASES)
def test_name_that_is_not_known_is_a_problem(release: str) -> None:
    settings = settings_in("net.inet.udp.sendspace=1\n", "x")
    assert check(settings, release, KNOWN).problems


@pytest.mark.parametrize("name", [each.name for each in (*TABLE, *LARGE_ONLY)])
def test_every_tunable_is_known(name: str) -> None:
    assert name in NAMES


def test_sysctl_conf_is_the_table_of_small_machines() -> None:
    text = (BASE / "etc/sysctl.conf").read_text()
    found = dict(re.findall(r"^([a-z0-9_.]+)=(\S+)$", text, re.MULTILINE))
    small = {each.name: each.small for each in TABLE if each.when is When.RUNNING}
    assert {name: found.get(name) for name in small} == small


def test_every_value_has_a_comment() -> None:
    lines = (BASE / "etc/sysctl.conf").read_text().splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            above = lines[number - 1]
            assert above.startswith("#") or "=" in above, f"line {number + 1} says no reason"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_what_came_or_went_has_a_reason_and_is_not_set_unmarked(change: Change) -> None:
    assert bool(change.came) != bool(change.gone)
    assert change.why
    for file in FILES:
        for setting in settings_in((BASE / file).read_text(), file):
            if setting.name == change.name:
                assert change.came
                assert setting.optional


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_changes_do_not_contradict_the_recorded_list(change: Change) -> None:
    border = tuple(map(int, (change.came or change.gone).split(".")))
    is_there = border <= (13, 1) if change.came else border > (13, 1)
    assert (change.name in NAMES) == is_there
