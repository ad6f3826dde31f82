"""The files in ``state_dir``: what a reconciler remembers, and what it shows to others.

``state.json`` (progress) is what the next start relies on; ``status.json``, ``history.jsonl``,
``events.jsonl`` and ``metrics.prom`` are for people and programs, and may be read by anybody. Each
is replaced atomically. Only the holder of the lock writes.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import (
    AlreadyLocked,
    exclusive_lock,
    remove_leftovers,
    write_atomically,
)
from reconciler.activity import Snapshot
from reconciler.deployments import DEPLOYMENTS
from reconciler.estate import INVENTORY, VERSIONS
from reconciler.events import decode_events, encode_events
from reconciler.generations import (
    Progress,
    decode_history,
    decode_progress,
    encode_history,
    encode_progress,
    remember,
)
from reconciler.machine import own_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.events import Event
    from reconciler.generations import Generation

_PROGRESS: Final = "state.json"
_HISTORY: Final = "history.jsonl"
_SNAPSHOT: Final = "status.json"
_EVENTS: Final = "events.jsonl"
METRICS: Final = "metrics.prom"
_FILES: Final = (_PROGRESS, _HISTORY, _SNAPSHOT, _EVENTS, METRICS, INVENTORY, VERSIONS, DEPLOYMENTS)


class Store:
    """The files of one reconciler under ``state_dir``; at most ``most`` generations of history."""

    def __init__(self, state_dir: Path, most: int) -> None:
        self.folder = state_dir
        self._most = most
        # The history as it was read last, and what file that was.
        self._read: tuple[tuple[int, ...], tuple[Generation, ...]] = ((), ())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only reconciler of this ``state_dir``; raises ``UsageError`` if one runs."""
        own_directory("state_dir", self.folder)
        with ExitStack() as held:
            try:
                held.enter_context(exclusive_lock(self.folder / "lock"))
            except AlreadyLocked as error:
                raise AlreadyLocked(
                    f"a reconciler already runs here: {error.what}",
                    "use it (reconciler status, reconciler sync) or stop it (reconciler down)",
                ) from None
            for name in _FILES:
                remove_leftovers(self.folder / name)
            yield

    def progress(self) -> Progress:
        """How far the last reconciler came; raises ``UsageError`` if that cannot be read."""
        path = self.folder / _PROGRESS
        try:
            return decode_progress(path.read_bytes())
        except FileNotFoundError:
            return Progress()
        except UsageError as error:
            raise UsageError(f"{path}: {error.what}", error.hint) from error

    def save_progress(self, progress: Progress) -> None:
        """Remember how far we came."""
        write_atomically(self.folder / _PROGRESS, encode_progress(progress), 0o600)

    def history(self) -> tuple[Generation, ...]:
        """The generations, oldest first."""
        path = self.folder / _HISTORY
        try:
            found = path.stat()
            # It is only ever replaced, so another content is another file.
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if stamp != self._read[0]:
                self._read = (stamp, decode_history(path.read_bytes(), self._most))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return self._read[1]

    def record(self, generation: Generation) -> None:
        """Add ``generation`` to the history."""
        history = remember(self.history(), generation, self._most)
        write_atomically(self.folder / _HISTORY, encode_history(history), 0o644)

    def events(self) -> tuple[Event, ...]:
        """The events that are remembered; the one that happened last at the end."""
        try:
            return decode_events((self.folder / _EVENTS).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def save_events(self, events: Iterable[Event]) -> None:
        """Remember these events, and no others."""
        write_atomically(self.folder / _EVENTS, encode_events(events), 0o644)

    def metrics(self) -> str:
        """The metrics that were written last; empty for none."""
        try:
            return (self.folder / METRICS).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def save_metrics(self, exposition: str) -> None:
        """Show the metrics, for a collector that reads files."""
        write_atomically(self.folder / METRICS, exposition.encode(), 0o644)

    def snapshot(self) -> Snapshot | None:
        """What the last reconciler said of itself; None if none ever ran."""
        try:
            said = json.loads((self.folder / _SNAPSHOT).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            said = {}
        return Snapshot.from_json(said if isinstance(said, dict) else {})

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Show how things stand."""
        content = json.dumps(snapshot.as_json(), indent=2).encode() + b"\n"
        write_atomically(self.folder / _SNAPSHOT, content, 0o644)
