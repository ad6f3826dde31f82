"""Slips of the pen in YAML: what its parser complains of, in words for who wrote the file.

The parser says which token it wanted next; people want to know which bracket is open, and where
it began. A slip that is not known here gets a general sentence, never the parser's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.documents.problem import Problem

if TYPE_CHECKING:
    import yaml

# Git's sign for "both sides changed this".
_CONFLICT: Final = re.compile(r"^<<<<<<< ", re.MULTILINE)
_CLOSING: Final = {"[": "]", "{": "}"}
_INDENT: Final = "indent with spaces; lines of one list or mapping begin in the same column"


@dataclass(frozen=True, slots=True)
class _Slip:
    """One kind of slip, known by what the parser says of it (its context, ``|``, its problem)."""

    said: re.Pattern[str]
    what: str
    hint: str
    # Whether its place is where the unfinished thing began, not where the parser gave up.
    is_at_beginning: bool = False


def _slip(said: str, what: str, hint: str, *, is_at_beginning: bool = False) -> _Slip:
    return _Slip(re.compile(said), what, hint, is_at_beginning)


# In words: {sign} stands at the place of the slip, {began} is where {opened} began and what
# {closing} would close. The first that fits counts.
_SLIPS: Final = (
    _slip(
        r"parsing a flow .*<stream end>",
        "this {opened} is never closed",
        "close it with {closing}",
        is_at_beginning=True,
    ),
    _slip(
        r"found ','", "nothing stands before this comma", "remove it, or write the text in quotes"
    ),
    _slip(
        r"parsing a flow ",
        "the {opened} that began at {began} is not closed before this",
        "close it with {closing}, or write a comma",
    ),
    _slip(
        r"scanning a quoted scalar\|found unexpected",
        "this {opened} is never closed",
        "close it with {opened}, on the same line",
        is_at_beginning=True,
    ),
    _slip(
        r"scanning a simple key",
        "a key without its colon",
        "write key: value, with a blank after the colon",
        is_at_beginning=True,
    ),
    _slip(r"character '\\t'", "a tab where only spaces may stand", "indent with spaces"),
    _slip(
        r"that cannot start any token",
        "text without quotes cannot begin with {sign}",
        "write it in quotes",
    ),
    _slip(
        r"scanning (an alias|an anchor|a tag|a block scalar)|parsing a tag",
        "text without quotes cannot begin with {opened} like this",
        "write it in quotes",
        is_at_beginning=True,
    ),
    _slip(r"undefined tag handle", "tags (!) may not be used", "write the text in quotes"),
    _slip(
        r"mapping values are not allowed in this line",
        "a second colon in one line",
        "write text that has a colon in quotes",
    ),
    _slip(
        r"mapping values are not allowed",
        "a key where the line above goes on",
        "give the line above its colon, or begin both lines in the same column",
    ),
    _slip(r"found '[]}]'", "this {sign} closes nothing", "remove it, or write the text in quotes"),
    _slip(
        r"expected <block end>, but found ('<scalar>'|'<anchor>'|'<alias>'|'[\[{,]')",
        "something after the end of a value",
        "close each quote on its line, and write the whole text in quotes",
    ),
    _slip(
        r"parsing a block mapping\|expected <block end>, but found '-'",
        "a list item among keys",
        "write the list below its key",
    ),
    _slip(
        r"parsing a block collection\|expected <block end>, but found '\?'",
        "a key among list items",
        _INDENT,
    ),
    _slip(
        r"expected <block end>|expected '<document start>'",
        "this line does not begin in the same column as those it belongs to",
        _INDENT,
    ),
    _slip(
        r"sequence entries are not allowed",
        "a list cannot begin here",
        "begin it on a line of its own, or write text with - in quotes",
    ),
    _slip(r"escape", "a \\ before {sign} means nothing", r"write \\ for \, or use single quotes"),
    _slip(r"directive|YAML document", "lines that begin with % are not read", "remove it"),
)
_ANY: Final = _slip("", "this cannot be read as YAML", "write text with : or # in it in quotes")


def explained(
    error: yaml.MarkedYAMLError, text: str, path: str, bracket: yaml.Mark | None = None
) -> Problem:
    """What ``error`` means for who wrote ``text``, and where to look; ``path`` names the file.

    ``bracket`` is where the innermost bracket stands that was open when the parser gave up.
    """
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        what = "two versions of this file were merged and not settled"
        hint = "keep one of them, and remove the lines with <<<<<<<, ======= and >>>>>>>"
        return Problem(path, line, 1, what, hint)
    slip = _which(error, text)
    found = error.problem_mark or error.context_mark
    began = (bracket if "a flow " in str(error.context) else error.context_mark) or found
    words = {
        "sign": _sign_at(found, text),
        "opened": _sign_at(began, text),
        "closing": _CLOSING.get(_sign_at(began, text), ""),
        "began": "line {}, column {}".format(*_position(began)),
    }
    line, column = _position(began if slip.is_at_beginning else found)
    return Problem(path, line, column, slip.what.format_map(words), slip.hint.format_map(words))


def _which(error: yaml.MarkedYAMLError, text: str) -> _Slip:
    said = f"{error.context}|{error.problem}"
    if error.problem_mark is not None and ": " in _line_before(error.problem_mark, text):
        said = said.replace("not allowed here", "not allowed in this line")
    return next((slip for slip in _SLIPS if slip.said.search(said)), _ANY)


def _position(mark: yaml.Mark | None) -> tuple[int, int]:
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _line_before(mark: yaml.Mark, text: str) -> str:
    """The line of ``mark`` up to it."""
    return text[mark.index - mark.column : mark.index]


def _sign_at(mark: yaml.Mark | None, text: str) -> str:
    """The character at ``mark``, if it can be shown."""
    sign = text[mark.index : mark.index + 1] if mark is not None else ""
    return sign if sign.isprintable() and sign.strip() else "this"
