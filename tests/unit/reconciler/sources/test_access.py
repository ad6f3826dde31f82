"""Getting in, and nobody else: a real server behind TLS, a real sshd, real git."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitservers import HttpsGit, SshGit, needs_backend, needs_sshd
from reconciler.sources.access import check_access, reach_of, ssh_words
from reconciler.sources.git import GitSource
from reconciler.sources.remotes import Access, Remote
from reconciler.sources.unreachable import SourceUnreachable
from signing import SshKey
from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

# What opens a server of these tests, and another such.
KEYWORD, OTHER_KEYWORD = "s3cret-of-the-test", "another-of-the-test"
SPECS = {"realm.yaml": "a", "nodes/n1.yaml": "b", "apps/x.yaml": "c"}


def secret(path: Path, content: str = KEYWORD, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def source(url: str, access: Access, state: Path, **options: object) -> GitSource:
    return GitSource((Remote("origin", url, access),), "main", state, **options)  # type: ignore[arg-type]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    upstream = Upstream(tmp_path)
    upstream.git("config", "uploadpack.allowFilter", "true", cwd=upstream.path)
    upstream.commit(SPECS)
    return upstream


@pytest.fixture
def https(tmp_path: Path) -> Iterator[HttpsGit]:
    server = HttpsGit(tmp_path, KEYWORD)
    yield server
    server.close()


@needs_backend
def test_token_opens_and_is_found_nowhere_else(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
    git = source(https.url(upstream.path), access, state)
    assert git.tree(git.fetch()).files == {name: text.encode() for name, text in SPECS.items()}
    reach = reach_of(git.remotes[0].url, access, state / "git-home")
    assert KEYWORD not in repr(reach)
    kept = [file for file in state.rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if KEYWORD.encode() in file.read_bytes()]


def seen_of_processes() -> list[bytes]:
    """The arguments and variables of every process but this one."""
    seen = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    seen.append((process / name).read_bytes())
    return seen


@needs_backend
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here")
def test_token_is_in_no_argument_and_no_variable(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    seen: list[bytes] = []
    https.watch = lambda: seen.extend(seen_of_processes())
    access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
    git = source(https.url(upstream.path), access, tmp_path)
    git.tree(git.fetch())
    assert [one for one in seen if b"MACULA_TOKEN_FILE" in one]
    assert not [one for one in seen if KEYWORD.encode() in one]


@needs_backend
def test_new_token_takes_effect_at_the_next_fetch(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    token = secret(tmp_path / "token")
    git = source(
        https.url(upstream.path), Access(token_file=token, ca_file=https.ca_file), tmp_path
    )
    git.fetch()
    https.token = OTHER_KEYWORD
    with pytest.raises(
        SourceUnreachable, match=r"refused the token; write a valid one .*token_file"
    ):
        git.fetch()
    secret(token, f"{OTHER_KEYWORD}\n")
    git.fetch()


@needs_backend
def test_server_that_wants_a_token_says_which_key_is_missing(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    git = source(https.url(upstream.path), Access(ca_file=https.ca_file), tmp_path)
    with pytest.raises(SourceUnreachable, match=r"asks for a token; name one: access\.token_file"):
        git.fetch()


@needs_backend
def test_unknown_authority_is_refused_and_gets_no_token(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    git = source(https.url(upstream.path), Access(token_file=secret(tmp_path / "token")), tmp_path)
    with pytest.raises(SourceUnreachable, match=r"certificate .* not trusted; .*access\.ca_file"):
        git.fetch()
    assert not https.requests


@needs_backend
def test_server_that_sends_elsewhere_is_not_followed(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = HttpsGit(tmp_path / "other", KEYWORD)
    try:
        https.redirect = other.url(Path("x")).removesuffix("/x")
        access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
        git = source(https.url(upstream.path), access, tmp_path)
        with pytest.raises(SourceUnreachable, match=r"elsewhere; .*repository\.url"):
            git.fetch()
        assert not other.requests
    finally:
        other.close()


@needs_backend
def test_only_specs_are_fetched_and_all_in_one_request(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    big = os.urandom(300_000)
    files: dict[str, str | bytes | None] = {f"nodes/n{n}.yaml": str(n) for n in range(40)}
    revision = upstream.commit({**files, "docs/picture.png": big})
    access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
    git = source(https.url(upstream.path), access, tmp_path)
    tip = git.fetch()
    assert tip == revision
    https.requests.clear()
    assert len(git.tree(tip).files) == 42
    posts = [request for request in https.requests if request.startswith("POST")]
    assert 1 <= len(posts) <= 2  # what the server offers, and the contents
    size = sum(file.stat().st_size for file in git.clone.directory.rglob("*") if file.is_file())
    assert size < len(big)
    https.requests.clear()
    assert len(git.tree(tip).files) == 42
    upstream.commit({"nodes/n1.yaml": "changed"})
    newer = git.fetch()
    https.requests.clear()
    assert git.tree(newer).files["nodes/n1.yaml"] == b"changed"
    assert https.requests


@needs_backend
def test_missing_contents_are_never_fetched_behind_our_back(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
    git = source(https.url(upstream.path), access, tmp_path)
    tip = git.fetch()
    https.requests.clear()
    assert not git.clone.attempt("ls-tree", "-r", "-l", tip).is_ok
    assert not git.clone.attempt("cat-file", "-p", f"{tip}:realm.yaml").is_ok
    assert https.requests == []
    https.token = OTHER_KEYWORD
    with pytest.raises(SourceUnreachable, match="refused the token"):
        git.tree(tip)


@needs_backend
def test_server_without_partial_clones_is_fetched_in_full(
    upstream: Upstream, https: HttpsGit, tmp_path: Path
) -> None:
    upstream.git("config", "uploadpack.allowFilter", "false", cwd=upstream.path)
    heard: list[str] = []
    access = Access(token_file=secret(tmp_path / "token"), ca_file=https.ca_file)
    git = source(https.url(upstream.path), access, tmp_path, note=heard.append)
    tip = git.fetch()
    git.fetch()
    https.requests.clear()
    assert git.tree(tip).files
    assert https.requests == []
    assert [line for line in heard if "no partial clones" in line] == heard
    assert len(heard) == 1


@pytest.fixture
def reader(tmp_path: Path) -> SshKey:
    return SshKey(tmp_path, "reader")


@pytest.fixture
def sshd(tmp_path: Path, reader: SshKey) -> Iterator[SshGit]:
    server = SshGit(tmp_path, reader)
    yield server
    server.close()


@needs_sshd
def test_key_and_known_host_open(
    upstream: Upstream, sshd: SshGit, reader: SshKey, tmp_path: Path
) -> None:
    known = secret(tmp_path / "known", sshd.known_host(), 0o644)
    access = Access(ssh_key_file=reader.path, known_hosts_file=known)
    git = source(sshd.url(upstream.path), access, tmp_path)
    assert set(git.tree(git.fetch()).files) == set(SPECS)


@needs_sshd
def test_changed_host_key_is_refused_and_several_keys_allow_a_change(
    upstream: Upstream, sshd: SshGit, reader: SshKey, tmp_path: Path
) -> None:
    other = SshKey(tmp_path, "other")
    known = secret(tmp_path / "known", sshd.known_host(other), 0o644)
    access = Access(ssh_key_file=reader.path, known_hosts_file=known)
    git = source(sshd.url(upstream.path), access, tmp_path)
    with pytest.raises(SourceUnreachable, match="host key of the Git server has changed; check"):
        git.fetch()
    known.write_text(sshd.known_host(other) + sshd.known_host())
    git.fetch()


@needs_sshd
def test_unknown_host_is_refused_and_not_learned(
    upstream: Upstream, sshd: SshGit, reader: SshKey, tmp_path: Path
) -> None:
    known = secret(tmp_path / "known", "# nobody\n", 0o644)
    access = Access(ssh_key_file=reader.path, known_hosts_file=known)
    git = source(sshd.url(upstream.path), access, tmp_path)
    with pytest.raises(SourceUnreachable, match=r"host key .* is not known; check it"):
        git.fetch()
    assert known.read_text() == "# nobody\n"


@needs_sshd
def test_wrong_key_says_what_to_do(upstream: Upstream, sshd: SshGit, tmp_path: Path) -> None:
    known = secret(tmp_path / "known", sshd.known_host(), 0o644)
    access = Access(ssh_key_file=SshKey(tmp_path, "stranger").path, known_hosts_file=known)
    git = source(sshd.url(upstream.path), access, tmp_path)
    with pytest.raises(SourceUnreachable, match="refused the SSH key; add the public key"):
        git.fetch()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660])
def test_secret_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    for access in (
        Access(token_file=secret(tmp_path / "token", mode=mode)),
        Access(ssh_key_file=secret(tmp_path / "key", mode=mode)),
    ):
        with pytest.raises(SourceUnreachable, match="others may read it; chmod 0600"):
            check_access(access)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_secret_of_another_user_is_not_used(tmp_path: Path) -> None:
    token = secret(tmp_path / "token")
    os.chown(token, 12345, 12345)
    with pytest.raises(SourceUnreachable, match="belongs to another user"):
        check_access(Access(token_file=token))


@pytest.mark.parametrize("content", ["", "two\nlines\n", "a blank", "\x00\n", "x" * 5000])
def test_what_is_no_token_is_told_without_showing_it(tmp_path: Path, content: str) -> None:
    token = secret(tmp_path / "token", content)
    with pytest.raises(SourceUnreachable) as refused:
        check_access(Access(token_file=token))
    assert not content.strip() or content.strip() not in str(refused.value)


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for access in (
        Access(token_file=tmp_path / "gone"),
        Access(ssh_key_file=tmp_path / "gone"),
        Access(known_hosts_file=tmp_path / "gone"),
        Access(ca_file=tmp_path / "gone"),
        Access(ca_file=tmp_path),
    ):
        with pytest.raises(SourceUnreachable, match=r"_file .*; "):
            check_access(access)


def test_ssh_takes_no_path_that_it_would_read_otherwise() -> None:
    for path in ("/a b", "/a%h", "/${HOME}", "/a'b", '/a"b', "/~"):
        with pytest.raises(SourceUnreachable, match="letters that ssh reads otherwise"):
            ssh_words(Access(ssh_key_file=Path(path)))


def test_pinned_ssh_asks_no_agent_and_reads_no_settings() -> None:
    words = ssh_words(Access(ssh_key_file=Path("/k"), known_hosts_file=Path("/h")))
    assert words[:3] == ("ssh", "-F", "none")
    wanted = {"IdentityAgent=none", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes"}
    assert wanted | {"BatchMode=yes", "UserKnownHostsFile=/h"} <= set(words)


def test_askpass_answers_nobody_else(tmp_path: Path) -> None:
    access = Access(token_file=secret(tmp_path / "token"))
    reach = reach_of("https://git.example:8443/x", access, tmp_path)
    askpass = Path(reach.environment["GIT_ASKPASS"])
    assert stat.S_IMODE(askpass.stat().st_mode) == 0o700
    asked = {
        "Username for 'https://git.example:8443': ": "git\n",
        "Password for 'https://git@git.example:8443': ": f"{KEYWORD}\n",
        "Password for 'https://git@evil.example': ": "",
        "Password for 'https://git@git.example:84430': ": "",
        "Enter passphrase for key 'x': ": "",
    }
    for question, answer in asked.items():
        words = [str(askpass), question]
        done = subprocess.run(words, env=dict(reach.environment), capture_output=True, check=False)
        assert done.stdout.decode() == answer
