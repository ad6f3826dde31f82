"""Sources: a server that breaks off is asked for the rest; whatever cannot be had is one line."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from appliance.source import SourceFailed, open_source
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 400


class Moody(BaseHTTPRequestHandler):
    """Gives at most ``most`` bytes on one connection; may know of no ranges."""

    most = 30_000
    knows_ranges = True

    def do_GET(self) -> None:
        start = 0
        if self.path != "/bundle":
            self.send_error(404)
            return
        if "Range" in self.headers and self.knows_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.most])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(handler: type[Moody]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def read_all(place: str) -> bytes:
    with open_source(place, FakeClock()) as stream:
        return b"".join(iter(lambda: stream.read(7000), b""))


def test_broken_download_goes_on_where_it_broke() -> None:
    with served(Moody) as address:
        assert read_all(f"{address}/bundle") == CONTENT


def test_server_that_breaks_off_for_ever_is_given_up() -> None:
    class Mean(Moody):
        most = 10

    with served(Mean) as address, pytest.raises(SourceFailed, match="broke off"):
        read_all(f"{address}/bundle")


def test_server_that_only_knows_the_beginning_is_given_up() -> None:
    class Old(Moody):
        knows_ranges = False

    with served(Old) as address, pytest.raises(SourceFailed, match="in the middle"):
        read_all(f"{address}/bundle")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with served(Moody) as address, pytest.raises(SourceFailed, match="404"):
        read_all(f"{address}/other")
    with pytest.raises(SourceFailed, match="refused"):
        read_all(f"{address}/bundle")
    with pytest.raises(UsageError, match="cannot be read"):
        read_all(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="cannot be fetched"):
        read_all("ftp://host/bundle")


def test_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(CONTENT)
    assert read_all(str(tmp_path / "bundle")) == CONTENT
