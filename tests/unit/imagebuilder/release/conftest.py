"""A real HTTP server on this machine that serves files, and misbehaves as it is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Shelf:
    """What the server has, and how it behaves; each list of misdeeds is used up in order."""

    files: dict[str, bytes] = field(default_factory=dict)
    # For each answer: "cut:N" (N bytes, then the end), "stall" (half, then silence), "status:N",
    # "ignore" (whole file although a range was asked), "shift" (another range), "to:URL".
    misdeeds: list[str] = field(default_factory=list)
    # Path and Range of each request.
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    # Ends what stalls.
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    shelf: Shelf

    def handle_error(self, request: object, client_address: object) -> None:
        # Clients that go away are part of the tests.
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def do_GET(self) -> None:
        shelf = self.server.shelf
        asked = self.headers.get("Range", "")
        shelf.asked.append((self.path, asked))
        misdeed, _, detail = (shelf.misdeeds.pop(0) if shelf.misdeeds else "").partition(":")
        content = shelf.files.get(self.path)
        if misdeed == "status":
            self.send_error(int(detail))
        elif misdeed == "to":
            self.send_response(302)
            self.send_header("Location", detail)
            self.end_headers()
        elif content is None:
            self.send_error(404)
        else:
            self._give(content, asked, misdeed, detail)

    def _give(self, content: bytes, asked: str, misdeed: str, detail: str) -> None:
        start = 0 if misdeed == "ignore" else int(asked[6:-1] or 0) if asked else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            shown = start + 1 if misdeed == "shift" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if misdeed == "cut":
            body = body[: int(detail)]
        if misdeed == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.shelf.over.wait(20)
            return
        self.wfile.write(body)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """An empty server that runs."""
    held = Shelf()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.shelf = held
        held.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield held
        finally:
            held.over.set()
            server.shutdown()
            thread.join()
