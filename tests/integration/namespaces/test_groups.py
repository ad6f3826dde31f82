"""Control groups: entered by the process itself, emptied by force, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import jailyard
import namespaceyard
from jails.namespaces.groups import ControlGroups
from jails.namespaces.runtime import NamespaceRuntime
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


def test_a_command_that_is_run_inside_of_a_jail_is_in_its_group() -> None:
    namespaceyard.need_namespaces()
    abilities = namespaceyard.abilities()
    if abilities.groups is None:
        pytest.skip("no control groups v2 that may be written to")
    # Groups as such are there even where they have nothing to count with.
    able = replace(abilities, controllers=abilities.controllers | {"none"})
    groups = ControlGroups(abilities.groups, SystemClock())
    with namespaceyard.yard() as root:
        runtime = NamespaceRuntime(root, SystemClock(), abilities=able)
        runtime.ensure(jailyard.idle())
        place = namespaceyard.labels_of(root).place
        group = groups.make(place, Limits(), frozenset())
        try:
            with ThreadPoolExecutor(1) as pool:
                command = ("sh", "-c", "touch /data/begun; while test -e /data/begun; do :; done")
                running = pool.submit(runtime.exec, "n1", command)
                begun = runtime.data_path("n1") / "begun"
                jailyard.eventually("it begins", begun.exists)
                members = (group / "cgroup.procs").read_text().split()
                begun.unlink()
                running.result()
            # nsenter(1) and the shell; the jail's own program never joined.
            assert len(members) >= 2
            assert str(jailyard.pid_of(root)) not in members
        finally:
            groups.take_away(place)
