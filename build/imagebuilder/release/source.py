"""Where the sets of a release come from: a folder, or a mirror with a cache in front of it.

What is handed out was checked: the MANIFEST against its pin, every set against the MANIFEST. With
the right files in the cache nothing is fetched at all, so a build can run without a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imagebuilder.release.download import Downloader, DownloadFailed
from imagebuilder.release.lock import confirm_pin, read_pins
from imagebuilder.release.manifest import (
    MANDATORY,
    MANIFEST_BYTES_MAX,
    DistSet,
    Manifest,
    parse_manifest,
)
from maculaos.errors import UsageError
from maculaos.host.files import write_atomically

# FreeBSD's own names: what uname -m and uname -p say.
_MACHINES: Final = {"amd64": "amd64/amd64", "aarch64": "arm64/aarch64"}
_MIRROR: Final = "https://download.freebsd.org/releases"
ARCHITECTURES: Final = tuple(_MACHINES)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release and the sets of it that are wanted, such as ``15.1-RELEASE``, ``amd64``."""

    release: str
    arch: str = "amd64"
    sets: tuple[str, ...] = MANDATORY


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose wanted sets are on this machine, every one checked."""

    manifest: Manifest
    manifest_sha256: str
    # Name of a set, such as "base", to its archive.
    archives: Mapping[str, Path]


def default_url(wanted: Wanted) -> str:
    """Where the project itself publishes the sets; raises ``UsageError`` for another machine."""
    if wanted.arch not in _MACHINES:
        raise UsageError(
            f"the architecture {wanted.arch!r} is unknown", f"choose {' or '.join(_MACHINES)}"
        )
    return f"{_MIRROR}/{_MACHINES[wanted.arch]}/{wanted.release}"


def is_url(place: str) -> bool:
    """Whether ``place`` is an address rather than a folder."""
    return place.startswith(("https://", "http://"))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def release_in_folder(folder: Path, wanted: Wanted, lock: Path) -> Release:
    """The release whose MANIFEST and sets lie in ``folder``; they are read in place.

    Raises ``UsageError`` when files are missing, damaged, or not those that ``lock`` pins.
    """
    names = ["MANIFEST", *(f"{name.replace('_', '-')}.txz" for name in wanted.sets)]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not found in {folder}",
            f"put the files of {wanted.release} {wanted.arch} there, or name another folder",
        )
    content = _read_manifest(folder / "MANIFEST")
    manifest, digest = _confirmed(content, wanted, lock)
    archives = {name: folder / manifest.find(name).file for name in wanted.sets}
    for name, archive in archives.items():
        found, right = sha256_of(archive), manifest.find(name).sha256
        if found != right:
            raise UsageError(
                f"{archive} is damaged: SHA-256 {found}, MANIFEST says {right}",
                "copy it there again",
            )
    return Release(manifest, digest, archives)


def _read_manifest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MANIFEST_BYTES_MAX + 1)


def _confirmed(content: bytes, wanted: Wanted, lock: Path) -> tuple[Manifest, str]:
    """Parse, then pin or compare: nonsense is never pinned."""
    manifest = parse_manifest(content)
    digest = hashlib.sha256(content).hexdigest()
    confirm_pin(lock, (wanted.release, wanted.arch), digest)
    return manifest, digest


@dataclass(frozen=True, slots=True)
class Mirror:
    """Sets on a server; what was fetched stays in ``cache``, in a folder for each release."""

    url: str
    cache: Path
    lock: Path
    downloader: Downloader

    def folder(self, wanted: Wanted) -> Path:
        """Where the files of a release are kept; people may put them there themselves."""
        return self.cache / f"{wanted.release}-{wanted.arch}"

    def release(self, wanted: Wanted) -> Release:
        """The release, fetched as far as it is not in the cache.

        Raises ``UsageError`` that says which files to put where, if the server cannot be reached.
        """
        manifest, digest = self._manifest(wanted)
        archives = {name: self._archive(manifest.find(name), wanted) for name in wanted.sets}
        return Release(manifest, digest, archives)

    def _manifest(self, wanted: Wanted) -> tuple[Manifest, str]:
        kept = self.folder(wanted) / "MANIFEST"
        pin = read_pins(self.lock).get((wanted.release, wanted.arch))
        if kept.is_file():
            content = _read_manifest(kept)
            if pin in (None, hashlib.sha256(content).hexdigest()):
                return _confirmed(content, wanted, self.lock)
        try:
            content = self.downloader.fetch_small(f"{self.url}/MANIFEST", MANIFEST_BYTES_MAX)
        except DownloadFailed as error:
            raise self._unreachable(error, wanted, ["MANIFEST", *_files(wanted)]) from error
        confirmed = _confirmed(content, wanted, self.lock)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, content)
        return confirmed

    def _archive(self, dist_set: DistSet, wanted: Wanted) -> Path:
        kept = self.folder(wanted) / dist_set.file
        if kept.is_file() and sha256_of(kept) == dist_set.sha256:
            return kept
        try:
            return self.downloader.fetch(f"{self.url}/{dist_set.file}", kept, dist_set.sha256)
        except DownloadFailed as error:
            raise self._unreachable(error, wanted, _files(wanted)) from error

    def _unreachable(self, error: DownloadFailed, wanted: Wanted, files: list[str]) -> UsageError:
        folder = self.folder(wanted)
        missing = [name for name in files if not (folder / name).is_file()] or files
        return UsageError(
            f"{wanted.release} {wanted.arch} cannot be fetched: {error.what}",
            f"without a network, put {', '.join(missing)} of that release into {folder}",
        )


def _files(wanted: Wanted) -> list[str]:
    return [f"{name.replace('_', '-')}.txz" for name in wanted.sets]


def obtain(
    wanted: Wanted, place: str, *, cache: Path, lock: Path, downloader: Downloader
) -> Release:
    """The wanted release from ``place``: a folder, a URL, or empty for the project's own server."""
    if place and not is_url(place):
        return release_in_folder(Path(place), wanted, lock)
    url = (place or default_url(wanted)).rstrip("/")
    return Mirror(url, cache, lock, downloader).release(wanted)
