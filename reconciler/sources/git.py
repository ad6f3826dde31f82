"""The Git repository that says what the machine should be: fetch a branch, read its files.

A bare clone and nothing else: there is no work tree, so no hook, filter, symbolic link or
submodule of the repository ever takes effect here. Files are read as blobs, with limits. All
calls block, for at most the given time; the reconciler makes them from a thread. Deciding
which commit counts is not done here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NewType

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory
from reconciler.gitcommand import Answer, GitCommand
from reconciler.settings import check_branch, check_url
from reconciler.tree import (
    REGULAR_FILE,
    Entry,
    Tree,
    TreeLimits,
    is_spec_folder,
    is_spec_name,
    refused_entries,
)
from reconciler.unreachable import (
    DamagedClone,
    EmptyRepository,
    SourceUnreachable,
    one_line,
    redacted,
    unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Revision = NewType("Revision", str)

LOCAL_TIMEOUT_S: Final = 30.0

_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
# Accepted where a person names a commit: a hash or a branch, never an option or a range.
_NAMED = re.compile(r"(?!-)(?!.*(\.\.|@\{))[A-Za-z0-9._/~^-]{1,200}")
_KEPT_REF: Final = "refs/macula/applied"

_FOLDER_MODE: Final = "040000"
_REGULAR_MODES: Final = ("100644", "100755", "100664")
_KINDS: Final = {"120000": "a symbolic link", "160000": "a submodule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as people know it; ``time`` is in seconds since the epoch."""

    revision: Revision
    subject: str
    author: str
    time: float


@dataclass(frozen=True, slots=True)
class _Blob:
    mode: str
    sha: str
    entry: Entry


