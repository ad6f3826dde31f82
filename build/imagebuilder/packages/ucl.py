"""UCL, as far as pkg repositories write it: settings, arrays and sections, with comments.

Written from the description of the format at github.com/vstakhov/libucl. Macros, includes,
variables, heredocs, number suffixes and repeated keys are left out: no ``meta.conf`` and no
fingerprint file has them, and each is an error that names its line.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from maculaos.errors import UsageError

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value]"

TEXT_CHARACTERS_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 8

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*|/\*.*?\*/)
      | (?P<quoted>"(?:[^"\\\n]|\\.)*")
      | (?P<mark>[{}\[\],;=:])
      | (?P<bare>[^\s{}\[\],;=:"'\#]+)""",
    re.VERBOSE | re.DOTALL,
)
# A value without quotes: it may hold ':' and '=', which end a key.
_BARE_VALUE: Final = re.compile(r"[^\s{}\[\],;\"'#]+")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "/": "/"}
_WORDS: Final[dict[str, bool]] = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}


class UclError(UsageError):
    """The text is not of the subset that is read here; says the line."""


def parse(text: str, where: str) -> dict[str, Value]:
    """The settings that ``text`` makes; ``where`` names it in a ``UclError``."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise UclError(f"{where}: longer than {TEXT_CHARACTERS_MAX} characters", "is it UCL?")
    return _Reader(text, where).document()


class _Reader:
    """A recursive descent over the tokens of one text."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0

    def document(self) -> dict[str, Value]:
        """Everything: either bare settings, or one section around them."""
        if self._peek() == "{":
            self._take()
            settings = self._settings(end="}", depth=1)
            self._separator()
            if self._peek():
                raise self._error("text after the closing brace")
            return settings
        return self._settings(end="", depth=0)

    def _settings(self, end: str, depth: int) -> dict[str, Value]:
        if depth > DEPTH_MAX:
            raise self._error(f"more than {DEPTH_MAX} levels")
        settings: dict[str, Value] = {}
        while (token := self._take()) != end:
            key = self._key(token)
            if key in settings:
                raise self._error(f"{key!r} is set twice")
            settings[key] = self._assigned(depth)
            self._separator()
        return settings

    def _key(self, token: str) -> str:
        if not token:
            raise self._error("a closing brace is missing")
        if token in set("{}[],;=:"):
            raise self._error(f"a key was expected, not {token!r}")
        if token.startswith("."):
            raise self._error(f"macros are not read here: {token!r}")
        return self._unquoted(token) if token.startswith('"') else token

    def _assigned(self, depth: int) -> Value:
        """A value after ``=`` or ``:``, or a section right after its key."""
        mark = self._peek()
        if mark in {"=", ":"}:
            self._take()
        elif mark != "{":
            raise self._error("= or : was expected after the key")
        return self._value(depth)

    def _value(self, depth: int) -> Value:
        opening = self._peek()
        if opening == "{":
            self._take()
            return self._settings(end="}", depth=depth + 1)
        if opening == "[":
            self._take()
            return self._array(depth + 1)
        if opening.startswith('"'):
            return self._unquoted(self._take())
        found = _BARE_VALUE.match(self._text, self._at)
        if found is None or not opening:
            raise self._error("a value was expected")
        self._at = found.end()
        return _plain(found.group())

    def _array(self, depth: int) -> list[Value]:
        if depth > DEPTH_MAX:
            raise self._error(f"more than {DEPTH_MAX} levels")
        values: list[Value] = []
        while self._peek() != "]":
            values.append(self._value(depth))
            if self._peek() not in {",", "]"}:
                raise self._error(", or ] was expected in an array")
            if self._peek() == ",":
                self._take()
        self._take()
        return values

    def _separator(self) -> None:
        while self._peek() in {",", ";"}:
            self._take()

    def _peek(self) -> str:
        """The next token, left in place; blanks before it are skipped for good."""
        token = self._take()
        self._at -= len(token)
        return token

    def _take(self) -> str:
        while self._at < len(self._text):
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                raise self._error(f"{self._text[self._at]!r} has no meaning here")
            self._at = found.end()
            if found.lastgroup != "blank":
                return found.group()
        return ""

    def _unquoted(self, token: str) -> str:
        def meaning(escape: re.Match[str]) -> str:
            if escape.group(1) not in _ESCAPES:
                raise self._error(f"{escape.group()} is no escape that is read here")
            return _ESCAPES[escape.group(1)]

        return re.sub(r"\\(.)", meaning, token[1:-1], flags=re.DOTALL)

    def _error(self, what: str) -> UclError:
        line = self._text.count("\n", 0, self._at) + 1
        return UclError(f"{self._where}: line {line}: {what}")


def _plain(word: str) -> Value:
    """What a word without quotes means: a boolean, a whole number, or itself."""
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    return int(word) if re.fullmatch(r"-?[0-9]{1,18}", word) else word
