"""``meta.conf``: how the catalogue of a repository is named and packed (pkg-repository(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from imagebuilder.packages import ucl
from maculaos.errors import UsageError

NAME: Final = "meta.conf"
VERSION: Final = 2
PACKINGS: Final = ("tzst", "txz", "tbz", "tgz", "tar")
# A name inside the repository; it becomes part of a path, so it has no slash and no leading dot.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class RepositoryMeta:
    """The names of the catalogues; the defaults are those of pkg-repository(5)."""

    packing: str = "tzst"
    data: str = "data"
    data_archive: str = "data"
    manifests: str = "packagesite.yaml"
    manifests_archive: str = "packagesite"


def parse_meta(text: str, where: str = NAME) -> RepositoryMeta:
    """What ``meta.conf`` says; raises ``UsageError`` for another version or a name that strays."""
    settings = ucl.parse(text, where)
    version = settings.get("version")
    if version != VERSION:
        raise UsageError(
            f"{where}: repository format {version!r}, only {VERSION} is read here",
            "make the repository anew with a current pkg repo",
        )
    packing = settings.get("packing_format", RepositoryMeta.packing)
    if packing not in PACKINGS:
        raise UsageError(f"{where}: packing_format {packing!r} is none of {', '.join(PACKINGS)}")
    names = {
        key: _file_name(settings, key, default, where)
        for key, default in (
            ("data", "data"),
            ("data_archive", "data"),
            ("manifests", "packagesite.yaml"),
            ("manifests_archive", "packagesite"),
        )
    }
    return RepositoryMeta(packing=str(packing), **names)


def _file_name(settings: dict[str, ucl.Value], key: str, default: str, where: str) -> str:
    name = settings.get(key, default)
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise UsageError(f"{where}: {key} = {name!r} is no plain file name")
    return name
