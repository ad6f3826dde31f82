"""A watcher of a serial console: bytes and times in, events out.

Rules. Everything that is seen depends on the bytes and on how long they stop, never on how they
were cut into chunks. A sign of the end is told as soon as its last character is there. A wish is
met by what came after the last one that was met, so nothing is missed between two waits. A shell
that nobody asked for looks like any text until nothing follows it: it is told when the console is
quiet.

It reads no socket, writes no log and ends nothing: ``imagebuilder.vm.driver`` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imagebuilder.vm.screen import BREAK, Screen

if TYPE_CHECKING:
    from collections.abc import Iterable

# A longer line is cut in two.
LINE_CHARACTERS_MAX: Final = 4096
# How much is kept for the next wish; older lines are forgotten first.
UNREAD_CHARACTERS_MAX: Final = 1 << 20
# A prompt is one if so many seconds pass with nothing behind it.
PROMPT_QUIET_S: Final = 3.0

# A login shell, or /bin/sh as init and rc.initdiskless start it: its prompt is all of the line.
_SHELL_PROMPT: Final = re.compile(r"(?:[\w.-]+@[\w.-]*:\S* ?)?[#$%] ?")


@dataclass(frozen=True, slots=True)
class Sign:
    """Text that means the end of a run, at the start of a line or anywhere."""

    text: str
    meaning: str
    begins_line: bool = False


# Of FreeBSD: the kernel, its debugger, the prompt for a root file system, single user mode.
FATAL_SIGNS: Final = (
    Sign("panic:", "the kernel panicked"),
    Sign("mountroot>", "the kernel found no root file system, and waits for ever"),
    Sign("db>", "the kernel's debugger waits for ever", begins_line=True),
    Sign("Enter full pathname of shell", "the system stopped in single user mode"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line, without its end, at most ``LINE_CHARACTERS_MAX`` characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """A sign of the end, and the line so far."""

    meaning: str
    line: str


@dataclass(frozen=True, slots=True)
class Matched:
    """The wish was met by this text; ``groups`` are those of its expression."""

    text: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing came for that many seconds; told once until something comes."""

    seconds: float
    last_line: str


Event = Line | Fatal | Matched | Silent


@dataclass(frozen=True, slots=True)
class Text:
    """A wish for these characters within one line, finished or not: a prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class WholeLine:
    """A wish for a finished line in which the expression is found."""

    expression: re.Pattern[str]


Wish = Text | WholeLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to look out for."""

    signs: tuple[Sign, ...] = FATAL_SIGNS
    # False where somebody logs in on this console.
    is_shell_fatal: bool = True
    # A console that says nothing for so long hangs; lower finds that sooner, and blames slow work.
    silence_s: float = 120.0
    prompt_quiet_s: float = PROMPT_QUIET_S


@dataclass(slots=True)
class _Unread:
    """Finished lines that no wish has taken yet, of bounded size."""

    lines: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, line: str) -> None:
        """Keep one more line, and forget old ones."""
        self.lines.append(line)
        self.size += len(line)
        while self.size > UNREAD_CHARACTERS_MAX:
            self.size -= len(self.lines.pop(0))

    def drop(self, count: int) -> None:
        """Forget the first ``count`` lines."""
        self.size -= sum(map(len, self.lines[:count]))
        del self.lines[:count]


