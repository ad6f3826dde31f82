"""Whether a new tip may be followed: the facts, gathered from Git for ``reconciler.sources.trust``.

Git runs ssh-keygen(1), and gpg(1) if a keyring is named, on the lists of this machine and no
others. A program that is not wanted is replaced by one that always fails, since Git chooses by the
kind of the signature, whatever kind is asked for. Two answers must agree on each commit: the
letters of ``git log`` and the exit code of ``git verify-commit``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.sources.access import read_guarded
from reconciler.sources.clone import Revision, lines_of
from reconciler.sources.command import Reach
from reconciler.sources.keyring import open_keyring
from reconciler.sources.trust import (
    COMMITS_MAX,
    Signed,
    UnreadableSigners,
    judge_count,
    judge_history,
    judge_signatures,
    latest,
    parse_signers,
)
from reconciler.sources.unreachable import CannotVerify, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from maculaos.host.commands import CommandRunner
    from reconciler.sources.clone import Clone

BATCH: Final = 50
BATCH_TIMEOUT_S: Final = 60.0
# For OpenPGP the primary key's fingerprint, which is empty for SSH.
_FORM: Final = "--format=%H%x00%G?%x00%GP%x00%GF"
_GOOD: Final = "G"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom this machine trusts; all paths are absolute. By default: any linear history."""

    allowed_signers: Path | None = None
    revoked_keys: Path | None = None
    gpg_keyring: Path | None = None
    # A branch that was rewritten or taken back is followed all the same.
    follows_rewrites: bool = False

    @property
    def wants_signatures(self) -> bool:
        """Whether commits have to be signed."""
        return self.allowed_signers is not None or self.gpg_keyring is not None

    def check_files(self) -> None:
        """Raise ``SourceUnreachable`` if a list cannot be used as it lies there."""
        if self.allowed_signers is not None:
            ssh_keys(self.allowed_signers)
        if self.revoked_keys is not None:
            # Git goes on with a warning if there is no such file.
            read_guarded(self.revoked_keys, "revoked_keys", may_be_empty=True)
        if self.gpg_keyring is not None:
            read_guarded(self.gpg_keyring, "gpg_keyring")


class Verifier:
    """Says which commits of one clone may be followed."""

    def __init__(
        self, clone: Clone, trust: Trust, runner: CommandRunner, commits_max: int = COMMITS_MAX
    ) -> None:
        """``runner`` runs gpg; ``commits_max`` bounds what is verified for one tip."""
        self._clone = clone
        self._trust = trust
        self._runner = runner
        self._commits_max = commits_max

    def check(
        self, tip: Revision, anchor: str | None, now: float, *, consented: str | None = None
    ) -> None:
        """Return if ``tip`` may be followed; ``now`` in seconds since the epoch.

        ``anchor`` is the last commit that was accepted here, ``consented`` the one whose history
        an operator takes as it is. Such a commit, and the first of all, has to be signed itself;
        otherwise every commit that came since the anchor. Raises ``Untrusted``, or
        ``SourceUnreachable`` if this machine cannot tell.
        """
        trunk = Revision(anchor) if anchor is not None else None
        if trunk is not None and not self._clone.holds(trunk):
            trunk = None
        if not self._trust.follows_rewrites:
            descends = trunk is not None and self._clone.is_ancestor(trunk, tip)
            judge_history(anchor, tip, descends=descends, consented=consented)
        if self._trust.wants_signatures:
            commits = self._since(tip, None if tip == consented else trunk)
            self._check_signatures(commits, now)

    def _since(self, tip: Revision, trunk: Revision | None) -> list[str]:
        """The commits that ``tip`` has and ``trunk`` has not; at least ``tip`` itself."""
        if trunk is None:
            return [tip]
        most = f"--max-count={self._commits_max + 1}"
        commits = self._clone.local("rev-list", most, tip, f"^{trunk}").text.split()
        judge_count(tip, len(commits), self._commits_max)
        return commits or [tip]

    def _check_signatures(self, commits: Sequence[str], now: float) -> None:
        reach, keys = self._lists()
        batches = (commits[at : at + BATCH] for at in range(0, len(commits), BATCH))
        signed = [one for batch in batches for one in self._facts(batch, reach)]
        judge_signatures(signed, keys, now)

    def _facts(self, commits: Sequence[str], reach: Reach) -> Iterator[Signed]:
        with lines_of(commits) as asked:
            told = self._clone.git.run(
                *("log", "--no-walk=unsorted", "--no-show-signature", _FORM, "--stdin"),
                timeout_s=BATCH_TIMEOUT_S,
                stdin=asked,
                reach=reach,
            )
        words = ("verify-commit", *commits)
        verified = self._clone.git.run(*words, timeout_s=BATCH_TIMEOUT_S, reach=reach)
        rows = [line.split("\x00") for line in told.text.splitlines()]
        if not told.is_ok or verified.status is None or [row[0] for row in rows] != list(commits):
            said = one_line(told.said or verified.said)
            raise CannotVerify(f"signatures cannot be checked: git says: {said}", "")
        # One exit code for the whole batch: where the letters show whose fault it is, that one is
        # refused; where they show none, all are.
        is_verified = verified.is_ok or any(row[1] != _GOOD for row in rows)
        for revision, verdict, primary, key in rows:
            yield Signed(
                revision=revision, verdict=verdict, key=primary or key, is_verified=is_verified
            )

    def _lists(self) -> tuple[Reach, Mapping[str, float | None]]:
        self._trust.check_files()
        keys: dict[str, float | None] = {}
        settings = ["gpg.x509.program=false", "gpg.minTrustLevel=marginal"]
        environment: dict[str, str] = {}
        if self._trust.allowed_signers is None:
            settings.append("gpg.ssh.program=false")
        else:
            keys |= ssh_keys(self._trust.allowed_signers)
            settings.append(f"gpg.ssh.allowedSignersFile={self._trust.allowed_signers}")
        if self._trust.revoked_keys is not None:
            settings.append(f"gpg.ssh.revocationFile={self._trust.revoked_keys}")
        if self._trust.gpg_keyring is None:
            settings.append("gpg.openpgp.program=false")
        else:
            home = self._clone.home / "gnupg"
            keys |= dict.fromkeys(open_keyring(self._trust.gpg_keyring, home, self._runner))
            environment["GNUPGHOME"] = str(home)
        return Reach(configuration=tuple(settings), environment=environment), keys


def ssh_keys(allowed_signers: Path) -> dict[str, float | None]:
    """By fingerprint until when each key of that file counts; raises ``CannotVerify``."""
    if shutil.which("ssh-keygen") is None:
        raise CannotVerify("there is no ssh-keygen program on the PATH", "install openssh")
    try:
        return latest(parse_signers(read_guarded(allowed_signers, "allowed_signers")))
    except UnreadableSigners as error:
        raise CannotVerify(
            f"allowed_signers {allowed_signers}: {error}", "see ssh-keygen(1), ALLOWED SIGNERS"
        ) from error
