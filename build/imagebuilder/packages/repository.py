"""A pkg repository as this build sees it: its catalogue, believed, and its packages, one by one.

Where bytes come from is behind ``Fetcher``: a folder here, a mirror over the network elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from imagebuilder.packages import meta
from imagebuilder.packages.archive import open_archive, read_member
from imagebuilder.packages.catalogue import (
    CATALOGUE_BYTES_MAX,
    BadCatalogue,
    Catalogue,
    is_repository_path,
    parse_data,
    parse_packagesite,
)
from imagebuilder.packages.fingerprints import (
    SEAL_BYTES_MAX,
    SEALS_MAX,
    Seal,
    UntrustedRepository,
    check_seals,
)
from imagebuilder.packages.package import PACKAGE_BYTES_MAX, read_package
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagebuilder.packages.catalogue import Package
    from imagebuilder.packages.fingerprints import Trust
    from imagebuilder.packages.package import Unpacked
    from imagebuilder.packages.store import ContentStore

META_BYTES_MAX: Final = 64 * 1024
ARCHIVE_BYTES_MAX: Final = 128 * 1024 * 1024


class NotThere(UsageError):
    """The repository has no file of that name."""


class Fetcher(Protocol):
    """Where the files of a repository come from."""

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """The file ``path`` of the repository, as a file of this host.

        With ``sha256`` (hexadecimal) the file has exactly that sum, and ``size`` bytes unless that
        is 0. Without it, as for catalogues, it has at most ``size`` bytes. Raises ``NotThere``, or
        ``UsageError`` for a file that does not match.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderFetcher:
    """A repository in a folder of this host."""

    folder: Path

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """See ``Fetcher.fetch``."""
        if not is_repository_path(path):
            raise UsageError(f"{path!r} is no path of a repository")
        file = self.folder / path
        # A link may lead from All/ to Hashed/, and nowhere else.
        if not file.resolve().is_relative_to(self.folder.resolve()) or not file.is_file():
            raise NotThere(f"{self.folder}: no file {path}", "put the whole repository there")
        check_file(file, sha256, size)
        return file


def check_file(file: Path, sha256: str, size: int) -> None:
    """Raise ``UsageError`` unless ``file`` is as ``Fetcher.fetch`` promises."""
    has = file.stat().st_size
    if (sha256 and size and has != size) or (not sha256 and has > size):
        wanted = f"{size}" if sha256 else f"at most {size}"
        raise UsageError(f"{file}: {has} bytes, {wanted} were expected", "fetch it again")
    if sha256 and _sha256(file) != sha256:
        raise UsageError(f"{file}: its SHA-256 is not {sha256}", "fetch it again")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository whose catalogue was read and believed."""

    fetcher: Fetcher
    catalogue: Catalogue
    # The fingerprint of the key that vouches for it; empty where nobody had to.
    vouched_by: str
    # SHA-256 of the catalogue in hexadecimal: of what is signed, however it was packed.
    sha256: str

    def unpack(self, package: Package, store: ContentStore) -> Unpacked:
        """Fetch one package of the catalogue and read it into ``store``."""
        if package.size > PACKAGE_BYTES_MAX or package.flatsize > PACKAGE_BYTES_MAX:
            raise UsageError(f"{package.label} is larger than {PACKAGE_BYTES_MAX} bytes")
        file = self.fetcher.fetch(package.location, package.sha256, package.size)
        return read_package(file, store, package.name)


def open_repository(fetcher: Fetcher, trust: Trust | None) -> Repository:
    """Read and believe the catalogue; ``trust`` of None takes it unsigned, as from one's own disk.

    Raises ``UntrustedRepository`` when no trusted key signed it.
    """
    names = meta.parse_meta(_text(fetcher.fetch(meta.NAME, "", META_BYTES_MAX)))
    archives: tuple[tuple[str, str, Callable[[bytes, str], Catalogue]], ...] = (
        (names.data_archive, names.data, parse_data),
        (names.manifests_archive, names.manifests, parse_packagesite),
    )
    for archive, member, parse in archives:
        file = _archive(fetcher, archive, names.packing)
        if file is not None:
            content, seals = _opened(file, member)
            sha256 = hashlib.sha256(content).hexdigest()
            fingerprint = "" if trust is None else check_seals(sha256, seals, trust, archive)
            return Repository(fetcher, parse(content, member), fingerprint, sha256)
    raise NotThere(
        f"the repository has neither {names.data_archive}.pkg nor {names.manifests_archive}.pkg",
        "make its catalogue with pkg repo",
    )


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", "replace")


def _archive(fetcher: Fetcher, name: str, packing: str) -> Path | None:
    """The archive of a catalogue under its new or its old name."""
    for path in (f"{name}.pkg", f"{name}.{packing}"):
        try:
            return fetcher.fetch(path, "", ARCHIVE_BYTES_MAX)
        except NotThere:
            continue
    return None


@dataclass(slots=True)
class _Found:
    """What an archive of a catalogue holds."""

    content: bytes | None = None
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def take(self, name: str, wanted: str, stream: IO[bytes], where: str) -> None:
        """One member; what is neither the catalogue nor a seal of it is passed over."""
        stem, _, suffix = name.rpartition(".")
        if name == wanted:
            if self.content is not None:
                raise BadCatalogue(f"{where}: {name} comes twice")
            self.content = read_member(stream, CATALOGUE_BYTES_MAX, where)
        elif suffix in {"sig", "pub"}:
            if len(self.parts) >= SEALS_MAX and stem not in self.parts:
                raise UntrustedRepository(f"{where}: more than {SEALS_MAX} signatures")
            self.parts.setdefault(stem, {})[suffix] = read_member(stream, SEAL_BYTES_MAX, where)


def _opened(file: Path, member: str) -> tuple[bytes, list[Seal]]:
    """The catalogue in an archive, and who signed it."""
    found = _Found()
    with open_archive(file, CATALOGUE_BYTES_MAX) as members:
        for info, stream in members:
            found.take(info.name, member, stream, str(file))
    if found.content is None:
        raise BadCatalogue(f"{file}: holds no {member}")
    seals = []
    for name, parts in sorted(found.parts.items()):
        if parts.keys() != {"sig", "pub"}:
            raise UntrustedRepository(f"{file}: {name} has a signature or a key, but not both")
        seals.append(Seal(name, parts["sig"], parts["pub"]))
    return found.content, seals
