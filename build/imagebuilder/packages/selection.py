"""What ``image/packages.toml`` says: which repository, whose keys, and which packages."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

import msgspec

from imagebuilder.packages.fingerprints import Trust, trust_of
from imagebuilder.packages.solve import Wanted
from maculaos.errors import UsageError


class _Repository(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    trusted: list[str]
    revoked: list[str] = []


class _Package(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    why: str
    minimum: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    repository: _Repository
    package: list[_Package] = []


@dataclass(frozen=True, slots=True)
class Selection:
    """A repository and what to take from it."""

    # With {major} and {arch} for the release and architecture of the image.
    url: str
    trust: Trust
    wanted: tuple[Wanted, ...]

    def repository_url(self, major: int, arch: str) -> str:
        """Where the repository for that release and architecture lies."""
        return self.url.replace("{major}", str(major)).replace("{arch}", arch)


def parse_selection(text: str, where: str = "packages.toml") -> Selection:
    """The selection in the TOML ``text``; raises ``UsageError``."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}") from error
    names = [package.name for package in raw.package]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: {twice[0]} comes twice")
    return Selection(
        raw.repository.url,
        trust_of(raw.repository.trusted, raw.repository.revoked),
        tuple(Wanted(package.name, package.minimum, package.why) for package in raw.package),
    )
