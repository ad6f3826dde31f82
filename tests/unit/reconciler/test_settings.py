"""Which repositories a reconciler may be pointed at, and where its paths lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from maculaos.documents import InvalidDocument, read_document
from maculaos.errors import UsageError
from reconciler.settings import ReconcilerSettings, located


def read(
    url: str = "/srv/mesh.git", *lines: str, access: str = "{}", fallbacks: str = "[]"
) -> ReconcilerSettings:
    more = f"access: {access}, fallbacks: {fallbacks}"
    text = "\n".join(
        [
            "version: 1",
            f"repository: {{url: {url!r}, branch: main, {more}}}",
            "state_dir: state",
            "credentials_dir: ../credentials",
            "run_dir: run",
            *lines,
        ]
    )
    return read_document(text.encode(), "reconciler.yaml", ReconcilerSettings).value


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/mesh.git",
        "ssh://git@git.example:2222/mesh.git",
        "file:///srv/mesh.git",
        "/srv/mesh.git",
        "mesh.git",
        "../mesh config/mesh.git",
    ],
)
def test_allowed_urls_are_taken_as_written(url: str) -> None:
    assert read(url).repository.url == url


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "neither"),
        ("--upload-pack=touch /tmp/x", "neither"),
        ("ext::sh -c date", "remote helpers"),
        ("http://git.example/mesh.git", "https://"),
        ("git://git.example/mesh.git", "not allowed"),
        ("git@git.example:mesh.git", "ssh://"),
        ("https://user:word@git.example/mesh.git", "password"),
        ("https://token@git.example/mesh.git", "password"),
        ("ssh://-oProxyCommand=date/mesh.git", "host"),
        ("ssh://-x@git.example/mesh.git", "-"),
        ("https:///mesh.git", "host"),
        ("https://git.example/a mesh.git", "blanks"),
    ],
)
def test_other_urls_are_refused_in_words(url: str, what: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read(url)
    (problem,) = refused.value.problems
    assert (problem.line, problem.column) == (2, 19)
    assert what in problem.what


@pytest.mark.parametrize(
    "branch", ["", "-x", "a..b", "a b", "a.lock", "a.lock/b", "/a", "a/", "a//b", "a/.b", "a\nb"]
)
def test_what_cannot_be_a_branch_is_refused(branch: str) -> None:
    with pytest.raises(InvalidDocument, match="branch"):
        read_document(
            f"version: 1\nrepository: {{url: x, branch: {branch!r}}}\n".encode(),
            "reconciler.yaml",
            ReconcilerSettings,
        )


def test_paths_start_at_the_file() -> None:
    settings = located(read("mesh.git", "realm_dir: realm"), Path("/etc/macula"))
    assert settings.repository.url == "/etc/macula/mesh.git"
    assert settings.state_dir == Path("/etc/macula/state")
    assert settings.credentials_dir == Path("/etc/credentials")
    assert settings.run_dir == Path("/etc/macula/run")
    assert settings.realm_dir == Path("/etc/macula/realm")


def test_urls_are_not_paths() -> None:
    url = "ssh://git.example/mesh.git"
    assert located(read(url), Path("/etc/macula")).repository.url == url


def test_run_dir_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(UsageError, match="run_dir"):
        located(read(), Path("/" + "x" * 100))


def test_unfitting_intervals_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="backoff_max_s"):
        read("x", "poll: {backoff_base_s: 9, backoff_max_s: 3}")


def test_access_and_lists_start_at_the_folder_of_the_file() -> None:
    settings = located(
        read(
            "ssh://git@h/x",
            "trust: {allowed_signers: keys/signers, revoked_keys: /r, history: follow}",
            access="{ssh_key_file: keys/id, known_hosts_file: hosts}",
            fallbacks="[{url: mirror.git}, {url: 'https://h/x', access: {token_file: t}}]",
        ),
        Path("/etc/macula"),
    )
    access, fallbacks = settings.repository.access, settings.repository.fallbacks
    assert access.ssh_key_file == Path("/etc/macula/keys/id")
    assert access.known_hosts_file == Path("/etc/macula/hosts")
    assert [fallback.url for fallback in fallbacks] == ["/etc/macula/mirror.git", "https://h/x"]
    assert fallbacks[1].access.token_file == Path("/etc/macula/t")
    assert settings.trust.allowed_signers == Path("/etc/macula/keys/signers")
    assert settings.trust.revoked_keys == Path("/r")
    assert settings.trust.gpg_keyring is None


@pytest.mark.parametrize(
    ("url", "access", "said"),
    [
        ("/srv/x", "{token_file: t}", "for https:// URLs"),
        ("ssh://h/x", "{ca_file: t}", "for https:// URLs"),
        ("https://h/x", "{ssh_key_file: t}", "for ssh:// URLs"),
        ("https://h/x", "{user: 'a b'}", "cannot be a user"),
        ("https://h/x", "{user: -x, token: t}", "token"),
    ],
)
def test_access_that_does_not_fit_its_url_is_refused(url: str, access: str, said: str) -> None:
    with pytest.raises(InvalidDocument, match=said):
        read(url, access=access)


def test_url_named_twice_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="named twice"):
        read("https://h/x", fallbacks="[{url: 'https://h/x'}]")


def test_revoked_keys_without_allowed_ones_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="needs allowed_signers"):
        read("https://h/x", "trust: {revoked_keys: r}")
