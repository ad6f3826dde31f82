"""Git servers on this machine: git http-backend behind TLS, and sshd; each on a free port."""

from __future__ import annotations

import base64
import datetime
import getpass
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signing import SshKey

if TYPE_CHECKING:
    from collections.abc import Callable

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
BACKEND = Path("/usr/lib/git-core/git-http-backend")

needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="there is no sshd here: openssh-server"
)
needs_backend = pytest.mark.skipif(
    not BACKEND.is_file(), reason="there is no git http-backend here: git"
)


class HttpsGit:
    """Serves the repositories in ``folder`` to whoever gives ``user`` and ``token``."""

    def __init__(self, folder: Path, token: str = "", user: str = "git") -> None:
        self.folder = folder
        self.token, self.user = token, user
        # Method and path of every request; a place to go to instead of serving.
        self.requests: list[str] = []
        self.redirect = ""
        # Called at each request, while git waits for the answer.
        self.watch: Callable[[], None] = lambda: None
        self.ca_file = folder / "server.pem"
        key_file = folder / "server.key"
        _certify(self.ca_file, key_file)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _answer(self, outer)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key_file)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, repository: Path) -> str:
        return f"https://127.0.0.1:{self._server.server_port}/{repository.name}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _answer(request: BaseHTTPRequestHandler, server: HttpsGit) -> None:
    server.requests.append(f"{request.command} {request.path}")
    server.watch()
    if server.redirect:
        request.send_response(302)
        request.send_header("Location", server.redirect + request.path)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    wanted = base64.b64encode(f"{server.user}:{server.token}".encode()).decode()
    if server.token and request.headers.get("Authorization") != f"Basic {wanted}":
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="git"')
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    _backend(request, server)


def _backend(request: BaseHTTPRequestHandler, server: HttpsGit) -> None:
    path, _, query = request.path.partition("?")
    body = _body(request)
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(server.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
    }
    done = subprocess.run(
        [str(BACKEND)], input=body, env=environment, capture_output=True, check=False, timeout=30
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    request.send_response(int(headers.pop("Status", "200").split()[0]))
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", "0")))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    return body


def _certify(certificate: Path, key_file: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a Git server of a test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class SshGit:
    """An sshd that lets ``reader`` in, and serves any repository that this user may read."""

    def __init__(self, folder: Path, reader: SshKey) -> None:
        self.folder = folder
        self.host_key = SshKey(folder, "host")
        self.port = _free_port()
        (folder / "authorized").write_text(reader.public + "\n")
        self._config = folder / "sshd_config"
        self._config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key.path}\n"
            f"AuthorizedKeysFile {folder}/authorized\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            "PermitUserEnvironment no\nAcceptEnv GIT_PROTOCOL\nLogLevel ERROR\n"
        )
        self._process = self._start()

    def url(self, repository: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository}"

    def known_host(self, key: SshKey | None = None) -> str:
        """A line of known_hosts with that key, or the right one."""
        kind, blob = (key or self.host_key).public.split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _start(self) -> subprocess.Popen[bytes]:
        assert SSHD is not None
        Path("/run/sshd").mkdir(exist_ok=True)
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self._config)])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.02)
        process.kill()
        raise AssertionError(f"sshd does not listen: {process.wait()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
