"""This machine, as rendering needs to know it: where things lie, which credentials are there.

Fingerprints of credential files are taken so that a node hears of a renewed certificate, and is
restarted for another key. The files are read here and nowhere else in the reconciler; their
contents go no further than a hash.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory
from reconciler.placement import OwnNetwork, Placement, socket_path
from reconciler.releases.opening import FOLDER as RELEASES
from reconciler.render import REVOCATIONS, HeldCredentials, MachinePaths
from reconciler.specs.targets import MachineFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.settings import ReconcilerSettings

CREDENTIAL_FILES: Final = ("node.crt", "node.key", "realm.crt")
ISOLATING: Final = ("jail", "namespaces")
CREDENTIAL_BYTES: Final = 64 * 1024


def machine_paths(settings: ReconcilerSettings, nodes: Iterable[str], runtime: str) -> MachinePaths:
    """Where things lie under that runtime, with what there is of the credentials of ``nodes``.

    Raises ``UsageError`` if the settings ask for what the runtime cannot give.
    """
    return MachinePaths(
        macula=macula_command(),
        credentials_dir=settings.credentials_dir,
        run_dir=settings.run_dir,
        realm_dir=settings.realm_dir,
        credentials=held_credentials(settings.credentials_dir, nodes),
        placement=placement_of(settings, runtime),
        releases_dir=settings.state_dir / RELEASES,
    )


def machine_facts(settings: ReconcilerSettings) -> MachineFacts:
    """What specs may know of this machine: the name that it is given, or its host name."""
    machine = settings.machine
    name = machine.name or os.uname().nodename.lower()
    return MachineFacts(name=name, labels=MappingProxyType(dict(machine.labels)))


def placement_of(settings: ReconcilerSettings, runtime: str) -> Placement:
    """How jails are kept apart; raises ``UsageError`` if that runtime cannot do it."""
    network = settings.network
    if runtime not in ISOLATING:
        if network.kind == "vnet":
            what = f"network.kind is vnet, which the runtime {runtime} cannot give"
            raise UsageError(what, "set network.kind to host, or take a runtime that isolates")
        return Placement()
    if network.kind == "host":
        return Placement(isolates=True)
    subnet = ipaddress.IPv4Network(network.subnet)
    own = OwnNetwork(bridge=network.bridge, subnet=subnet, uplink=network.uplink or "")
    return Placement(isolates=True, own_network=own)


def make_socket_folders(settings: ReconcilerSettings, nodes: Iterable[str]) -> None:
    """Make the folder of each node's socket, for us alone: jails are shown it."""
    for node in nodes:
        make_private_directory(socket_path(settings.run_dir, node).parent)


def remove_socket_folder(run_dir: Path, node: str) -> None:
    """Delete a node's socket and its folder, if nothing else lies there."""
    socket = socket_path(run_dir, node)
    with suppress(OSError):
        if socket.is_socket():
            socket.unlink()
        socket.parent.rmdir()


def held_credentials(folder: Path, nodes: Iterable[str]) -> Mapping[str, HeldCredentials]:
    """By node, the SHA-256 of its files; a node that lacks one of the three is left out."""
    found = {name: _held(folder / name) for name in nodes}
    return {name: held for name, held in found.items() if held is not None}


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


def _held(folder: Path) -> HeldCredentials | None:
    try:
        certificate, key, realm_ca = (_digest(folder / name) for name in CREDENTIAL_FILES)
    except OSError:
        return None
    return HeldCredentials(
        fixed=hashlib.sha256(key + realm_ca).hexdigest(),
        certificate=certificate.hex(),
        # A list that cannot be read is one, too: its node says so, and believes nobody without it.
        has_revocations=os.path.lexists(folder / REVOCATIONS),
    )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(CREDENTIAL_BYTES)).digest()
