"""The book of ports: a file in ``state_dir`` that says which instance has which port for itself.

Looked up before each plan, written before its steps. What belongs to no app any more is struck
out. A number is handed out only if nothing listens there, unless its own instance already runs.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from jails.spec import JailState
from maculaos.errors import UsageError
from maculaos.host.files import remove_leftovers, write_atomically
from reconciler.ports.allotment import Allotment, Berth, allot, berths_of
from reconciler.rollouts.instances import instance_jail, instance_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jails.spec import JailFacts
    from reconciler.specs.desired import Desired
    from reconciler.specs.spec import AppSpec

FILE: Final = "ports.json"
BOOK_BYTES: Final = 16 * 1024 * 1024
LOOPBACK: Final = "127.0.0.1"

# By jail and by the name of the port.
PortTable: TypeAlias = "Mapping[str, Mapping[str, int]]"


@dataclass(slots=True)
class _Needs:
    """What the versions of one app need together."""

    names: set[str] = field(default_factory=set)
    listened: set[int] = field(default_factory=set)


class PortBook:
    """The ports of one machine's instances; every call blocks."""

    def __init__(self, state_dir: Path, span: range) -> None:
        self._path = state_dir / FILE
        self._span = span
        self._known: Allotment | None = None

    def allot(
        self,
        desired: Desired,
        apps: Iterable[AppSpec],
        found: Mapping[str, JailFacts],
        heirs: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[Berth, int]:
        """The ports of all instances that there may be; ``apps`` are all versions of them.

        ``heirs`` are the new names of apps that are renamed, by the old ones: they take their ports
        along. Writes nothing. Raises ``UsageError`` if the book cannot be read.
        """
        needs = _needs(apps, heirs)
        if not needs and not self._path.exists():
            return {}
        inherited = {_inherited(berth, heirs): port for berth, port in self._read().items()}
        known = {berth: port for berth, port in inherited.items() if _app_of(berth[0]) in needs}
        jails: dict[str, set[str]] = {}
        for jail in {*found, *(jail for jail, _ in known)}:
            jails.setdefault(_app_of(jail), set()).add(jail)
        wanted: set[Berth] = set()
        for name, one in needs.items():
            app = desired.apps.get(name)
            count, canaries = (1, 0) if app is None else _counts(app)
            wanted |= berths_of(name, one.names, count, canaries, jails.get(name, ()))
        listened = {port for one in needs.values() for port in one.listened}
        nodes = {node.listen.port for node in desired.nodes.values()}
        running = {jail for jail, facts in found.items() if facts.state is JailState.RUNNING}
        return allot(
            known,
            wanted,
            self._span,
            listened | nodes,
            lambda berth, port: berth[0] in running or _is_free(port),
        )

    def keep(self, allotment: Allotment) -> None:
        """Write down what was allotted, before anybody is told; raises ``OSError``."""
        if allotment == self._read():
            return
        table = table_of(allotment)
        said = {"version": 1, "ports": {jail: dict(named) for jail, named in table.items()}}
        remove_leftovers(self._path)
        write_atomically(self._path, json.dumps(said, indent=1).encode() + b"\n", 0o600)
        self._known = MappingProxyType(dict(allotment))

    def _read(self) -> Allotment:
        if self._known is None:
            self._known = MappingProxyType(_decoded(self._path))
        return self._known


def table_of(allotment: Allotment) -> PortTable:
    """The same by jail and by name, in order."""
    table: dict[str, dict[str, int]] = {}
    for (jail, name), port in sorted(allotment.items()):
        table.setdefault(jail, {})[name] = port
    return table


def _needs(apps: Iterable[AppSpec], heirs: Mapping[str, str]) -> dict[str, _Needs]:
    needs: dict[str, _Needs] = {}
    for app in apps:
        for port in app.ports:
            one = needs.setdefault(heirs.get(app.name, app.name), _Needs())
            one.names.add(port.name)
            one.listened.add(port.port)
    return needs


def _counts(app: AppSpec) -> tuple[int, int]:
    strategy = app.strategy
    return app.instances, strategy.canary if strategy.kind == "canary" else 0


def _app_of(jail: str) -> str:
    named = instance_of(jail)
    return "" if named is None else named[0]


def _inherited(berth: Berth, heirs: Mapping[str, str]) -> Berth:
    jail, name = berth
    named = instance_of(jail)
    if named is None or named[0] not in heirs:
        return berth
    return instance_jail(heirs[named[0]], named[1]), name


def _is_free(port: int) -> bool:
    """Whether nothing listens at that port of the loopback, by TCP or UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as tried:
            if kind is socket.SOCK_STREAM:
                # What only waits for the last segments of past connections is no hindrance.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def _decoded(path: Path) -> dict[Berth, int]:
    try:
        with path.open("rb") as file:
            content = file.read(BOOK_BYTES)
    except FileNotFoundError:
        return {}
    try:
        said = json.loads(content)["ports"]
        read = {(jail, name): port for jail, named in said.items() for name, port in named.items()}
        if not all(isinstance(port, int) and 0 < port < 65_536 for port in read.values()):
            raise ValueError("what is no port")
        if len(set(read.values())) < len(read):
            raise ValueError("one port twice")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{path}: the ports of instances cannot be read ({error})"
        raise UsageError(what, "move the file away; what gets another port starts anew") from error
    return read
