"""Keys that sign commits, and commits signed by them: with the real ssh-keygen and gpg."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from upstream import Upstream

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen here"
)
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg here")


class SshKey:
    """A key pair of ssh in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        words = ("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.path))
        run("ssh-keygen", *words)

    @property
    def public(self) -> str:
        return self.path.with_suffix(".pub").read_text().strip()

    @property
    def fingerprint(self) -> str:
        return run("ssh-keygen", "-lf", str(self.path)).split()[1]

    def allowed(self, options: str = "", principal: str = "ann@example.test") -> str:
        """A line of allowed_signers."""
        return " ".join(filter(None, (principal, options, self.public))) + "\n"

    @property
    def words(self) -> tuple[str, ...]:
        """Options of git that make it sign with this key."""
        return ("-c", "gpg.format=ssh", "-c", f"user.signingkey={self.path}")


class GpgKey:
    """A key of OpenPGP in a home folder of its own; ``folder`` has a short name."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        folder.mkdir(mode=0o700)
        words = ("--passphrase", "", "--quick-generate-key", "Ann <ann@example.test>", "ed25519")
        self._gpg("--pinentry-mode", "loopback", *words, "sign", "never")

    @property
    def keyring(self) -> bytes:
        done = subprocess.run(
            ["gpg", "--homedir", str(self.home), "--export"], capture_output=True, check=True
        )
        return done.stdout

    @property
    def words(self) -> tuple[str, ...]:
        """Options of git that make it sign with this key."""
        program = self.home / "sign"
        program.write_text(f'#!/bin/sh\nexec gpg --homedir "{self.home}" "$@"\n')
        program.chmod(0o700)
        return ("-c", f"gpg.program={program}", "-c", "user.signingkey=ann@example.test")

    def close(self) -> None:
        """End the agent that gpg started."""
        run("gpgconf", "--homedir", str(self.home), "--kill", "all")

    def _gpg(self, *words: str) -> str:
        return run("gpg", "--homedir", str(self.home), "--batch", "--quiet", *words)


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


def sign(upstream: Upstream, key: SshKey | GpgKey | None, at: str = "") -> str:
    """Push an empty commit signed by ``key``, dated ``at`` (now, if that is empty)."""
    words = () if key is None else key.words
    how = ("--no-gpg-sign",) if key is None else ("-S",)
    commit(upstream, (*words, "commit", *how, "--quiet", "--allow-empty", "-m", "signed"), at)
    return upstream.push()


def merge(upstream: Upstream, branch: str, key: SshKey) -> str:
    """Merge ``branch`` into main by a signed commit, and push."""
    commit(upstream, (*key.words, "merge", "-S", "--no-ff", "--quiet", "-m", "merge", branch), "")
    return upstream.push()


def commit(upstream: Upstream, words: Sequence[str], at: str) -> None:
    identity = {
        name: value
        for who in ("AUTHOR", "COMMITTER")
        for name, value in (
            (f"GIT_{who}_NAME", "Ada"),
            (f"GIT_{who}_EMAIL", "ada@example.test"),
            (f"GIT_{who}_DATE", at),
        )
        if value
    }
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **identity,
    }
    subprocess.run(
        ["git", *words],
        cwd=upstream.work,
        env=environment,
        check=True,
        capture_output=True,
        timeout=30,
    )
