"""Bytes of a serial console as plain text: escape sequences out, lines apart.

A carriage return, a line feed, a jump of the cursor and a cleared screen all end a line, and empty
lines are dropped: firmware and loaders draw on screens, but what they say is read as lines. This is
no terminal: what was drawn over what is not known here. Pure, and the same for every chunking.

The sequences are those of ECMA-48, section 5.4: ESC [ parameters final byte.
"""

from __future__ import annotations

import codecs
from enum import Enum, auto
from typing import Final

# What stands for the end of a line in the text that comes out.
BREAK: Final = "\n"

_ESCAPE: Final = "\x1b"
_BACKSPACE: Final = "\b"
_BREAKS: Final = frozenset("\r\n\f\v")
# Final bytes of control sequences that move to another line or clear: CUP, HVP, CUU, CUD, ED.
_LINE_ENDINGS: Final = frozenset("HfABJ")
# A control sequence that does not end is given up after so many characters.
_SEQUENCE_MAX: Final = 64


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    SEQUENCE = auto()


class Screen:
    """Turns bytes into characters, ``BREAK`` and backspaces; keeps only where it stands."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._state = _State.TEXT
        self._length = 0

    def feed(self, data: bytes) -> str:
        """Printable characters, ``BREAK`` for each end of a line, and backspaces."""
        return "".join(map(self._step, self._decoder.decode(data)))

    def _step(self, character: str) -> str:
        if self._state is _State.TEXT:
            return self._plain(character)
        self._length += 1
        if self._state is _State.ESCAPE:
            return self._after_escape(character)
        return self._in_sequence(character)

    def _plain(self, character: str) -> str:
        if character == _ESCAPE:
            self._state, self._length = _State.ESCAPE, 0
            return ""
        if character in _BREAKS:
            return BREAK
        if character == "\t":
            return " "
        return character if character.isprintable() or character == _BACKSPACE else ""

    def _after_escape(self, character: str) -> str:
        if character == "[":
            self._state = _State.SEQUENCE
        elif not " " <= character <= "/" or self._length > _SEQUENCE_MAX:
            # Intermediate bytes go on; anything else is the end, such as the B of ESC ( B.
            self._state = _State.TEXT
        return ""

    def _in_sequence(self, character: str) -> str:
        if character == _ESCAPE:
            self._state, self._length = _State.ESCAPE, 0
        elif "@" <= character <= "~" or self._length > _SEQUENCE_MAX:
            self._state = _State.TEXT
            return BREAK if character in _LINE_ENDINGS else ""
        return ""
