"""A Git host of a test, as far as statuses go: it keeps what it is told, and answers as set."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import certificates

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "glpat-0123456789abcdefghij"  # noqa: S105  # of these tests alone


@dataclass(frozen=True)
class Post:
    """One request that was taken."""

    path: str
    headers: dict[str, str]
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> str:
        return str(self.said.get("attempted") or self.path.rpartition("/")[2])


class Board:
    """Listens with TLS on a free port until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.posts: list[Post] = []
        # Every request, taken or not.
        self.asked = 0
        # The answers to come; when there are none left, 201.
        self.answers: list[tuple[int, bytes]] = []
        self.headers: dict[str, str] = {}
        # Cleared, no request is answered until it is set again.
        self.open = threading.Event()
        self.open.set()
        files = certificates.for_loopback(folder)
        self.ca_file = files.chain
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with suppress(OSError):  # who asked may have given up
                    _take(self, outer)

            do_GET = do_HEAD = do_POST

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.chain, files.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}"

    def states(self, revision: str) -> list[str]:
        return [str(one.said["state"]) for one in self.posts if one.revision == revision]

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _take(request: BaseHTTPRequestHandler, board: Board) -> None:
    board.asked += 1
    body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
    board.open.wait(30)
    status, answer = board.answers.pop(0) if board.answers else (201, b"{}")
    if 200 <= status < 300 and request.command == "POST":
        headers = {name.lower(): text for name, text in request.headers.items()}
        board.posts.append(Post(request.path, headers, json.loads(body)))
    request.send_response(status)
    for name, text in board.headers.items():
        request.send_header(name, text)
    request.send_header("Content-Length", str(len(answer)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(answer)
