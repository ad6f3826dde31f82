"""Whoever makes a jail may be killed between any two commands: the next one makes it whole."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import jailyard
import namespaceyard
from jails.namespaces.abilities import SEARCH_PATH
from jails.namespaces.enclosure import EnclosureSettings, NamespaceEnclosure
from jails.spec import Isolation
from maculaos.host.clock import SystemClock
from maculaos.host.commands import DEFAULT_TIMEOUT_S, SystemRunner
from namespaceyard import GATEWAY

if TYPE_CHECKING:
    from pathlib import Path

_REAL = SystemRunner({"PATH": SEARCH_PATH})


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test may catch it."""


class MortalRunner:
    """Runs commands for real, until it has run so many that change something."""

    def __init__(self, changes: int) -> None:
        self.left = changes

    def run(self, *argv: str, stdin: bytes = b"", timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """See ``CommandRunner.run``; raises ``Killed`` when its time has come."""
        if not {"-json", "list"} & set(argv):
            if self.left == 0:
                raise Killed
            self.left -= 1
        return _REAL.run(*argv, stdin=stdin, timeout_s=timeout_s)


def enclosure(root: Path, changes: int) -> NamespaceEnclosure:
    return NamespaceEnclosure(
        root, namespaceyard.abilities(), MortalRunner(changes), SystemClock(), EnclosureSettings()
    )


def test_a_start_or_an_end_that_was_killed_anywhere_is_repaired() -> None:
    namespaceyard.need_network()
    spec = jailyard.idle(isolation=Isolation(network=namespaceyard.vnet(11, GATEWAY)))
    with namespaceyard.yard() as root:
        runtime = namespaceyard.runtime_at(root)
        runtime.ensure(spec)
        runtime.stop("n1")
        directory = jailyard.directory_of(root)
        steps, is_through = 0, False
        while not is_through:
            try:
                enclosure(root, steps).enter(spec, directory)
                is_through = True
            except Killed:
                steps += 1
            for changes in range(2):
                with suppress(Killed):
                    enclosure(root, changes).leave(directory)
            enclosure(root, 1000).leave(directory)
            assert namespaceyard.left_on_host(root) == []
        assert steps > 8
        enclosure(root, 1000).enter(spec, directory)
        runtime.ensure(spec)
        assert runtime.look()["n1"].program_digest == spec.program_digest()
        runtime.remove("n1")
        namespaceyard.check_nothing_left(root)
