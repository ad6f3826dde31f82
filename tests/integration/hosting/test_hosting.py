"""A Git host at work: the command, real Git over HTTPS with tokens, real sshd, a reconciler."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import certificates
import webhooks
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from reconciling import REALM, TWO_NODES, Bench, a_bench, app, node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECONCILER = (sys.executable, "-m", "reconciler.cli")


def run(
    *argv: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Host:
    """A folder with a Git host in it, and a work tree beside it."""

    folder: Path
    url: str = ""
    log: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.log = self.folder / "host.log"

    @property
    def root(self) -> Path:
        return self.folder / "git"

    def verb(self, *words: str) -> str:
        done = run(*RECONCILER, "serve-git", "--root", str(self.root), *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, *words: str) -> None:
        argv = (*RECONCILER, "serve-git", "--root", str(self.root), "--http", "127.0.0.1:0")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*argv, *words], stderr=log)
        deadline = time.monotonic() + 20
        while not (found := re.search(r" serving at=(\S+)", self.log.read_text())):
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        scheme = "https" if "--certificate" in words else "http"
        self.url = f"{scheme}://{found[1]}"

    def git(self, *words: str, token: str = "", cwd: Path | None = None) -> int:
        header = ("-c", f"http.extraHeader=Authorization: Bearer {token}") if token else ()
        done = run("git", *header, *words, cwd=cwd or self.folder)
        self.said = done.stderr
        return done.returncode

    def commit(self, files: dict[str, str]) -> Path:
        work = self.folder / "site"
        if not work.exists():
            assert self.git("init", "--quiet", "--initial-branch=main", str(work)) == 0
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        assert self.git("add", "--all", cwd=work) == 0
        assert self.git("commit", "--quiet", "-m", "change", cwd=work) == 0
        return work

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(timeout=20) == 0, self.log.read_text()


@pytest.fixture
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="host-", dir="/tmp"))
    one = Host(folder)
    try:
        yield one
    finally:
        one.end()
        shutil.rmtree(folder)


def test_tokens_open_what_they_say_and_nothing_more(host: Host) -> None:
    host.verb("init", "site")
    writer = host.verb("token", "add", "ada", "--write")
    reader = host.verb("token", "add", "bob", "--read", "--repository", "site")
    host.start()
    work, url = host.commit({"a": "1"}), f"{host.url}/site.git"
    assert host.git("push", url, "main", cwd=work) != 0
    assert host.git("push", url, "main", token=reader, cwd=work) != 0
    assert host.git("push", url, "main", token=f"{writer}x", cwd=work) != 0
    assert host.git("push", url, "main", token=writer, cwd=work) == 0, host.said
    assert host.git("clone", "--quiet", url, "copy", token=reader) == 0, host.said
    assert (host.folder / "copy" / "a").read_text() == "1"
    assert host.git("clone", f"{host.url}/none.git", "none", token=reader) != 0
    assert host.git("ls-remote", url) != 0
    host.verb("init", "other")
    assert host.git("ls-remote", f"{host.url}/other.git", token=reader) != 0
    assert host.git("ls-remote", f"{host.url}/other.git", token=writer) == 0
    host.verb("token", "remove", "bob")
    assert host.git("ls-remote", url, token=reader) != 0
    log = host.log.read_text()
    assert writer not in log
    assert reader not in log


def test_history_is_neither_rewritten_nor_deleted_and_pushes_are_bounded(host: Host) -> None:
    host.verb("init", "site")
    token = host.verb("token", "add", "ada", "--write")
    host.start("--push-mib", "1")
    work, url = host.commit({"a": "1"}), f"{host.url}/site.git"
    assert host.git("push", url, "main", token=token, cwd=work) == 0, host.said
    assert host.git("push", url, ":main", token=token, cwd=work) != 0
    host.commit({"a": "2"})
    assert host.git("push", url, "main", token=token, cwd=work) == 0
    assert host.git("reset", "--hard", "--quiet", "HEAD~1", cwd=work) == 0
    assert host.git("push", "--force", url, "main", token=token, cwd=work) != 0
    (work / "large").write_bytes(os.urandom(3 << 20))
    host.commit({"b": "2"})
    assert host.git("push", url, "main:large", token=token, cwd=work) != 0
    assert not (host.root / "site.git" / "refs" / "heads" / "large").exists()


def test_large_repositories_stream(host: Host) -> None:
    host.verb("init", "site")
    token = host.verb("token", "add", "ada", "--write")
    host.start()
    work, url = host.commit({"a": "1"}), f"{host.url}/site.git"
    (work / "large").write_bytes(os.urandom(8 << 20))
    host.commit({"b": "2"})
    assert host.git("push", url, "main", token=token, cwd=work) == 0, host.said
    assert host.git("clone", "--quiet", "--filter=blob:none", url, "copy", token=token) == 0
    assert (host.folder / "copy" / "large").stat().st_size == 8 << 20


def test_only_the_smart_protocol_is_spoken(host: Host) -> None:
    made = Path(host.verb("init", "site"))
    token = host.verb("token", "add", "ada")
    host.start()
    address = host.url.removeprefix("http://")
    secret = f"Authorization: Bearer {token}\r\nConnection: close\r\nHost: x\r\n\r\n"
    for path, status in (
        ("/site.git/HEAD", b"404"),
        ("/site.git/../site.git/HEAD", b"404"),
        ("/site.git/info/refs", b"403"),
        ("/site.git/info/refs?service=git-receive-pack", b"403"),
        ("/site.git/info/refs?service=git-upload-pack", b"200"),
        ("/tokens.json", b"404"),
    ):
        said = asyncio.run(webhooks.raw(address, f"GET {path} HTTP/1.1\r\n{secret}".encode()))
        assert said.split()[1] == status, path
    said = asyncio.run(webhooks.raw(address, b"GET /none.git/HEAD HTTP/1.0\r\n\r\n"))
    assert said.split()[1] == b"401"
    assert made.is_dir()


def test_half_a_push_changes_nothing_and_leaves_no_program(host: Host) -> None:
    host.verb("init", "site")
    token = host.verb("token", "add", "ada", "--write")
    host.start()
    address = host.url.removeprefix("http://")
    head = (
        f"POST /site.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Length: 100000\r\nContent-Type: application/x-git-receive-pack-request\r\n\r\n"
        "00"
    )

    assert host.process is not None
    server = psutil.Process(host.process.pid)

    async def until(there: bool) -> None:
        async with asyncio.timeout(10):
            # ASYNC110: what another process starts sets no event of ours.
            while bool(server.children(recursive=True)) is not there:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def half() -> None:
        name, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(name, int(port))
        writer.write(head.encode())
        await writer.drain()
        await until(True)
        writer.close()
        await writer.wait_closed()
        await until(False)

    asyncio.run(half())
    assert host.git("ls-remote", f"{host.url}/site.git", token=token) == 0


def test_plain_text_beyond_loopback_is_refused(host: Host) -> None:
    done = run(*RECONCILER, "serve-git", "--root", str(host.root), "--http", "0.0.0.0:0")
    assert done.returncode == 2
    assert "plain text" in done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """A real sshd with one key, whose forced command is ours."""

    host: Host
    port: int
    process: subprocess.Popen[bytes]

    def git(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return run("git", *words, cwd=cwd or self.host.folder, GIT_SSH_COMMAND=self.ssh)

    @property
    def ssh(self) -> str:
        folder = self.host.folder
        return (
            f"ssh -p {self.port} -i {folder}/key -o IdentitiesOnly=yes -o BatchMode=yes "
            f"-o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=yes -F /dev/null"
        )


@pytest.fixture
def sshd(host: Host) -> Iterator[Sshd]:
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd and ssh-keygen here")
    folder, port = host.folder, free_port()
    for name in ("key", "hostkey"):
        assert (
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)).returncode
            == 0
        )
    forced = " ".join((*RECONCILER, "serve-git-shell", "--root", str(host.root), "--write"))
    public = (folder / "key.pub").read_text()
    (folder / "authorized_keys").write_text(f'command="{forced}",restrict {public}')
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'hostkey.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/hostkey\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv GIT_PROTOCOL\n"
        f"SetEnv PATH={os.environ['PATH']} PYTHONPATH={Path.cwd()}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log
        )
    try:
        deadline = time.monotonic() + 10
        while "listening" not in (folder / "sshd.log").read_text():
            assert process.poll() is None, (folder / "sshd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield Sshd(host, port, process)
    finally:
        process.terminate()
        process.wait()


def test_ssh_serves_git_and_no_shell(host: Host, sshd: Sshd) -> None:
    host.verb("init", "ada/site")
    work = host.commit({"a": "1"})
    url = "ssh://127.0.0.1/ada/site.git"
    pushed = sshd.git("push", url, "main", cwd=work)
    assert pushed.returncode == 0, pushed.stderr
    assert sshd.git("clone", "--quiet", url, "copy").returncode == 0
    assert (host.folder / "copy" / "a").read_text() == "1"
    for command in (
        "id",
        "sh -c id",
        "git-upload-pack '../../etc'",
        "git-upload-archive 'ada/site'",
    ):
        said = run(*sshd.ssh.split(), "127.0.0.1", command)
        assert said.returncode != 0
        assert "uid=" not in said.stdout
    assert sshd.git("clone", "ssh://127.0.0.1/none.git", "none").returncode != 0
    assert sshd.git("push", url, ":main", cwd=work).returncode != 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def test_a_reconciler_follows_a_hosted_repository_and_a_push_is_applied(
    host: Host, bench: Bench
) -> None:
    files = certificates.for_loopback(host.folder)
    host.verb("init", "site")
    writer = host.verb("token", "add", "ada", "--write")
    reader = bench.root / "token"
    reader.write_text(host.verb("token", "add", "box", "--read") + "\n")
    reader.chmod(0o600)
    paper = ("--certificate", str(files.chain), "--key", str(files.key))
    host.start(*paper, "--sync", str(bench.config))
    url = f"{host.url}/site.git"
    access = {"token_file": str(reader), "ca_file": str(files.chain)}
    bench.configure(repository={"url": url, "access": access}, poll={"interval_s": 3600.0})
    trusted = ("-c", f"http.sslCAInfo={files.chain}")

    async def push(changes: dict[str, str]) -> str:
        work = host.commit(changes)
        words = (*trusted, "push", "--quiet", url, "main")
        assert await asyncio.to_thread(lambda: host.git(*words, token=writer, cwd=work)) == 0
        return run("git", "rev-parse", "main", cwd=work).stdout.strip()

    async def main() -> None:
        first = await push(dict(TWO_NODES))
        async with bench.running() as running:
            await running.applied(first)
            began = time.monotonic()
            second = await push({"nodes/n3.yaml": node("n3", 4703)})
            await running.applied(second)
            sys.stdout.write(f"applied {time.monotonic() - began:.3f} s after the push began\n")
            assert reader.read_text().strip() not in bench.log.getvalue()

    asyncio.run(main())


def until(holds: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := holds()):
        assert time.monotonic() < deadline, "not in time"
        assert process.poll() is None, "the reconciler ended"
        time.sleep(0.02)
    return found


def followed(host: Host, bench: Bench) -> Callable[[dict[str, str]], str]:
    """A hosted repository, a reconciler's settings to follow it, and how to push there."""
    now, folder = time.time(), bench.root
    shutil.rmtree(folder / "credentials")
    create_realm(folder / "realm", "demo", now=now, entropy=SystemEntropy())
    request = Request(name="n1")
    issue(folder / "realm", folder / "credentials", request, now=now, entropy=SystemEntropy())
    for name, text in (("token", ""), ("secret", webhooks.SECRET)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    files = certificates.for_loopback(host.folder)
    host.verb("init", "upstream")
    writer = host.verb("token", "add", "ada", "--write")
    (folder / "token").write_text(host.verb("token", "add", "box", "--read"))
    host.start("--certificate", str(files.chain), "--key", str(files.key))
    url = f"{host.url}/upstream.git"
    access = {"token_file": "token", "ca_file": str(files.chain)}
    senders = [{"provider": "github", "secret_file": "secret"}]
    bench.configure(
        repository={"url": url, "access": access},
        poll={"interval_s": 3600.0},
        webhook={"listen": "127.0.0.1:0", "senders": senders},
    )

    def push(changes: dict[str, str]) -> str:
        work = host.commit(changes)
        trusted = ("-c", f"http.sslCAInfo={files.chain}")
        assert host.git(*trusted, "push", "--quiet", url, "main", token=writer, cwd=work) == 0
        return run("git", "rev-parse", "main", cwd=work).stdout.strip()

    return push


def apps() -> dict[str, int]:
    """What runs, as the machine says it."""
    found = {}
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if words[:1] == ["sleep"] and words[1:] and words[1].startswith("98765"):
            found[words[1]] = one.pid
    return found


def test_real_programs_follow_a_push_that_a_webhook_tells_of(host: Host, bench: Bench) -> None:
    push, log = followed(host, bench), bench.root / "log"
    push({"realm.yaml": REALM, "nodes/n1.yaml": node("n1", free_udp_port())})
    push({"apps/echo.yaml": app("echo", "n1", "sleep", "987651")})
    argv = [*RECONCILER, "run", "--config", str(bench.config)]
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stderr=file)
    try:
        until(lambda: "987651" in apps(), process)
        at = until(lambda: re.search(r" webhook at=(\S+)", log.read_text()), process)[1]
        push({"apps/more.yaml": app("more", "n1", "sleep", "987652")})
        forged = webhooks.github(secret="x" * 32)
        assert asyncio.run(webhooks.deliver(at, forged)) == 403
        assert "987652" not in apps()
        began = time.monotonic()
        assert asyncio.run(webhooks.deliver(at, webhooks.github())) == 202
        until(lambda: "987652" in apps(), process)
        sys.stdout.write(f"runs {time.monotonic() - began:.3f} s after the webhook\n")
    finally:
        assert run(*RECONCILER, "down", "--config", str(bench.config)).returncode == 0
        process.wait(timeout=20)
    assert not apps()


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
