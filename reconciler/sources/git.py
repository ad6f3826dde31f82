"""The Git repository that says what the machine should be: fetch a branch, read its files.

One clone, and one or more remotes that it is fetched from, in order of preference. From servers
only commits and trees are fetched (a partial clone), and then the specs of the commits that are
read, all in one request; repositories on this machine, and servers that know nothing of this, are
fetched in full. All calls block, for at most the given time; the reconciler makes them from a
thread. Whether a commit may be followed is not decided here.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from reconciler.settings import check_branch, check_url
from reconciler.sources.access import reach_of
from reconciler.sources.clone import Clone, Commit, Revision, lines_of
from reconciler.sources.remotes import (
    OPEN,
    Asked,
    Chosen,
    Remote,
    choose_head,
    is_local,
    remotes_of,
)
from reconciler.sources.tree import (
    REGULAR_FILE,
    Tree,
    TreeLimits,
    named_secrets,
    refused_entries,
    unreadable_entries,
    unreadable_secrets,
)
from reconciler.sources.unreachable import (
    DamagedClone,
    EmptyRepository,
    SourceUnreachable,
    one_line,
    unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from maculaos.documents import Problem
    from reconciler.sources.command import Answer

__all__ = ["Commit", "GitSource", "Revision"]

_PARTIAL: Final = "--filter=blob:none"
_UNFILTERED: Final = "filtering not recognized by server"


class GitSource:
    """One branch of one repository, mirrored into ``state_dir/repository.git``."""

    def __init__(
        self,
        remotes: str | Sequence[Remote],
        branch: str,
        state_dir: Path,
        *,
        timeout_s: float = 60.0,
        limits: TreeLimits | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``remotes`` is a URL, or remotes in order; ``timeout_s`` bounds each exchange with one.

        ``note`` hears of repairs, and of what a server cannot do.
        """
        self.remotes = remotes_of(remotes, OPEN, ()) if isinstance(remotes, str) else tuple(remotes)
        try:
            for remote in self.remotes:
                check_url(remote.url)
            self.branch = check_branch(branch)
        except ValueError as error:
            raise UsageError(str(error), "mend repository in the settings") from error
        self.clone = Clone(state_dir / "repository.git", state_dir / "git-home")
        self._timeout_s = timeout_s
        self._limits = limits or TreeLimits()
        self._note = note
        self._unfiltered: set[str] = set()

    @property
    def shown_url(self) -> str:
        """The URL of the first remote, without any password."""
        return self.remotes[0].shown_url

    def abort(self) -> None:
        """End a running call soon; every later one is refused. Callable from any thread."""
        self.clone.git.abort()

    def open_or_clone(self) -> None:
        """Have a bare repository in place, free of what an earlier crash left half done."""
        self.clone.open()

    def fetch(self) -> Revision:
        """Ask every remote, and return the head that counts; nothing known before is lost.

        Follows a branch whose history was rewritten. Raises ``EmptyRepository`` or
        ``SourceUnreachable``. A damaged clone is replaced by a new one, once.
        """
        return Revision(self.choose(self.ask()).head)

    def ask(self, names: Collection[str] | None = None) -> tuple[Asked, ...]:
        """Fetch the branch from those remotes (all, if none are named), in order."""
        remotes = [one for one in self.remotes if names is None or one.name in names]
        self.open_or_clone()
        try:
            return tuple(map(self._ask, remotes))
        except DamagedClone:
            return self._clone_anew("the clone is damaged", remotes)

    def choose(self, asked: Sequence[Asked]) -> Chosen:
        """The head that counts, of those that were asked and of the others' last known ones.

        Raises what kept the first from answering if nobody did.
        """
        answered = {one.name: one.head for one in asked if one.head is not None}
        if not answered:
            raise _why(asked)
        silent = [one for one in self.remotes if one.name not in answered]
        chosen = choose_head(self.remotes, answered, self._remembered(silent), self._is_ancestor)
        if chosen is None:
            raise _why(asked)
        return chosen

    def tip(self) -> Revision | None:
        """The newest commit that was fetched, without asking a server."""
        known = self._remembered(self.remotes)
        chosen = choose_head(self.remotes, {}, known, self._is_ancestor)
        return None if chosen is None else Revision(chosen.head)

    def resolve(self, named: str) -> Revision:
        """The commit that a person named by hash or branch; raises ``UsageError``."""
        tip = self.tip() if named == self.branch else None
        found = tip or self.clone.named(named, "refs/remotes/origin/")
        if found is None:
            shown = one_line(named)
            raise UsageError(f"{shown!r} names no commit of {self.shown_url}", "see git log")
        return found

    def holds(self, revision: Revision) -> bool:
        """Whether that commit was fetched and is still there."""
        return self.clone.holds(revision)

    def commit(self, revision: Revision) -> Commit:
        """Subject, author and time of a commit, safe to show; raises ``DamagedClone``."""
        return self.clone.commit(revision)

    def is_ancestor(self, older: Revision, newer: Revision) -> bool:
        """Whether ``newer`` contains ``older``; a commit contains itself."""
        return self.clone.is_ancestor(older, newer)

    def keep(self, revision: Revision) -> None:
        """Protect this commit from being cleaned away, also after its branch was rewritten."""
        self.clone.keep(revision)

    def tree(self, revision: Revision) -> Tree:
        """The YAML files at the top, every file in the folders of specs, secrets that they name.

        Anything there that is no regular file of moderate size is a problem by itself.
        What a partial clone lacks of them is fetched. Raises ``DamagedClone`` if the commit
        cannot be read, ``SourceUnreachable`` if what lacks cannot be had.
        """
        listed = self.clone.listed(revision)
        problems = refused_entries((one.entry() for one in listed), self._limits)
        if problems:
            return Tree(problems=problems)
        # A submodule is a commit of elsewhere: only files have a size here.
        shas = [one.sha for one in listed if one.kind == REGULAR_FILE]
        self._fetch_missing(revision, shas)
        sizes = dict(zip(shas, self.clone.sizes(shas), strict=True))
        entries = [one.entry(sizes.get(one.sha, 0)) for one in listed]
        problems = refused_entries(entries, self._limits)
        if problems:
            return Tree(problems=problems)
        unreadable = unreadable_entries(entries, self._limits)
        taken = [one for one in listed if one.path not in unreadable]
        contents = self.clone.contents([one.sha for one in taken])
        files = {one.path: c for one, c in zip(taken, contents, strict=True)}
        secrets, unusable = self._secrets(revision, named_secrets(files.values()))
        return Tree(
            files=files,
            secrets=secrets,
            unreadable=tuple(
                problem for found in (*unreadable.values(), *unusable.values()) for problem in found
            ),
        )

    def _secrets(
        self, revision: Revision, paths: Sequence[str]
    ) -> tuple[dict[str, bytes], Mapping[str, tuple[Problem, ...]]]:
        """The encrypted files at these paths, and what keeps others from being read."""
        listed = self.clone.entries_at(revision, paths) if paths else []
        shas = [one.sha for one in listed if one.kind == REGULAR_FILE]
        if not listed:
            return {}, {}
        self._fetch_missing(revision, shas)
        sizes = dict(zip(shas, self.clone.sizes(shas), strict=True))
        entries = [one.entry(sizes.get(one.sha, 0)) for one in listed]
        unreadable = unreadable_secrets(entries, self._limits)
        taken = [one for one in listed if one.path not in unreadable]
        contents = self.clone.contents([one.sha for one in taken])
        return {one.path: c for one, c in zip(taken, contents, strict=True)}, unreadable

    def repair(self) -> None:
        """Clone again after a ``DamagedClone``; raises ``SourceUnreachable`` if that fails."""
        self._clone_anew("a commit in the clone cannot be read", self.remotes)

    def _is_ancestor(self, older: str, newer: str) -> bool:
        return self.clone.is_ancestor(Revision(older), Revision(newer))

    def _remembered(self, remotes: Sequence[Remote]) -> dict[str, str]:
        heads = ((one.name, self.clone.head(self._tracking(one))) for one in remotes)
        return {name: head for name, head in heads if head is not None}

    def _tracking(self, remote: Remote) -> str:
        return f"refs/remotes/{remote.name}/{self.branch}"

    def _ask(self, remote: Remote) -> Asked:
        try:
            return Asked(remote.name, self._fetched(remote))
        except DamagedClone:
            raise
        except SourceUnreachable as error:
            return Asked(remote.name, error=error)

    def _fetched(self, remote: Remote) -> Revision:
        tracking = self._tracking(remote)
        answer = self._fetch_from(
            remote,
            "--prune",
            remote.name,
            f"+refs/heads/{self.branch}:{tracking}",
        )
        if not answer.is_ok:
            self._explain(remote, answer)
        head = self.clone.head(tracking) if answer.is_ok else None
        if head is None:
            raise DamagedClone(f"{self.clone.directory}: the fetched branch is not there", "")
        is_news = not is_local(remote.url) and remote.name not in self._unfiltered
        if _UNFILTERED in answer.said and is_news:
            self._unfiltered.add(remote.name)
            self._note(f"{remote.shown_url} knows no partial clones: it is fetched in full")
        return head

    def _fetch_from(
        self, remote: Remote, *words: str, stdin: BinaryIO | None = None, also: tuple[str, ...] = ()
    ) -> Answer:
        partial = (_PARTIAL,) if self._is_partial() else ()
        return self._run(
            remote,
            *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *partial,
            *words,
            stdin=stdin,
            also=also,
        )

    def _is_partial(self) -> bool:
        """Whether contents are left out; for all remotes alike, local ones or not.

        A clone that lacks some takes nothing from a remote that is expected to send them all.
        """
        return not all(is_local(one.url) for one in self.remotes) or self.clone.is_partial()

    def _run(
        self, remote: Remote, *words: str, stdin: BinaryIO | None = None, also: tuple[str, ...] = ()
    ) -> Answer:
        reach = reach_of(remote.url, remote.access, self.clone.home)
        # The URL is never written into the clone: what Git has there, it cannot go to by itself.
        named = (f"remote.{remote.name}.url={remote.url}", *also)
        reach = replace(reach, configuration=(*reach.configuration, *named))
        return self.clone.git.run(*words, timeout_s=self._timeout_s, stdin=stdin, reach=reach)

    def _fetch_missing(self, revision: Revision, shas: Sequence[str]) -> None:
        """Have the contents of these specs, in one request to the first remote that has them."""
        missing = self.clone.missing(revision, shas)
        failures: list[SourceUnreachable] = []
        for remote in self.remotes if missing else ():
            try:
                with lines_of(missing) as wanted:
                    words = ("--stdin", remote.name)
                    noop = ("fetch.negotiationAlgorithm=noop",)
                    answer = self._fetch_from(remote, *words, stdin=wanted, also=noop)
            except SourceUnreachable as error:
                failures.append(error)
                continue
            if answer.is_ok:
                return
            failures.append(unreachable(remote.url, answer.said))
        if failures:
            raise failures[0]

    def _explain(self, remote: Remote, failed: Answer) -> None:
        """Raise whose fault a failed fetch was; return if it can only be our own clone's."""
        if failed.status is None:
            raise unreachable(remote.url, failed.said)
        heads = self._run(remote, "ls-remote", "--heads", remote.name)
        if not heads.is_ok:
            raise unreachable(remote.url, heads.said)
        branches = [line.split("refs/heads/", 1)[-1] for line in heads.text.splitlines()]
        if not branches:
            raise EmptyRepository(
                f"{remote.shown_url}: the repository is empty", f"push a commit to {self.branch}"
            )
        if self.branch not in branches:
            there = one_line(", ".join(branches[:5]), 120)
            raise SourceUnreachable(
                f"{remote.shown_url}: there is no branch {self.branch!r}",
                f"set repository.branch to one of: {there}",
            )
        if self.clone.is_healthy(self._timeout_s):
            raise unreachable(remote.url, failed.said)

    def _clone_anew(self, why: str, remotes: Sequence[Remote]) -> tuple[Asked, ...]:
        """Replace the clone; the old one is put aside first, and put back if that fails."""
        self._note(f"{why}: cloning {self.shown_url} again")
        directory = self.clone.directory
        aside = directory.with_suffix(".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        try:
            self.open_or_clone()
            asked = tuple(map(self._ask, remotes))
            if all(one.head is None for one in asked):
                raise _why(asked)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            aside.rename(directory)
            raise
        shutil.rmtree(aside, ignore_errors=True)
        return asked


def _why(asked: Sequence[Asked]) -> SourceUnreachable:
    """Why nobody gave a commit: what the first said that is not just empty."""
    errors = [one.error for one in asked if one.error is not None]
    errors.sort(key=lambda error: isinstance(error, EmptyRepository))
    if not errors:
        return SourceUnreachable("no remote was asked", "fetch again")
    first, others = errors[0], len(errors) - 1
    if not others or isinstance(first, EmptyRepository):
        return first
    more = f" (and {others} more of the remotes failed)"
    return SourceUnreachable(f"{first.what}{more}", first.hint)
