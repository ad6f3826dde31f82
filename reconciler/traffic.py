"""Where the traffic of an app goes: a file for each app that has ports or may have siblings.

``run_dir/traffic.d/<app>.json`` names the instances that take traffic and are well, and those that
are there beside them. It is replaced atomically, before any step that ends an instance is taken.
It directs nothing by itself: the front reads it, and so may a program of the operator's. An app
with one instance, no colours and no ports has no such file.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final

from maculaos.host.files import make_private_directory, write_atomically
from reconciler.rollouts.instances import instance_jail

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.passage import Passage
    from reconciler.placement import Placement
    from reconciler.rollouts.instances import Instance

# No node can have that name: nothing else of this form lies in ``run_dir``.
TRAFFIC: Final = "traffic.d"
FILE_BYTES: Final = 1024 * 1024

# An app, a jail of it, and the version that it runs.
_Left = tuple[str, str, str]


class Traffic:
    """The files of one reconciler; only the holder of the lock writes."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / TRAFFIC
        # As written since the start, by app.
        self._shown: dict[str, bytes] = {}
        # Who took traffic when the last reconciler ended: it goes on until its probes are asked,
        # or a new reconciler would cut off every app at its start. None: not read yet.
        self._left: set[_Left] | None = None

    def show(self, passage: Passage, placement: Placement) -> Mapping[str, bytes]:
        """Write what is new, and delete what is of no app any more; raises ``OSError``.

        Returns what every file says, by app.
        """
        wanted = traffic_of(passage, placement, self._trusted(passage))
        if wanted == self._shown and (not wanted or self._folder.exists()):
            return wanted
        make_private_directory(self._folder)
        for app, content in wanted.items():
            path = self._folder / f"{app}.json"
            if self._shown.get(app) != content or not path.exists():
                write_atomically(path, content, 0o644)
        named = {f"{app}.json" for app in wanted}
        # Of apps that are gone, or half written by somebody who was killed.
        for path in self._folder.iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)
        self._shown = wanted
        return wanted

    def _trusted(self, passage: Passage) -> frozenset[tuple[str, Instance]]:
        """Of who was left with traffic, those whose probes were not asked yet."""
        if self._left is None:
            self._left = _left_in(self._folder)
        unasked = {
            (app, instance_jail(app, instance), _versions(passage, app)[instance]): (app, instance)
            for app, instances in passage.unasked.items()
            for instance in instances
        }
        self._left &= unasked.keys()
        return frozenset(unasked[each] for each in self._left)


def traffic_of(
    passage: Passage,
    placement: Placement,
    trusted: Collection[tuple[str, Instance]] = (),
) -> dict[str, bytes]:
    """What the file of each app says that has one; ``trusted`` take traffic unasked."""
    jails: dict[str, tuple[list[str], list[str]]] = {}
    for jail, member in passage.fleet.items():
        app = member.app
        if app.name in passage.several or app.ports:
            active, resting = jails.setdefault(app.name, ([], []))
            is_serving = member.instance in passage.serving[app.name]
            is_active = is_serving or (app.name, member.instance) in trusted
            (active if is_active else resting).append(jail)
    return {app: _said(app, *each, passage, placement) for app, each in jails.items()}


def has_ports(passage: Passage) -> bool:
    """Whether any app is to be reached from outside."""
    return any(member.app.ports for member in passage.fleet.values())


def _said(
    app: str, active: list[str], resting: list[str], passage: Passage, placement: Placement
) -> bytes:
    apps = [passage.fleet[jail].app for jail in (*active, *resting)]
    hooks_s = [0.0 if each.hooks.stop is None else each.hooks.timeout_s for each in apps]
    stop_s = [each.stop_deadline_s + extra_s for each, extra_s in zip(apps, hooks_s, strict=True)]
    said = {
        "version": 1,
        "app": app,
        "active": [_line(jail, passage, placement) for jail in active],
        "resting": [_line(jail, passage, placement) for jail in resting],
        # How long what is open may last at an instance that is not named any more.
        "linger_s": max(stop_s),
    }
    return json.dumps(said, indent=2).encode() + b"\n"


def _line(jail: str, passage: Passage, placement: Placement) -> Mapping[str, Any]:
    member, own = passage.fleet[jail], placement.own_network
    held = placement.ports_of(jail, member.app.ports)
    return {
        "instance": member.environment()["MACULA_INSTANCE"],
        "jail": jail,
        "version": _versions(passage, member.app.name)[member.instance],
        # Empty: it uses the machine's own network.
        "address": "" if own is None else own.address_of(jail),
        # By name: where the machine listens for it, and where the instance does.
        "ports": {
            port.name: {"protocol": port.protocol, "listen": port.port, "port": held[port.name]}
            for port in member.app.ports
            if port.name in held
        },
    }


def _versions(passage: Passage, app: str) -> dict[Instance, str]:
    return {each.instance: each.digest for each in passage.decisions[app].assignments}


def _left_in(folder: Path) -> set[_Left]:
    """What the files name that are there; what cannot be read names nobody."""
    left: set[_Left] = set()
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            with path.open("rb") as file:
                said = json.loads(file.read(FILE_BYTES))
            left |= {(path.stem, each["jail"], each["version"]) for each in said["active"]}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return left


def clear_traffic(run_dir: Path) -> None:
    """Delete every file of traffic: nothing runs any more."""
    folder = run_dir / TRAFFIC
    if folder.is_dir():
        shutil.rmtree(folder)
