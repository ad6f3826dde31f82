"""Control groups: entered by the process itself, emptied by force, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest

import jailyard
import namespaceyard
from jails.namespaces.groups import ControlGroups
from jails.spec import Limits
from maculaos.host.clock import SystemClock


def test_whoever_joined_a_group_ends_with_it() -> None:
    top = namespaceyard.abilities().groups
    if top is None:
        pytest.skip("no control groups v2 that may be written to")
    groups, place = ControlGroups(top, SystemClock()), f"macula-test-{uuid.uuid4().hex}"
    group = groups.make(place, Limits(), frozenset())
    try:
        argv = (sys.executable, "-m", "jails.namespaces.join", str(group), *jailyard.IDLE)
        with subprocess.Popen(argv) as joined:
            members = group / "cgroup.procs"
            jailyard.eventually("it joins", lambda: str(joined.pid) in members.read_text().split())
            assert place in groups.places()
            groups.take_away(place)
            assert joined.wait(jailyard.PATIENCE_S) == -9
    finally:
        groups.take_away(place)
    assert not group.exists()
    assert place not in groups.places()
