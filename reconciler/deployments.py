"""The deployments of all apps on disk: how far each of them is between its versions.

One file, ``deployments.jsonl``, a line for each app, replaced atomically before anything is done
about what it says. What a deployment means is the business of ``reconciler.rollouts``.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically
from reconciler.rollouts.deployment import decode_deployment, encode_deployment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.rollouts.deployment import Deployment

DEPLOYMENTS: Final = "deployments.jsonl"


class Deployments:
    """The file in ``state_dir``; only the holder of the lock writes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DEPLOYMENTS
        self._known: Mapping[str, Deployment] | None = None
        # As they are written, because encoding all of them anew is the costly part.
        self._lines: dict[str, bytes] = {}

    def known(self) -> Mapping[str, Deployment]:
        """By app; raises ``UsageError`` if the file cannot be read."""
        if self._known is None:
            self._known = MappingProxyType(self._read())
        return self._known

    def keep(self, deployments: Mapping[str, Deployment]) -> None:
        """Remember exactly these; raises ``OSError`` if they cannot be written."""
        known = self.known()
        if deployments == known:
            return
        lines = {
            app: self._lines[app]
            if app in self._lines and known.get(app) == deployment
            else _line(app, deployment)
            for app, deployment in sorted(deployments.items())
        }
        write_atomically(self._path, b"".join(lines.values()), 0o600)
        self._known, self._lines = MappingProxyType(dict(deployments)), lines

    def _read(self) -> dict[str, Deployment]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        try:
            return dict(map(_read_line, lines))
        except UsageError as error:
            raise UsageError(f"{self._path}: {error.what}", error.hint) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"{self._path}: the state of a rollout cannot be read ({error})"
            raise UsageError(
                what, "move the file away; every app then proves itself anew"
            ) from error


def _line(app: str, deployment: Deployment) -> bytes:
    inner = encode_deployment(deployment).rstrip(b"\n")
    return b'{"app":' + json.dumps(app).encode() + b',"deployment":' + inner + b"}\n"


def _read_line(line: bytes) -> tuple[str, Deployment]:
    said = json.loads(line)
    return str(said["app"]), decode_deployment(json.dumps(said["deployment"]).encode())
