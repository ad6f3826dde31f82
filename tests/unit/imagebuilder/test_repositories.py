"""Packages from a server: kept by their digest, and a server that has not is told from silence."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from imagebuilder.packages.repository import NotThere, open_repository
from imagebuilder.release.download import Downloader
from imagebuilder.release.transport import Answer, TransportError
from imagebuilder.steps.repositories import KeepingFetcher, ServerFetcher, Stock
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock
from smallrepository import SmallPackage, SmallRepository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "https://packages.invalid/latest"


class Server:
    """A server with the files of a folder; nothing is sent over any network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.is_silent = False

    @contextmanager
    def get(self, url: str, offset: int) -> Iterator[Answer]:
        """See ``Transport.get``."""
        path = url.removeprefix(f"{URL}/")
        self.asked.append(path)
        if self.is_silent:
            raise TransportError(f"{url}: no route")
        file = self.folder / path
        if not file.is_file():
            raise TransportError(f"{url}: 404 Not Found", is_final=True)
        content = file.read_bytes()
        yield Answer(offset, len(content), iter([content[offset:]]))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    folder = tmp_path / "served"
    folder.mkdir()
    SmallRepository(folder, [SmallPackage(name="one", files={"usr/one": b"1"})]).write()
    return Server(folder)


def fetcher(server: Server, tmp_path: Path) -> ServerFetcher:
    return ServerFetcher(URL, tmp_path / "cache", Downloader(server, FakeClock()))


def test_a_catalogue_is_kept_and_packages_are_fetched_once(server: Server, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    origin = fetcher(server, tmp_path)
    open_repository(KeepingFetcher(origin, kept), None)
    assert {path.name for path in kept.iterdir()} == {"meta.conf", "data.pkg"}
    server.asked.clear()
    repository = open_repository(Stock(kept, origin), None)
    assert server.asked == []
    package = repository.catalogue.by_name["one"]
    for _ in range(2):
        file = repository.fetcher.fetch(package.location, package.sha256, package.size)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == package.sha256
    assert server.asked == [package.location]
    file.write_bytes(b"spoilt")
    repository.fetcher.fetch(package.location, package.sha256, package.size)
    assert len(server.asked) == 2


def test_a_file_that_the_server_has_not_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="404"):
        fetcher(server, tmp_path).fetch("nothing.pkg", "", 100)


def test_without_a_network_the_error_says_what_to_give(server: Server, tmp_path: Path) -> None:
    server.is_silent = True
    with pytest.raises(UsageError, match="PKGS= a folder") as caught:
        fetcher(server, tmp_path).fetch("meta.conf", "", 100)
    assert not isinstance(caught.value, NotThere)


def test_a_package_larger_than_said_is_refused(server: Server, tmp_path: Path) -> None:
    content = (server.folder / "meta.conf").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    with pytest.raises(UsageError, match="larger than"):
        fetcher(server, tmp_path).fetch("meta.conf", sha256, len(content) - 1)
