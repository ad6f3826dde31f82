"""Archives, honest and hostile, and a web server that lies, truncates, stalls and redirects."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_of(members: Mapping[str, bytes | tarfile.TarInfo | None], packing: str = "") -> bytes:
    """A tar archive; None is a folder, a header is taken as it is."""
    buffer = io.BytesIO()
    mode = f"w:{packing}" if packing else "w"
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


def header(name: str, kind: bytes, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def tree_of(folder: Path) -> dict[str, bytes | str | None]:
    """What lies below ``folder``: contents of files, targets of links, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@dataclass
class Server:
    """A web server on a free port; ``answers`` says what happens at each path."""

    port: int = 0
    scheme: str = "http"
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    # Path, Range and If-Range of each request.
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    etag: str = '"one"'
    # Set at the end, so that no answer outlives the test.
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        return f"{self.scheme}://localhost:{self.port}{path}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        given = handler.headers.get("Range", ""), handler.headers.get("If-Range", "")
        self.asked.append((handler.path, *given))
        if handler.path in self.answers:
            self.answers[handler.path](handler)
        elif handler.path in self.files:
            self._file(handler, self.files[handler.path], *given)
        else:
            handler.send_error(404)

    def _file(self, handler: BaseHTTPRequestHandler, content: bytes, span: str, when: str) -> None:
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        if when and when != self.etag:
            start = 0
        if start and start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            said = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send_header("Content-Range", said)
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:])

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Location", target)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.answers[path] = answer

    def truncate(self, path: str, content: bytes, size: int) -> None:
        """Promise all of it, and send the beginning only; once."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("ETag", self.etag)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content[:size])
            handler.close_connection = True
            self.answers.pop(path, None)

        self.answers[path] = answer

    def stall(self, path: str, content: bytes, size: int) -> None:
        """Send the beginning, and then nothing, with the connection open."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content[:size])
            handler.wfile.flush()
            self.over.wait(20)

        self.answers[path] = answer

    def trickle(self, path: str, line: bytes = b"", pause_s: float = 0.02) -> None:
        """One byte now and then: of the headers after ``line``, for ever."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(line)
            try:
                while not self.over.wait(pause_s):
                    handler.wfile.write(b"x")
                    handler.wfile.flush()
            except OSError:
                handler.close_connection = True

        self.answers[path] = answer


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(scheme="http" if tls is None else "https")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                server.serve(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as real:
        if tls is not None:
            real.socket = tls.wrap_socket(real.socket, server_side=True)
        server.port = real.server_address[1]
        thread = threading.Thread(target=real.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            real.shutdown()
            thread.join()
