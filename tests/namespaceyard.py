"""Jails of Linux namespaces for tests: what the host must have, and what may not be left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.namespaces import nft
from jails.namespaces.abilities import SEARCH_PATH, Abilities, probe
from jails.namespaces.naming import Labels, Naming
from jails.namespaces.runtime import NamespaceRuntime, NamespaceSettings
from jails.spec import Isolation, JailSpec, Network, NetworkKind
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jails.process import ProcessSettings

_NUMBER_VARIABLE = "TEST_NUMBER"
_NUMBERS = 16


def _own_number() -> int:
    """A number that no other process has that tests jails in this network; its children share it.

    Whoever has it holds a socket of that name: an abstract one, which is the network's own as
    bridges are, and goes with the process, however that ends.
    """
    given = os.environ.get(_NUMBER_VARIABLE)
    if given is None:
        given = str(next(filter(_claimed, range(_NUMBERS)))) if sys.platform == "linux" else "0"
        os.environ[_NUMBER_VARIABLE] = given
    return int(given)


def _claimed(number: int) -> bool:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0macula-tests-{number}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


_claims: list[socket.socket] = []
# One bridge for each worker of a parallel run, and for each run of several at a time.
WORKER = _own_number()
BRIDGE = f"mjtest{WORKER:02}"
NETWORK = f"10.77.{100 + WORKER}"
GATEWAY = f"{NETWORK}.1"


@cache
def abilities() -> Abilities:
    """What this machine can do; looked up once."""
    return probe(SystemRunner({"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}))


def need_namespaces() -> None:
    """Skip where no jail can be made, and say why."""
    if sys.platform != "linux" or abilities().obstacle:
        pytest.skip(abilities().statement())


def need_network() -> None:
    """Skip where no jail can have a network of its own, and say why."""
    need_namespaces()
    if not abilities().has_firewall:
        pytest.skip(abilities().statement())
    _swept()


@cache
def _swept() -> None:
    """A run that was killed may have left its bridge, and what was joined to it."""
    sweep()


def sweep() -> None:
    """Delete the bridge of this worker, and everything of the jails that are joined to it."""
    links = json.loads(tool("ip", "-json", "-details", "link"))
    tables = {tuple(line.split()[1:]) for line in tool("nft", "list", "tables").splitlines()}
    places = tool("ip", "-json", "netns", "list")
    named = {each["name"] for each in json.loads(places or "[]")}
    for link in links:
        if link.get("master") == BRIDGE or link["ifname"] == BRIDGE:
            place = link.get("ifalias", "")
            tool("ip", "link", "delete", link["ifname"])
            for table in tables:
                if place and place in table:
                    tool("nft", "delete", "table", *table)
            if place in named:
                tool("ip", "netns", "delete", place)


def runtime_at(root: Path, keeping: ProcessSettings = jailyard.SETTINGS) -> NamespaceRuntime:
    """A runtime that knows nothing but ``root``."""
    settings = NamespaceSettings(keeping=keeping)
    return NamespaceRuntime(root, SystemClock(), settings, abilities=abilities())


def labels_of(root: Path, name: str = "n1") -> Labels:
    """What the jail's things on the host are called."""
    return Naming(root).of(name)


def vnet(number: int, gateway: str = "") -> Network:
    """A network of its own on the bridge of this test run."""
    address = f"{NETWORK}.{number}/24"
    return Network(kind=NetworkKind.VNET, bridge=BRIDGE, address=address, gateway=gateway)


def jail(name: str, code: str, isolation: Isolation | None = None, **more: object) -> JailSpec:
    """A jail that runs some lines of Python."""
    isolation = isolation or Isolation()
    command = jailyard.python(code)
    return JailSpec(name=name, command=command, isolation=isolation, **more)  # type: ignore[arg-type]  # the caller's words


@contextmanager
def yard() -> Iterator[Path]:
    """A root for jails; what is still there of them at the end is taken away."""
    with jailyard.yard() as root:
        try:
            yield root
        finally:
            runtime = runtime_at(root)
            for name in runtime.look():
                runtime.remove(name)
            left = left_on_host(root)
            if left:
                sweep()
        assert left == [], "the next test would trip over it"


def said(root: Path, name: str, lines: int = 1) -> list[str]:
    """What the program wrote, once that many lines are there."""
    runtime = runtime_at(root)
    jailyard.eventually(f"{name} says it", lambda: len(runtime.logs(name, 1000)) >= lines)
    return runtime.logs(name, 1000)


def tool(*argv: str) -> str:
    """What a tool of the host answers."""
    environment = {"PATH": SEARCH_PATH}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def left_on_host(root: Path) -> list[str]:
    """Everything of the jails under ``root`` that is outside of their directories."""
    ours = Naming(root).of("x").place[:-1]
    marks = [ours, str(root), BRIDGE]
    found = [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines()]
    if abilities().has_firewall:
        links = json.loads(tool("ip", "-json", "link"))
        members = [each for each in links if each.get("master") == BRIDGE]
        if any(not each.get("ifalias", "").startswith(ours) for each in members):
            # Jails under another root are on the bridge still.
            marks.remove(BRIDGE)
        found += [f"link {each['ifname']} {each.get('ifalias', '')}" for each in links]
        found += [f"netns {line}" for line in tool("ip", "netns", "list").splitlines()]
        found += [f"table {line}" for line in tool("nft", "list", "tables").splitlines()]
        found += [f"set {each}" for each in nft.parse_sets(tool("nft", "-j", "list", "sets"))]
    return [each for each in found if any(mark in each for mark in marks)]


def check_nothing_left(root: Path) -> None:
    """Neither a process, a file, an interface, a namespace, a table nor a mount."""
    jailyard.check_nothing_left(root)
    assert left_on_host(root) == []
