"""The configuration file of a node: read, checked, its paths made absolute, compared on reload.

What may stand in it, ``maculaos.settings`` says; how YAML is read, ``maculaos.documents``.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.documents import MAX_SIZE, Document, InvalidDocument, read_document
from maculaos.errors import UsageError
from maculaos.settings import NodeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maculaos.settings import ListenSettings

# What a running node can change; everything else is fixed when it starts.
_RELOADABLE = frozenset(
    {"peers", "listen.address", "listen.port", "listen.advertise", "credentials.revocations"}
)


def read_settings(path: Path) -> NodeSettings:
    """The settings in the file ``path``, with its relative paths seen from its folder.

    Raises ``UsageError`` if there is no such file to read, ``InvalidDocument`` with every
    problem in it.
    """
    document = read_document(_read(path), str(path), NodeSettings)
    _check_listen(document)
    settings, folder = document.value, path.absolute().parent
    files, remembered = settings.credentials, settings.discovery.remembered
    return dataclasses.replace(
        settings,
        control_socket=folder / settings.control_socket,
        credentials=dataclasses.replace(
            files,
            certificate=folder / files.certificate,
            key=folder / files.key,
            realm_ca=folder / files.realm_ca,
            revocations=None if files.revocations is None else folder / files.revocations,
        ),
        discovery=dataclasses.replace(
            settings.discovery,
            remembered=dataclasses.replace(
                remembered, file=None if remembered.file is None else folder / remembered.file
            ),
        ),
    )


def fixed_changes(running: NodeSettings, wanted: NodeSettings) -> tuple[str, ...]:
    """The settings that differ and cannot change while the node runs, such as ``limits.links``."""
    return tuple(name for name in _differences(running, wanted) if name not in _RELOADABLE)


def check_dialable(listen: ListenSettings) -> None:
    """Raise ``UsageError`` for a node that would tell others to dial no address at all."""
    for address in listen.advertised:
        host = parse_address(address).host
        if ":" in host or host[-1].isdigit():
            with suppress(ValueError):
                if ip_address(host).is_unspecified:
                    raise UsageError(
                        f"other nodes cannot dial {address}",
                        "name in listen.advertise where they reach this node",
                    )


def _differences(running: Any, wanted: Any, prefix: str = "") -> Iterator[str]:
    for field in dataclasses.fields(running):
        ours, theirs = getattr(running, field.name), getattr(wanted, field.name)
        if dataclasses.is_dataclass(ours):
            yield from _differences(ours, theirs, f"{prefix}{field.name}.")
        elif ours != theirs:
            yield f"{prefix}{field.name}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", "name the node's configuration file") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder", "name the file in it") from error
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}"
        raise UsageError(what, "check its owner and mode") from error


def _check_listen(document: Document[NodeSettings]) -> None:
    try:
        str(document.value.listen.bound)
    except InvalidAddress as error:
        problem = document.problem(f"listen.address: {error}", "listen", "address")
        raise InvalidDocument([problem]) from error
