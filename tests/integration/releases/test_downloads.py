"""Downloads over real sockets, from a server that lies, truncates, stalls and redirects."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from maculaos.host.clock import SystemClock
from reconciler.releases.download import DownloadBounds, Downloader, Wanted
from reconciler.releases.transport import HttpTransport, ReleaseUnavailable
from releasehouse import Server, digest_of, serving

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

BODY = os.urandom(300_000)
PLAIN = frozenset({"localhost"})


def downloader(
    *,
    plain: frozenset[str] = PLAIN,
    silence_s: float = 5.0,
    authorities: Path | None = None,
    bounds: DownloadBounds | None = None,
) -> Downloader:
    usual = DownloadBounds(most_bytes=1 << 20, timeout_s=20, stall_s=5, slowest_bytes_s=1)
    transport = HttpTransport(plain, silence_s, authorities)
    return Downloader(transport, SystemClock(), bounds or usual)


def wanted(server: Server, path: str = "/app", body: bytes = BODY) -> Wanted:
    return Wanted(url=server.url(path), sha256=digest_of(body))


def test_a_file_comes_whole_and_private(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = BODY
        downloader().fetch(wanted(server), tmp_path / "app")
    assert (tmp_path / "app").read_bytes() == BODY
    assert (tmp_path / "app").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["app"]


def test_what_was_cut_short_is_resumed_from_where_it_ended(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = BODY
        server.truncate("/app", BODY, 100_000)
        with pytest.raises(ReleaseUnavailable, match="cut short"):
            downloader().fetch(wanted(server), tmp_path / "app")
        assert not (tmp_path / "app").exists()
        downloader().fetch(wanted(server), tmp_path / "app")
        assert server.asked[1] == ("/app", "bytes=100000-", '"one"')
    assert (tmp_path / "app").read_bytes() == BODY


def test_another_version_of_the_file_is_taken_from_its_start(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = BODY
        server.truncate("/app", b"x" * len(BODY), 100_000)
        with pytest.raises(ReleaseUnavailable):
            downloader().fetch(wanted(server), tmp_path / "app")
        server.etag = '"two"'
        downloader().fetch(wanted(server), tmp_path / "app")
    assert (tmp_path / "app").read_bytes() == BODY


def test_a_wrong_beginning_is_found_by_the_digest_and_forgotten(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = BODY
        server.truncate("/app", b"x" * len(BODY), 100_000)
        for _ in range(2):
            with pytest.raises(ReleaseUnavailable) as caught:
                downloader().fetch(wanted(server), tmp_path / "app")
            assert not caught.value.is_final
        assert list(tmp_path.iterdir()) == []
        downloader().fetch(wanted(server), tmp_path / "app")
    assert (tmp_path / "app").read_bytes() == BODY


def test_another_file_than_the_one_wanted_is_refused_for_good(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = b"another"
        with pytest.raises(ReleaseUnavailable, match="SHA-256") as caught:
            downloader().fetch(wanted(server), tmp_path / "app")
    assert caught.value.is_final
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_that_is_too_long_starts_anew(tmp_path: Path) -> None:
    (tmp_path / ".app.part").write_bytes(BODY + b"more")
    with serving() as server:
        server.files["/app"] = BODY
        with pytest.raises(ReleaseUnavailable):
            downloader().fetch(wanted(server), tmp_path / "app")
        downloader().fetch(wanted(server), tmp_path / "app")
    assert (tmp_path / "app").read_bytes() == BODY


@pytest.mark.parametrize("promised", [True, False])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, promised: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if promised:
            handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY)

    bounds = DownloadBounds(most_bytes=200_000, timeout_s=20, stall_s=5, slowest_bytes_s=1)
    with serving() as server:
        server.answers["/app"] = answer
        with pytest.raises(ReleaseUnavailable, match="larger than 200000") as caught:
            downloader(bounds=bounds).fetch(wanted(server), tmp_path / "app")
    assert caught.value.is_final
    assert not any(each.stat().st_size for each in tmp_path.iterdir())


def test_a_server_that_stalls_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    with serving() as server:
        server.stall("/app", BODY, 100_000)
        with pytest.raises(ReleaseUnavailable, match="does not answer"):
            downloader(silence_s=0.3).fetch(wanted(server), tmp_path / "app")
    assert (tmp_path / ".app.part").stat().st_size == 100_000


@pytest.mark.parametrize("line", [b"", b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_server_that_trickles_is_cut_off(tmp_path: Path, line: bytes) -> None:
    bounds = DownloadBounds(most_bytes=1 << 20, timeout_s=0.5, stall_s=60, slowest_bytes_s=1)
    with serving() as server:
        server.trickle("/app", line)
        with pytest.raises(ReleaseUnavailable, match=r"cut off|not here after"):
            downloader(bounds=bounds).fetch(wanted(server), tmp_path / "app")


def test_a_server_that_is_too_slow_is_given_up(tmp_path: Path) -> None:
    bounds = DownloadBounds(most_bytes=1 << 20, timeout_s=30, stall_s=0.2, slowest_bytes_s=10_000)
    with serving() as server:
        server.trickle("/app", b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n")
        with pytest.raises(ReleaseUnavailable, match="slower than 10000 bytes a second"):
            downloader(bounds=bounds).fetch(wanted(server), tmp_path / "app")


def test_a_redirect_is_followed_but_not_for_ever(tmp_path: Path) -> None:
    with serving() as server:
        server.files["/app"] = BODY
        server.redirect("/old", "/app", 308)
        downloader().fetch(wanted(server, "/old"), tmp_path / "app")
        server.redirect("/loop", "/loop")
        with pytest.raises(ReleaseUnavailable, match="redirected more than 5 times"):
            downloader().fetch(wanted(server, "/loop"), tmp_path / "other")
        assert len(server.asked) == 8


def test_a_redirect_leads_to_no_file_and_to_no_other_plain_host(tmp_path: Path) -> None:
    with serving() as server:
        for target in ("file:///etc/passwd", "http://127.0.0.1:1/x", "ftp://localhost/x"):
            server.redirect("/app", target)
            with pytest.raises(ReleaseUnavailable) as caught:
                downloader().fetch(wanted(server), tmp_path / "app")
            assert caught.value.is_final
    assert not (tmp_path / "app").exists()


def test_plain_http_is_refused_unless_the_host_is_named(tmp_path: Path) -> None:
    with serving() as server:
        with pytest.raises(ReleaseUnavailable, match="without encryption"):
            downloader(plain=frozenset()).fetch(wanted(server), tmp_path / "app")
        assert server.asked == []


@pytest.mark.parametrize(("status", "is_final"), [(404, True), (429, False), (500, False)])
def test_what_the_server_answers_says_whether_to_ask_again(
    tmp_path: Path, status: int, is_final: bool
) -> None:
    with serving() as server:
        server.answers["/app"] = lambda handler: handler.send_error(status)
        with pytest.raises(ReleaseUnavailable, match=str(status)) as caught:
            downloader().fetch(wanted(server), tmp_path / "app")
    assert caught.value.is_final is is_final


def test_a_range_that_was_not_asked_for_is_not_believed(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 7-{len(BODY) - 1}/{len(BODY)}")
        handler.send_header("Content-Length", str(len(BODY) - 7))
        handler.end_headers()
        handler.wfile.write(BODY[7:])

    with serving() as server:
        server.answers["/app"] = answer
        with pytest.raises(ReleaseUnavailable, match="another range"):
            downloader().fetch(wanted(server), tmp_path / "app")


def test_a_file_of_this_machine_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "a file"
    source.write_bytes(BODY)
    here = Wanted(url=f"file://{tmp_path}/a%20file", sha256=digest_of(BODY))
    downloader().fetch(here, tmp_path / "app")
    assert (tmp_path / "app").read_bytes() == BODY
    gone = Wanted(url=f"file://{tmp_path}/gone", sha256=digest_of(BODY))
    with pytest.raises(ReleaseUnavailable, match="No such file"):
        downloader().fetch(gone, tmp_path / "other")


def certified(folder: Path) -> ssl.SSLContext:
    """The context of a server for ``localhost``, whose certificate is ``folder/ca.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


def test_https_is_spoken_to_servers_that_are_trusted_and_to_no_other(tmp_path: Path) -> None:
    context = certified(tmp_path)
    with serving(context) as server:
        server.files["/app"] = BODY
        trusting = downloader(authorities=tmp_path / "ca.pem")
        trusting.fetch(wanted(server), tmp_path / "app")
        with pytest.raises(ReleaseUnavailable, match="not trusted"):
            downloader().fetch(wanted(server), tmp_path / "other")
    assert (tmp_path / "app").read_bytes() == BODY


def test_a_redirect_never_leads_from_https_to_http(tmp_path: Path) -> None:
    with serving(certified(tmp_path)) as server, serving() as plain:
        plain.files["/app"] = BODY
        server.redirect("/app", plain.url("/app"))
        with pytest.raises(ReleaseUnavailable, match="not https"):
            downloader(authorities=tmp_path / "ca.pem").fetch(wanted(server), tmp_path / "app")
        assert plain.asked == []
