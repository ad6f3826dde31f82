"""Our own bare clone: commits, their ancestry, and the files in them, without any network.

There is no work tree, so no hook, filter, symbolic link or submodule of the repository ever takes
effect here. The clone may lack contents of files (a partial clone): what lacks is said, and never
fetched from here. All calls block, for at most ``LOCAL_TIMEOUT_S``.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NewType

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory
from reconciler.sources.command import Answer, GitCommand
from reconciler.sources.tree import (
    REGULAR_FILE,
    Entry,
    is_spec_folder,
    is_spec_name,
)
from reconciler.sources.unreachable import DamagedClone, SourceUnreachable, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

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
class Listed:
    """One entry of a commit's tree, by its path, and what kind of thing it is in words."""

    mode: str
    sha: str
    path: str
    kind: str

    def entry(self, size: int = 0) -> Entry:
        """The same, as the limits are checked on it."""
        return Entry(self.path, self.kind, size)


class Clone:
    """The bare repository in ``directory``; safe to read from several threads."""

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = directory
        # The home folder of git: empty, but for what we put there.
        self.home = home
        self.git = GitCommand(directory, home)
        # An operator's rollback keeps a commit while a fetch clears up after a crash.
        self._refs = threading.Lock()

    def open(self) -> None:
        """Have a bare repository in place, free of what an earlier crash left half done."""
        make_private_directory(self.home)
        if not self._is_repository():
            shutil.rmtree(self.directory, ignore_errors=True)
            make_private_directory(self.directory)
            self.local("init", "--quiet", "--bare", "--template=")
        self._remove_leftovers()

    def is_healthy(self, timeout_s: float) -> bool:
        """Whether all that a commit refers to is there, or promised by a remote."""
        words = ("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        return self.git.run(*words, timeout_s=timeout_s).is_ok

    def head(self, ref: str) -> Revision | None:
        """The commit that ``ref`` stands for, None for no such ref."""
        if not self.directory.is_dir():
            return None
        answer = self.attempt("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return Revision(answer.text) if answer.is_ok else None

    def named(self, name: str, prefix: str) -> Revision | None:
        """The commit that a person named by hash, or by what follows ``prefix`` in a ref."""
        if _NAMED.fullmatch(name) is None:
            return None
        return self.head(name) or self.head(f"{prefix}{name}")

    def holds(self, revision: Revision) -> bool:
        """Whether that commit was fetched and is still there."""
        return self.attempt("cat-file", "-e", f"{checked(revision)}^{{commit}}").is_ok

    def commit(self, revision: Revision) -> Commit:
        """Subject, author and time of a commit, safe to show; raises ``DamagedClone``."""
        form = "--format=%an%x00%ct%x00%s"
        answer = self.local("log", "-1", "--no-show-signature", form, checked(revision), "--")
        author, time, subject = answer.text.split("\x00", 2)
        return Commit(
            revision=revision,
            subject=one_line(subject, 120),
            author=one_line(author, 60),
            time=float(time),
        )

    def is_ancestor(self, older: Revision, newer: Revision) -> bool:
        """Whether ``newer`` contains ``older``; a commit contains itself."""
        words = ("merge-base", "--is-ancestor", checked(older), checked(newer))
        return self.attempt(*words).is_ok

    def keep(self, revision: Revision) -> None:
        """Protect this commit from being cleaned away, also after its branch was rewritten."""
        with self._refs:
            self.local("update-ref", _KEPT_REF, checked(revision))

    def listed(self, revision: Revision) -> list[Listed]:
        """What may be a spec: YAML files at the top, everything in the folders of specs."""
        top = _parse_listing(self.local("ls-tree", "-z", checked(revision)).output)
        folders = [one.path for one in top if one.mode == _FOLDER_MODE and is_spec_folder(one.path)]
        found = [one for one in top if one.mode != _FOLDER_MODE and is_spec_name(one.path)]
        if folders:
            below = self.local("ls-tree", "-r", "-z", revision, "--", *folders)
            found += _parse_listing(below.output)
        return found

    def entries_at(self, revision: Revision, paths: Sequence[str]) -> list[Listed]:
        """What lies at exactly these paths of that commit; what is not there is left out."""
        found = self.local("ls-tree", "-z", checked(revision), "--", *paths)
        return _parse_listing(found.output)

    def is_partial(self) -> bool:
        """Whether contents may lack because a remote was asked to leave them out."""
        return self.attempt("config", "--get-regexp", r"^remote\..*\.promisor$").is_ok

    def missing(self, revision: Revision, shas: Iterable[str]) -> list[str]:
        """Those of the contents ``shas`` of that commit that were never fetched."""
        if not self.is_partial():
            return []
        words = ("rev-list", "--objects", "--no-object-names", "--missing=print")
        said = self.local(*words, f"{checked(revision)}^{{tree}}").text
        gone = {line[1:] for line in said.splitlines() if line.startswith("?")}
        return [sha for sha in dict.fromkeys(shas) if sha in gone]

    def sizes(self, shas: Sequence[str]) -> list[int]:
        """How many bytes each content has; raises ``DamagedClone`` if one is not there."""
        answer = self._batch("--batch-check=%(objectname) %(objectsize)", shas)
        try:
            return [int(line.split()[1]) for line in answer.text.splitlines()]
        except (IndexError, ValueError) as error:
            raise DamagedClone(f"{self.directory}: a content is missing", "") from error

    def contents(self, shas: Sequence[str]) -> list[bytes]:
        """The contents; raises ``DamagedClone`` if one is not there."""
        try:
            return _split_contents(self._batch("--batch", shas).output, shas)
        except ValueError as error:
            raise DamagedClone(f"{self.directory}: {error}", "") from error

    def attempt(self, *words: str) -> Answer:
        """Run git on the clone alone; what came of it is in the answer.

        Raises ``SourceUnreachable`` if it does not end in time: that says nothing of the clone.
        """
        return self._in_time(self.git.run(*words, timeout_s=LOCAL_TIMEOUT_S))

    def local(self, *words: str) -> Answer:
        """Run git on the clone alone; raises ``DamagedClone`` if that fails."""
        answer = self.attempt(*words)
        if not answer.is_ok:
            raise self._damaged(answer)
        return answer

    def _batch(self, how: str, shas: Sequence[str]) -> Answer:
        with lines_of(shas) as asked:
            run = self.git.run("cat-file", how, timeout_s=LOCAL_TIMEOUT_S, stdin=asked)
            answer = self._in_time(run)
        if not answer.is_ok:
            raise self._damaged(answer)
        return answer

    def _in_time(self, answer: Answer) -> Answer:
        if answer.status is None:
            what = f"{self.directory}: git {one_line(answer.said)}"
            raise SourceUnreachable(what, "see whether the disk is slow, or the machine busy")
        return answer

    def _is_repository(self) -> bool:
        return self.directory.is_dir() and self.attempt("rev-parse", "--git-dir").is_ok

    def _remove_leftovers(self) -> None:
        # A killed git leaves lock files that would stop every later one, and half packs. Only
        # the holder of the reconciler's lock gets here, and no thread of it writes a ref meanwhile.
        with self._refs:
            for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
                for leftover in self.directory.glob(pattern):
                    with suppress(OSError):
                        leftover.unlink()

    def _damaged(self, answer: Answer) -> DamagedClone:
        return DamagedClone(f"{self.directory}: git says: {one_line(answer.said)}", "")


@contextmanager
def lines_of(words: Iterable[str]) -> Iterator[BinaryIO]:
    """A real file that holds a word in each line, for git to read."""
    with tempfile.TemporaryFile() as asked:
        asked.write("".join(f"{word}\n" for word in words).encode())
        asked.seek(0)
        yield asked


def checked(revision: str) -> str:
    """``revision`` if it is a whole commit hash; raises ``UsageError``."""
    if _REVISION.fullmatch(revision) is None:
        raise UsageError(f"{one_line(revision)!r} is no commit hash", "give 40 hex digits")
    return revision


def _parse_listing(output: bytes) -> list[Listed]:
    """Read ``mode type sha\\tpath\\0`` as ``git ls-tree -z`` writes it."""
    listed = []
    for record in output.split(b"\x00")[:-1]:
        facts, path = record.split(b"\t", 1)
        mode, _, sha = facts.decode().split()
        kind = REGULAR_FILE if mode in _REGULAR_MODES else _KINDS.get(mode, f"of mode {mode}")
        listed.append(Listed(mode, sha, path.decode("utf-8", "backslashreplace"), kind))
    return listed


def _split_contents(output: bytes, shas: Sequence[str]) -> list[bytes]:
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
