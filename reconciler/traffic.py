"""Where the traffic of an app goes: a file for each app that has, or may have, several instances.

``run_dir/traffic.d/<app>.json`` names the instances that take traffic and are well. It is replaced
atomically, before any step that ends an instance is taken. It directs nothing by itself: a proxy or
a program of the operator's reads it. An app with one instance and no colours has no such file.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final

from maculaos.host.files import make_private_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.passage import Passage
    from reconciler.placement import Placement

# No node can have that name: nothing else of this form lies in ``run_dir``.
TRAFFIC: Final = "traffic.d"


class Traffic:
    """The files of one reconciler; only the holder of the lock writes."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / TRAFFIC
        # As written since the start, by app.
        self._shown: dict[str, bytes] = {}

    def show(self, passage: Passage, placement: Placement) -> None:
        """Write what is new, and delete what is of no app any more; raises ``OSError``."""
        wanted = traffic_of(passage, placement)
        if wanted == self._shown and (not wanted or self._folder.exists()):
            return
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


def traffic_of(passage: Passage, placement: Placement) -> dict[str, bytes]:
    """What the file of each app says that has one."""
    jails: dict[str, list[str]] = {}
    for jail, member in passage.fleet.items():
        app = member.app
        if app.name in passage.several:
            jails.setdefault(app.name, [])
            if member.instance in passage.serving[app.name]:
                jails[app.name].append(jail)
    return {app: _said(app, serving, passage, placement) for app, serving in jails.items()}


def _said(app: str, jails: list[str], passage: Passage, placement: Placement) -> bytes:
    active = [_line(jail, passage, placement) for jail in jails]
    said = {"version": 1, "app": app, "active": active}
    return json.dumps(said, indent=2).encode() + b"\n"


def _line(jail: str, passage: Passage, placement: Placement) -> Mapping[str, str]:
    member, own = passage.fleet[jail], placement.own_network
    digests = {
        each.instance: each.digest for each in passage.decisions[member.app.name].assignments
    }
    return {
        "instance": member.environment()["MACULA_INSTANCE"],
        "jail": jail,
        "version": digests[member.instance],
        # Empty: it uses the machine's own network.
        "address": "" if own is None else own.address_of(jail),
    }


def clear_traffic(run_dir: Path) -> None:
    """Delete every file of traffic: nothing runs any more."""
    folder = run_dir / TRAFFIC
    if folder.is_dir():
        shutil.rmtree(folder)
