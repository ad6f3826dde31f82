"""This machine, as rendering needs to know it: where things lie, which credentials are there.

Fingerprints of credential files are taken so that a renewed certificate restarts its node. The
files are read here and nowhere else in the reconciler; their contents go no further than a hash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jails.process import ProcessRuntime
from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory
from reconciler.render import MachinePaths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jails.runtime import Runtime
    from maculaos.host.clock import Clock
    from reconciler.settings import ReconcilerSettings

CREDENTIAL_FILES: Final = ("node.crt", "node.key", "realm.crt")
CREDENTIAL_BYTES: Final = 64 * 1024


def machine_paths(settings: ReconcilerSettings, nodes: Iterable[str]) -> MachinePaths:
    """Where things lie, with the fingerprints of the credentials of ``nodes``."""
    return MachinePaths(
        macula=macula_command(),
        credentials_dir=settings.credentials_dir,
        run_dir=settings.run_dir,
        realm_dir=settings.realm_dir,
        credentials=fingerprints(settings.credentials_dir, nodes),
    )


def fingerprints(folder: Path, nodes: Iterable[str]) -> Mapping[str, str]:
    """SHA-256 over the three files of each node; a node that lacks one is left out."""
    found = {name: _fingerprint(folder / name) for name in nodes}
    return {name: digest for name, digest in found.items() if digest}


def macula_command() -> tuple[str, ...]:
    """The words that start the macula command of this installation; raises ``UsageError``."""
    beside = Path(sys.executable).with_name("macula")
    found = str(beside) if beside.exists() else shutil.which("macula")
    if found is None:
        raise UsageError(f"there is no macula command beside {sys.executable}", "install maculaos")
    return (found,)


def own_directory(setting: str, path: Path) -> Path:
    """Make the folder that ``setting`` names, for us alone; raises ``UsageError`` if we cannot."""
    try:
        make_private_directory(path)
    except OSError as error:
        raise _unusable(setting, path, str(error.strerror)) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unusable(setting, path, "not writable")
    return path


def _unusable(setting: str, path: Path, why: str) -> UsageError:
    hint = f"let {setting} name a folder that this user may write to"
    return UsageError(f"{setting} {path} cannot be used: {why}", hint)


def runtime_of(settings: ReconcilerSettings, clock: Clock) -> Runtime:
    """The way of running jails that the settings ask for; its jails lie in ``state_dir``."""
    own_directory("state_dir", settings.state_dir)
    return ProcessRuntime(own_directory("state_dir", settings.state_dir / "jails"), clock)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in CREDENTIAL_FILES:
        try:
            with (folder / name).open("rb") as file:
                content = file.read(CREDENTIAL_BYTES)
        except OSError:
            return ""
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
