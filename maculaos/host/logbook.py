"""The log of a daemon: one line per event, ``<UTC time> <level> <event> key=value ...``.

A line is for people and for ``grep``: the event comes from a small fixed vocabulary, everything
that varies is a value. Values that come from other machines are quoted and shortened, so nobody
can forge a line or flood a log with one. No secret is ever passed in here.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from maculaos.host.clock import Clock

_BARE: Final = re.compile(r"[A-Za-z0-9_.,:/@+\[\]-]+")
_SHOWN: Final = 300


class Level(IntEnum):
    """How much a line matters; a logbook leaves out what lies below its own level."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Lines(Protocol):
    """Where lines go: an open text file is one of them."""

    def write(self, line: str, /) -> object:
        """Take one line, with its line break."""
        ...

    def flush(self) -> object:
        """Let nothing wait."""
        ...


class Logbook:
    """Writes lines to a stream, which is standard error for a daemon."""

    def __init__(self, stream: Lines, clock: Clock, level: Level = Level.INFO) -> None:
        self._stream = stream
        self._clock = clock
        self._level = level

    def note(self, event: str, level: Level = Level.INFO, /, **facts: object) -> None:
        """Write one line, with the facts in the order given; a broken stream is no error."""
        if level < self._level:
            return
        said = "".join(f" {key}={_quoted(value)}" for key, value in facts.items())
        moment = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        try:
            self._stream.write(f"{stamp} {level.name.lower()} {_quoted(event)}{said}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read the log is gone. The work matters more than its log.
            return


class LibraryHandler(logging.Handler):
    """Turns what libraries log into lines of a logbook, however loud they are, as details.

    What matters of them to an operator, this project counts and says itself.
    """

    def __init__(self, logbook: Logbook) -> None:
        super().__init__()
        self._logbook = logbook

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; an error inside asyncio itself is the exception that is no detail."""
        level = Level.ERROR if record.levelno >= logging.ERROR else Level.DEBUG
        self._logbook.note("library", level, name=record.name, said=record.getMessage())


def _quoted(value: object) -> str:
    """``value`` as it is if it is one plain word, else as a JSON string on one line."""
    said = str(value)
    if len(said) > _SHOWN:
        said = f"{said[:_SHOWN]}..."
    return said if _BARE.fullmatch(said) else json.dumps(said)
