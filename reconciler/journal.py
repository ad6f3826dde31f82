"""The reconciler's log: one line per event, ``<UTC time> <event> key=value ...``.

Values that come from elsewhere are quoted and shortened, so that nobody can forge a line. The
last few events are remembered for the status. No secret is ever passed in here.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.clock import Clock

REMEMBERED: Final = 20
LONGEST_VALUE: Final = 400
FILE_BYTES: Final = 1 << 20

_HASH: Final = re.compile(r"\b([0-9a-f]{10})[0-9a-f]{30,54}\b")
_BARE: Final = re.compile(r"[A-Za-z0-9_.,:/@+\[\]-]+")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words; ``at`` in seconds since the epoch."""

    at: float
    text: str


class Lines(Protocol):
    """Where lines go."""

    def write(self, line: str, /) -> object:
        """Take one line, with its line break."""
        ...

    def flush(self) -> object:
        """Let nothing wait."""
        ...


class Journal:
    """Writes events to a stream of lines and remembers the last few."""

    def __init__(self, lines: Lines, clock: Clock) -> None:
        self._lines = lines
        self._clock = clock
        self._last: deque[Event] = deque(maxlen=REMEMBERED)

    @property
    def last(self) -> tuple[Event, ...]:
        """The last few events, oldest first."""
        return tuple(self._last)

    def note(self, event: str, /, **facts: object) -> None:
        """Write one event with its facts in the order given; a broken stream is no error."""
        now = self._clock.now()
        shown = " ".join(str(value) for value in facts.values())
        text = _HASH.sub(r"\1", f"{event} {shown}".strip())
        self._last.append(Event(now, text[:LONGEST_VALUE]))
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        said = "".join(f" {key}={_quoted(value)}" for key, value in facts.items())
        try:
            self._lines.write(f"{stamp} {_quoted(event)}{said}\n")
            self._lines.flush()
        except (OSError, ValueError):
            # Whoever read the log is gone. The machine matters more than its log.
            return


class BoundedFile:
    """A log file that is put aside as ``<name>.1`` when it is full: twice the size at most."""

    def __init__(self, path: Path, size: int = FILE_BYTES) -> None:
        self._path = path
        self._size = size
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: str, /) -> None:
        """See ``Lines.write``."""
        if self._file.tell() + len(line) > self._size:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(line)

    def flush(self) -> None:
        """See ``Lines.flush``."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _quoted(value: object) -> str:
    """``value`` as it is if it is one plain word, else as a JSON string on one line."""
    said = str(value)
    if len(said) > LONGEST_VALUE:
        said = f"{said[:LONGEST_VALUE]}..."
    return said if _BARE.fullmatch(said) else json.dumps(said)
