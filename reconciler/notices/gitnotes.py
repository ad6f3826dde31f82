"""Notices as Git notes: what came of each commit, in a ref of this machine's own, pushed.

The ref is ``refs/notes/reconciler/<machine>``, so machines that push at once never meet. The notes
are made in a small bare repository of their own, not in the clone that is followed: nothing here
can disturb a fetch, and a clone that is made anew loses no note. What is pushed goes with the same
credentials as a fetch, to that one ref, never with force, and never to a branch.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.threads import in_thread
from reconciler.notices.ledger import NotTold
from reconciler.notices.notice import State, redacted_text
from reconciler.sources.access import reach_of
from reconciler.sources.clone import Clone, Revision, checked
from reconciler.sources.unreachable import redacted_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from reconciler.notices.notice import Notice
    from reconciler.sources.command import Answer
    from reconciler.sources.remotes import Remote

FOLDER: Final = "notes.git"
# Notes in the newest state of the ref; beyond, older ones are in its history only.
MOST_NOTES: Final = 1000
_TRIES: Final = 3
_BEHIND: Final = ("[rejected]", "fetch first", "non-fast-forward", "cannot lock ref")
_UNNAMED: Final = re.compile(r"[^a-z0-9_-]+")
_LONGEST_NAME: Final = 100
_HASH: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def notes_ref(machine: str) -> str:
    """The ref of that machine; what a ref cannot hold becomes a hyphen."""
    words = (_UNNAMED.sub("-", word).strip("-") for word in machine.lower().split("."))
    name = ".".join(word for word in words if word)[:_LONGEST_NAME].strip(".") or "machine"
    return f"refs/notes/reconciler/{name.removesuffix('.lock')}"


class Annotator:
    """Writes and pushes the notes of one machine."""

    name: Final = "notes"

    def __init__(self, remote: Remote, state_dir: Path, machine: str, timeout_s: float) -> None:
        self._remote = remote
        self._repository = Clone(state_dir / FOLDER, state_dir / "git-home")
        self._machine = machine
        self._timeout_s = timeout_s
        self._ref = notes_ref(machine)

    @property
    def identity(self) -> str:
        """What was told counts for exactly this."""
        return f"{self._remote.shown_url} {self._ref}"

    def speaks_of(self, notice: Notice) -> bool:
        """Whether that is worth a note: something came of it."""
        return notice.state is not State.PENDING

    async def tell(self, notice: Notice) -> None:
        """Write the note and push it; raises ``NotTold``."""
        await self._in_words(lambda: self._push(notice))

    async def enquire(self) -> None:
        """Whether the remote would take a push, without one; raises ``NotTold``."""
        await self._in_words(self._try)

    def close(self) -> None:
        """End a git that runs, and begin none any more."""
        self._repository.git.abort()

    async def _in_words(self, work: Callable[[], None]) -> None:
        try:
            await in_thread(work)
        except UsageError as error:
            raise NotTold(redacted_text(str(error))) from error
        except OSError as error:
            raise NotTold(f"notes cannot be written: {error.strerror or error}") from error

    # In a thread.

    def _push(self, notice: Notice) -> None:
        self._repository.open()
        answer = None
        for attempt in range(_TRIES):
            tip = self._repository.head(self._ref)
            if tip is None or attempt:
                tip = self._fetched()
            commit = self._written(notice, tip)
            answer = self._ask("push", "--quiet", "--no-verify", self._remote.url, self._to(commit))
            if answer.is_ok:
                self._repository.local("update-ref", self._ref, commit)
                return
            if not any(word in answer.said for word in _BEHIND):
                break
        if answer is not None:
            raise NotTold(self._refusal(answer))

    def _try(self) -> None:
        self._repository.open()
        commit = self._repository.head(self._ref) or self._fetched() or self._commit({}, None, "-")
        words = ("push", "--quiet", "--dry-run", "--no-verify", self._remote.url, self._to(commit))
        answer = self._ask(*words)
        if not answer.is_ok:
            raise NotTold(self._refusal(answer))

    def _to(self, commit: str) -> str:
        return f"{commit}:{self._ref}"

    def _fetched(self) -> Revision | None:
        """What the remote has of our notes; None for nothing."""
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head")
        spec = f"+{self._ref}*:{self._ref}*"  # a pattern may match nothing
        answer = self._ask(*words, self._remote.url, spec)
        if not answer.is_ok:
            raise NotTold(self._refusal(answer))
        return self._repository.head(self._ref)

    def _written(self, notice: Notice, tip: Revision | None) -> str:
        """A commit on ``tip`` in which that note is what ``notice`` says."""
        said = {**notice.as_json(), "machine": self._machine}
        content = json.dumps(said, indent=1, ensure_ascii=False).encode() + b"\n"
        with _file_of(content) as file:
            blob = self._run("hash-object", "-w", "--stdin", stdin=file)
        notes = {**self._notes(tip), checked(notice.revision): blob}
        return self._commit(notes, tip, f"{notice.result} {notice.revision[:10]}")

    def _notes(self, tip: Revision | None) -> dict[str, str]:
        """The notes in ``tip``, by the commit that each is about."""
        if tip is None:
            return {}
        lines = self._run("ls-tree", "-r", tip).splitlines()
        parted = (line.partition("\t") for line in lines)
        # Git spreads many notes over folders; together they name the commit.
        found = {path.replace("/", ""): facts.split()[2] for facts, _, path in parted}
        notes = {path: blob for path, blob in found.items() if _HASH.fullmatch(path)}
        return notes if len(notes) < MOST_NOTES else {}

    def _commit(self, notes: Mapping[str, str], tip: Revision | None, subject: str) -> str:
        lines = "".join(f"100644 blob {blob}\t{path}\n" for path, blob in sorted(notes.items()))
        with _file_of(lines.encode()) as file:
            tree = self._run("mktree", stdin=file)
        parent = () if tip is None else ("-p", tip)
        return self._run("commit-tree", *parent, "-m", f"{self._machine}: {subject}", tree)

    def _run(self, *words: str, stdin: BinaryIO | None = None) -> str:
        answer = self._ask(*words, stdin=stdin)
        if not answer.is_ok:
            raise NotTold(f"notes cannot be written: {redacted_text(answer.said)}")
        return answer.text

    def _ask(self, *words: str, stdin: BinaryIO | None = None) -> Answer:
        reach = reach_of(self._remote.url, self._remote.access, self._repository.home)
        who = {
            "GIT_AUTHOR_NAME": "reconciler",
            "GIT_AUTHOR_EMAIL": f"reconciler@{self._machine}",
            "GIT_COMMITTER_NAME": "reconciler",
            "GIT_COMMITTER_EMAIL": f"reconciler@{self._machine}",
        }
        reach = replace(reach, environment={**reach.environment, **who})
        git = self._repository.git
        return git.run(*words, timeout_s=self._timeout_s, stdin=stdin, reach=reach)

    def _refusal(self, answer: Answer) -> str:
        said = redacted_text(redacted_in(answer.said, self._remote.url))
        return f"{self._remote.shown_url} does not take notes: {said}"


@contextmanager
def _file_of(content: bytes) -> Iterator[BinaryIO]:
    """A real file that holds ``content``, for git to read."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file