class GitSource:
    """One branch of one repository, mirrored into ``state_dir/repository.git``."""

    def __init__(
        self,
        url: str,
        branch: str,
        state_dir: Path,
        *,
        timeout_s: float = 60.0,
        limits: TreeLimits | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``timeout_s`` bounds each exchange with the server; ``note`` hears of repairs."""
        try:
            self.url, self.branch = check_url(url), check_branch(branch)
        except ValueError as error:
            raise UsageError(str(error), "mend repository in the settings") from error
        self._directory = state_dir / "repository.git"
        self._home = state_dir / "git-home"
        self._timeout_s = timeout_s
        self._limits = limits or TreeLimits()
        self._note = note
        self._git = GitCommand(self._directory, self._home)

    @property
    def shown_url(self) -> str:
        """The URL without any password."""
        return redacted(self.url)

    def abort(self) -> None:
        """End a running call soon; every later one is refused. Callable from any thread."""
        self._git.abort()

    def open_or_clone(self) -> None:
        """Have a bare repository in place, free of what an earlier crash left half done."""
        make_private_directory(self._home)
        if not self._is_repository():
            shutil.rmtree(self._directory, ignore_errors=True)
            make_private_directory(self._directory)
            self._local("init", "--quiet", "--bare", "--template=")
        self._remove_leftovers()

    def fetch(self) -> Revision:
        """Fetch the branch and return its tip; follows a branch whose history was rewritten.

        Raises ``EmptyRepository`` or ``SourceUnreachable``; nothing known before is lost then. A
        damaged clone is replaced by a new one, once.
        """
        self.open_or_clone()
        answer = self._fetch_branch()
        if not answer.is_ok:
            self._explain(answer)
            self._clone_anew("the clone is damaged")
        tip = self.tip()
        if tip is None:
            raise DamagedClone(f"{self._directory}: the fetched branch is not there", "fetch again")
        return tip

    def tip(self) -> Revision | None:
        """The newest commit that was fetched, without asking the server."""
        if not self._directory.is_dir():
            return None
        answer = self._try("rev-parse", "--verify", "--quiet", f"{self._tracking}^{{commit}}")
        return Revision(answer.text) if answer.is_ok else None

    def resolve(self, named: str) -> Revision:
        """The commit that a person named by hash or branch; raises ``UsageError``."""
        if _NAMED.fullmatch(named):
            for name in (named, f"refs/remotes/origin/{named}"):
                answer = self._try("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
                if answer.is_ok:
                    return Revision(answer.text)
        raise UsageError(f"{one_line(named)!r} names no commit of {self.shown_url}", "see git log")

    def holds(self, revision: Revision) -> bool:
        """Whether that commit was fetched and is still there."""
        return self._try("cat-file", "-e", f"{_checked(revision)}^{{commit}}").is_ok

    def commit(self, revision: Revision) -> Commit:
        """Subject, author and time of a commit, safe to show; raises ``DamagedClone``."""
        form = "--format=%an%x00%ct%x00%s"
        answer = self._local("log", "-1", "--no-show-signature", form, _checked(revision), "--")
        author, time, subject = answer.text.split("\x00", 2)
        return Commit(
            revision=revision,
            subject=one_line(subject, 120),
            author=one_line(author, 60),
            time=float(time),
        )

    def is_ancestor(self, older: Revision, newer: Revision) -> bool:
        """Whether ``newer`` contains ``older``; a commit contains itself."""
        words = ("merge-base", "--is-ancestor", _checked(older), _checked(newer))
        return self._try(*words).is_ok

    def keep(self, revision: Revision) -> None:
        """Protect this commit from being cleaned away, also after its branch was rewritten."""
        self._local("update-ref", _KEPT_REF, _checked(revision))

    def tree(self, revision: Revision) -> Tree:
        """The YAML files at the top and every file under ``nodes/`` and ``apps/``.

        Anything there that is no regular file of moderate size becomes a problem of the commit.
        Raises ``DamagedClone`` if the commit cannot be read.
        """
        listed = self._listed(_checked(revision))
        problems = refused_entries((blob.entry for blob in listed), self._limits)
        if problems:
            return Tree(problems=problems)
        contents = self._contents([blob.sha for blob in listed])
        return Tree(files={b.entry.path: c for b, c in zip(listed, contents, strict=True)})

    @property
    def _tracking(self) -> str:
        return f"refs/remotes/origin/{self.branch}"

    def _is_repository(self) -> bool:
        return self._directory.is_dir() and self._try("rev-parse", "--git-dir").is_ok

    def _fetch_branch(self) -> Answer:
        return self._git.run(
            "fetch",
            "--quiet",
            "--no-tags",
            "--prune",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            self.url,
            f"+refs/heads/{self.branch}:{self._tracking}",
            timeout_s=self._timeout_s,
        )

    def _explain(self, failed: Answer) -> None:
        """Raise whose fault a failed fetch was; return if it can only be our own clone's."""
        if failed.status is None:
            raise unreachable(self.url, failed.said)
        heads = self._git.run("ls-remote", "--heads", "--", self.url, timeout_s=self._timeout_s)
        if not heads.is_ok:
            raise unreachable(self.url, heads.said)
        branches = [line.split("refs/heads/", 1)[-1] for line in heads.text.splitlines()]
        if not branches:
            raise EmptyRepository(
                f"{self.shown_url}: the repository is empty", f"push a commit to {self.branch}"
            )
        if self.branch not in branches:
            there = one_line(", ".join(branches[:5]), 120)
            raise SourceUnreachable(
                f"{self.shown_url}: there is no branch {self.branch!r}",
                f"set repository.branch to one of: {there}",
            )
        if self._is_healthy():
            raise unreachable(self.url, failed.said)

    def _is_healthy(self) -> bool:
        words = ("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        return self._git.run(*words, timeout_s=self._timeout_s).is_ok

    def _clone_anew(self, why: str) -> None:
        """Replace the clone; the old one is put aside first, and put back if that fails."""
        self._note(f"{why}: cloning {self.shown_url} again")
        aside = self._directory.with_suffix(".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        self._directory.rename(aside)
        try:
            self.open_or_clone()
            answer = self._fetch_branch()
            if not answer.is_ok:
                raise unreachable(self.url, answer.said)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            aside.rename(self._directory)
            raise
        shutil.rmtree(aside, ignore_errors=True)

    def repair(self) -> None:
        """Clone again after a ``DamagedClone``; raises ``SourceUnreachable`` if that fails."""
        self._clone_anew("a commit in the clone cannot be read")

    def _remove_leftovers(self) -> None:
        # A killed git leaves lock files that would stop every later one, and half packs. Only
        # the holder of the reconciler's lock gets here, so nobody is using them.
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
            for leftover in self._directory.glob(pattern):
                with suppress(OSError):
                    leftover.unlink()

    def _listed(self, revision: str) -> list[_Blob]:
        top = _parse_listing(self._local("ls-tree", "-z", "-l", revision).output)
        paths = [blob.entry.path for blob in top if blob.mode == _FOLDER_MODE]
        folders = [path for path in paths if is_spec_folder(path)]
        files = [b for b in top if b.mode != _FOLDER_MODE and is_spec_name(b.entry.path)]
        if folders:
            below = self._local("ls-tree", "-r", "-z", "-l", revision, "--", *folders)
            files += _parse_listing(below.output)
        return files

    def _contents(self, shas: list[str]) -> list[bytes]:
        with tempfile.TemporaryFile() as asked:
            asked.write("".join(f"{sha}\n" for sha in shas).encode())
            asked.seek(0)
            answer = self._git.run("cat-file", "--batch", timeout_s=LOCAL_TIMEOUT_S, stdin=asked)
        if not answer.is_ok:
            raise self._damaged(answer)
        try:
            return _split_contents(answer.output, shas)
        except ValueError as error:
            raise DamagedClone(f"{self._directory}: {error}", "") from error

    def _try(self, *words: str) -> Answer:
        return self._git.run(*words, timeout_s=LOCAL_TIMEOUT_S)

    def _local(self, *words: str) -> Answer:
        answer = self._try(*words)
        if not answer.is_ok:
            raise self._damaged(answer)
        return answer

    def _damaged(self, answer: Answer) -> DamagedClone:
        return DamagedClone(f"{self._directory}: git says: {one_line(answer.said)}", "")


def _parse_listing(output: bytes) -> list[_Blob]:
    """Read ``mode type sha size\\tpath\\0`` as ``git ls-tree -l -z`` writes it."""
    listed = []
    for record in output.split(b"\x00")[:-1]:
        facts, path = record.split(b"\t", 1)
        mode, _, sha, size = facts.decode().split()
        kind = REGULAR_FILE if mode in _REGULAR_MODES else _KINDS.get(mode, f"of mode {mode}")
        shown = path.decode("utf-8", "backslashreplace")
        listed.append(_Blob(mode, sha, Entry(shown, kind, 0 if size == "-" else int(size))))
    return listed


def _split_contents(output: bytes, shas: list[str]) -> list[bytes]:
    """Take ``<sha> blob <size>\\n<content>\\n`` apart, as git-cat-file(1) states it.

    Raises ``ValueError`` where Git says that it has no such blob.
    """
    contents, at = [], 0
    for sha in shas:
        end = output.find(b"\n", at)
        words = output[at : max(end, at)].split()
        if len(words) != 3 or words[0] != sha.encode():
            raise ValueError(f"{sha} cannot be read")
        size = int(words[2])
        contents.append(output[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
    return contents


def _checked(revision: str) -> str:
    if _REVISION.fullmatch(revision) is None:
        raise UsageError(f"{one_line(revision)!r} is no commit hash", "give 40 hex digits")
    return revision
