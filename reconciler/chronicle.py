"""What a worker writes down: history, progress, events and metrics; a full disk never ends it.

Each reason why a file could not be written is said once, and shown until it could be. What the
files mean is said where their values are: ``reconciler.generations``, ``reconciler.events``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from reconciler.generations import Outcome
from reconciler.metrics import Tally, exposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.convergence import Failure
    from reconciler.generations import Generation, Progress
    from reconciler.journal import Journal
    from reconciler.standing import Standing
    from reconciler.status import Status
    from reconciler.store import Store


class Chronicle:
    """Writes for one worker; only the holder of the store's lock has one."""

    def __init__(self, store: Store, journal: Journal, standing: Standing) -> None:
        """Recall from the files what happened and how things stood when the last worker ended."""
        self._store = store
        self._journal = journal
        self._standing = standing
        # What was counted since this worker started.
        self.tally = Tally()
        self._saved: Progress | None = None
        # Why the machine could not be looked at the last time; empty if it could.
        self._blindness = ""
        with suppress(OSError):
            journal.ring.recall(store.events())
        self._events_saved = journal.ring.version
        with suppress(OSError, UsageError):
            snapshot = store.snapshot()
            standing.recall(None if snapshot is None else snapshot.status)

    def recalled(self) -> Progress:
        """How far the last worker came; raises ``UsageError`` if that cannot be read.

        A refused commit is not evaluated again, so recall what was wrong with it; if that was
        never written down, forget the refusal, and the next look at the commit says it.
        """
        self._saved = progress = self._store.progress()
        if progress.is_distrusted:
            return progress.without_refusal()  # the lists on this machine may be others now
        for generation in self.history():
            if generation.revision == progress.refused and generation.outcome is Outcome.REFUSED:
                self._standing.refusal = generation.problems
                return progress
        return progress.without_refusal()

    def history(self) -> tuple[Generation, ...]:
        """The generations, oldest first; none if they cannot be read."""
        try:
            return self._store.history()
        except OSError:
            return ()  # writing it will say why

    def record(self, generation: Generation) -> None:
        """Put ``generation`` into the history."""
        self._write("history.jsonl", lambda: self._store.record(generation))

    def save_progress(self, progress: Progress) -> None:
        """Keep ``progress`` if it changed."""
        if progress != self._saved and self._write(
            "state.json", lambda: self._store.save_progress(progress)
        ):
            self._saved = progress

    def publish(self, status: Status) -> None:
        """Keep new events, and show the metrics of this moment."""
        self._save_events()
        text = exposition(status, self.tally)
        self._write("metrics.prom", lambda: self._store.save_metrics(text))

    def cannot_look(self, reason: str, failure: Failure | None = None) -> None:
        """Say a reason once, however long it lasts and whoever looked; empty if one could.

        ``failure`` is that of the last repair: what it said was told.
        """
        if reason not in ("", self._blindness, "" if failure is None else failure.reason):
            self._journal.cannot("look at the machine", reason)
        self._blindness = reason

    def _save_events(self) -> None:
        ring = self._journal.ring
        version = ring.version
        if version != self._events_saved and self._write(
            "events.jsonl", lambda: self._store.save_events(ring.all())
        ):
            self._events_saved = version

    def _write(self, file: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.wrote(file, error)
            return False
        self.wrote(file)
        return True

    def wrote(self, file: str, error: OSError | None = None) -> None:
        """Remember why ``file`` could not be written, or that it could; say each reason once."""
        reason = "" if error is None else error.strerror or str(error)
        if reason and reason != self._standing.unwritten.get(file):
            self._journal.cannot(f"write {file}", reason, file=file)
        self._standing.unwritten[file] = reason
