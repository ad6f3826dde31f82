"""The reconciler's journal: every event as a line of the log, and the last few as sentences.

The line is for programs and ``grep`` (``maculaos.host.logbook`` writes it), the sentence for who
watches the live view, or asks for the events later (``reconciler.events``). No secret is ever
passed in here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.host.logbook import Level, Logbook
from reconciler import events
from reconciler.names import item_key, node_jail
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maculaos.host.clock import Clock
    from maculaos.host.logbook import Lines

REMEMBERED: Final = 20
LONGEST_SENTENCE: Final = 400
FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in a sentence; ``at`` in seconds since the epoch."""

    at: float
    text: str


class Journal:
    """Writes events to a stream of lines and remembers the last few."""

    def __init__(self, lines: Lines, clock: Clock) -> None:
        self._logbook = Logbook(lines, clock)
        self._clock = clock
        self._last: deque[Event] = deque(maxlen=REMEMBERED)
        # Kept over restarts by whoever has the files.
        self.ring = events.EventRing()

    @property
    def last(self) -> tuple[Event, ...]:
        """The last few events that came with a sentence, oldest first."""
        return tuple(self._last)

    def note(
        self, event: str, sentence: str = "", level: Level = Level.INFO, /, **facts: object
    ) -> None:
        """Write one event with its facts in the order given; a broken stream is no error.

        ``sentence`` says the same to people; without one only the log has the event.
        """
        self._logbook.note(event, level, **facts)
        if sentence:
            happened = Event(self._clock.now(), one_line(sentence, LONGEST_SENTENCE))
            self._last.append(happened)
            self.ring.note(_counted(event, happened, level, facts))

    def cannot(self, what: str, why: object, /, **facts: object) -> None:
        """Note that ``what`` could not be done, such as ``fetch``: the log has ``cannot_fetch``."""
        event = f"cannot_{what.split()[0]}"
        self.note(event, f"cannot {what}: {why}", Level.WARNING, **facts, reason=why)


def _counted(name: str, happened: Event, level: Level, facts: Mapping[str, object]) -> events.Event:
    """The event as it is counted: what took another time is the same thing."""
    cause = facts.get("reason") or facts.get("why") or happened.text
    jail = facts.get("jail") or (node_jail(str(facts["node"])) if "node" in facts else "")
    return events.Event(
        name=one_line(name, LONGEST_SENTENCE),
        text=happened.text,
        level="info" if level <= Level.INFO else "warning" if level == Level.WARNING else "error",
        item=item_key(str(jail)) if jail else "",
        cause=one_line(str(cause), LONGEST_SENTENCE),
        first_at=happened.at,
        last_at=happened.at,
    )


class BoundedFile:
    """A log file that is put aside as ``<name>.1`` when it is full: twice the size at most."""

    def __init__(self, path: Path, size: int = FILE_BYTES) -> None:
        self._path = path
        self._size = size
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: str, /) -> None:
        """See ``Lines.write`` of the logbook."""
        if self._file.tell() + len(line) > self._size:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(line)

    def flush(self) -> None:
        """See ``Lines.flush`` of the logbook."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
