"""Where the packages of one build come from: a folder of this host, or a server with a cache.

The catalogue is fetched once and kept by its step, so that all steps of a build, and the builds
after it, see the same one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.packages.catalogue import is_repository_path
from imagebuilder.packages.repository import Fetcher, FolderFetcher, NotThere, check_file
from imagebuilder.release.download import Downloader, DownloadFailed
from imagebuilder.release.transport import TransportError
from maculaos.errors import UsageError


@dataclass(frozen=True, slots=True)
class KeepingFetcher:
    """Hands out what ``origin`` has, and keeps a copy of each file in ``folder``."""

    origin: Fetcher
    folder: Path

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """See ``Fetcher.fetch``."""
        target = self.folder / Path(path).name
        return Path(shutil.copyfile(self.origin.fetch(path, sha256, size), target))


@dataclass(frozen=True, slots=True)
class ServerFetcher:
    """A repository on a server; packages stay in ``cache``, catalogues are fetched each time."""

    url: str
    cache: Path
    downloader: Downloader

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """See ``Fetcher.fetch``."""
        url, name = f"{self.url.rstrip('/')}/{path}", Path(path).name
        kept = self.cache / sha256[:2] / sha256 if sha256 else self.cache / "catalogue" / name
        try:
            if sha256:
                return self._package(url, kept, sha256, size)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(self.downloader.fetch_small(url, size))
        except DownloadFailed as error:
            raise _refused(error, url) from error
        return kept

    def _package(self, url: str, kept: Path, sha256: str, size: int) -> Path:
        if _is_right(kept, sha256, size):
            return kept
        # A package whose size is not said is bounded by the downloader.
        return self.downloader.fetch(url, kept, sha256, **({"bytes_max": size} if size else {}))


def _refused(error: DownloadFailed, url: str) -> UsageError:
    cause = error.__cause__
    if isinstance(cause, TransportError) and cause.is_final:
        return NotThere(f"{error.what}", f"look whether {url} is what you mean")
    return UsageError(
        f"{error.what}",
        "without a network, say PKGS= a folder with a copy of the repository, or PKGS=none",
    )


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A repository on a server, of which ``folder`` holds what was fetched, laid out as there.

    So people may put a copy there themselves. Catalogues are fetched each time, and kept by others.
    """

    url: str
    folder: Path
    downloader: Downloader
    # How an error names the repository.
    what: str

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """See ``Fetcher.fetch``."""
        if not is_repository_path(path):
            raise UsageError(f"{path!r} is no path of a repository")
        kept, url = self.folder / path, f"{self.url.rstrip('/')}/{path}"
        try:
            if not sha256:
                return self._catalogue(url, size)
            if not _is_right(kept, sha256, size):
                limit = {"bytes_max": size} if size else {}
                self.downloader.fetch(url, kept, sha256, **limit)
        except DownloadFailed as error:
            raise self._refused(error) from error
        return kept

    def _catalogue(self, url: str, size: int) -> Path:
        kept = self.folder / ".catalogue"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(self.downloader.fetch_small(url, size))
        return kept

    def _refused(self, error: DownloadFailed) -> UsageError:
        cause = error.__cause__
        if isinstance(cause, TransportError) and cause.is_final:
            return NotThere(
                f"{self.what}: {error.what}",
                f"look whether {self.url} is what you mean; if it has moved on, remove its line"
                " from image/release.lock and build again with IMAGE_ARGS=--refresh",
            )
        return UsageError(
            f"{self.what} cannot be fetched: {error.what}",
            f"without a network, put a copy of {self.url} (meta.conf, data.pkg and its packages,"
            f" each at its path) into {self.folder}, or say SETS= a folder with one",
        )


def _is_right(file: Path, sha256: str, size: int) -> bool:
    try:
        check_file(file, sha256, size)
    except (FileNotFoundError, UsageError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Stock:
    """A catalogue that lies in a folder already, and packages from wherever they are."""

    catalogue: Path
    packages: Fetcher

    def fetch(self, path: str, sha256: str, size: int) -> Path:
        """See ``Fetcher.fetch``."""
        origin = self.packages if sha256 else FolderFetcher(self.catalogue)
        return origin.fetch(path, sha256, size)