class Console:
    """The watcher; times are monotonic seconds."""

    def __init__(self, watch: Watch, now: float) -> None:
        self._watch = watch
        self._screen = Screen()
        self._unread = _Unread()
        self._line = ""
        # Of the line that is being written, so much belongs to wishes that were met.
        self._taken = 0
        self._wish: Wish | None = None
        self._last_line = ""
        self._heard_at = now
        self._silent_since = now
        self._is_silence_told = False
        self._is_prompt_told = False

    @property
    def last_line(self) -> str:
        """What was said last, for people: the line being written, else the one before."""
        return self._line or self._last_line

    def expect(self, wish: Wish, now: float) -> Matched | None:
        """Wish for something; it may have come already. It replaces the wish before.

        Silence counts from here: a machine that had nothing to say before is not to blame.
        """
        self._wish = wish
        self._silent_since, self._is_silence_told = now, False
        for index, line in enumerate(self._unread.lines):
            if (matched := _match_finished(wish, line)) is not None:
                return self._meet(index, line, matched)
        if isinstance(wish, Text) and (at := self._line.find(wish.text, self._taken)) >= 0:
            self._unread.drop(len(self._unread.lines))
            self._taken = at + len(wish.text)
            return self._met(Matched(wish.text))
        return None

    def forget(self) -> None:
        """Wish for nothing any more."""
        self._wish = None

    def start_over(self) -> None:
        """Take no notice of what came so far: the next wish is for what comes from here on."""
        self._unread = _Unread()
        self._taken = len(self._line)

    def feed(self, data: bytes, now: float) -> tuple[Event, ...]:
        """What these bytes, which came at ``now``, tell."""
        if not data:
            return ()
        self._heard_at = self._silent_since = now
        self._is_silence_told = self._is_prompt_told = False
        events: list[Event] = []
        for character in self._screen.feed(data):
            if character == BREAK:
                events += self._finish_line()
            elif character == "\b":
                self._erase()
            else:
                self._line += character
                events += self._look(character)
                if len(self._line) >= LINE_CHARACTERS_MAX:
                    events += self._finish_line()
        return tuple(events)

    def advance(self, now: float) -> tuple[Event, ...]:
        """What it tells that nothing came until ``now``."""
        events: list[Event] = []
        if not self._is_prompt_told and self._is_shell():
            self._is_prompt_told = now - self._heard_at >= self._watch.prompt_quiet_s
            if self._is_prompt_told:
                events.append(Fatal("a shell that nobody asked for waits", self._line))
        silence = now - self._silent_since
        if silence >= self._watch.silence_s and not self._is_silence_told:
            self._is_silence_told = True
            events.append(Silent(silence, self.last_line))
        return tuple(events)

    def _look(self, character: str) -> Iterable[Event]:
        """Signs and wishes that end with this character."""
        for sign in self._watch.signs:
            if sign.text[-1] == character and _shows(sign, self._line):
                yield Fatal(sign.meaning, self._line)
        wish = self._wish
        if (
            isinstance(wish, Text)
            and wish.text[-1:] == character
            and self._line.endswith(wish.text)
            and len(self._line) - len(wish.text) >= self._taken
        ):
            self._unread.drop(len(self._unread.lines))
            self._taken = len(self._line)
            yield self._met(Matched(wish.text))

    def _finish_line(self) -> Iterable[Event]:
        line, rest = self._line, self._line[self._taken :]
        self._line, self._taken = "", 0
        if not line:
            return
        self._last_line = line
        yield Line(line)
        if rest:
            self._unread.add(rest)
        if isinstance(self._wish, WholeLine) and (matched := _match_finished(self._wish, rest)):
            yield self._meet(len(self._unread.lines) - 1, rest, matched)

    def _erase(self) -> None:
        self._line = self._line[:-1]
        self._taken = min(self._taken, len(self._line))

    def _meet(self, index: int, line: str, matched: tuple[Matched, int]) -> Matched:
        """Take the lines up to ``index``; of that one, what is behind the match stays."""
        found, end = matched
        self._unread.drop(index + 1)
        if rest := line[end:]:
            self._unread.lines.insert(0, rest)
            self._unread.size += len(rest)
        return self._met(found)

    def _met(self, matched: Matched) -> Matched:
        self._wish = None
        return matched

    def _is_shell(self) -> bool:
        return self._watch.is_shell_fatal and _SHELL_PROMPT.fullmatch(self._line) is not None


def _match_finished(wish: Wish, line: str) -> tuple[Matched, int] | None:
    """How a finished line meets the wish, and where in it the match ends."""
    if isinstance(wish, Text):
        at = line.find(wish.text)
        return None if at < 0 else (Matched(wish.text), at + len(wish.text))
    if (found := wish.expression.search(line)) is None:
        return None
    return Matched(line, tuple(group or "" for group in found.groups())), len(line)


def _shows(sign: Sign, line: str) -> bool:
    return line == sign.text if sign.begins_line else line.endswith(sign.text)
