"""The tree of a YAML file: plain values, and where each of them stands.

The parser of PyYAML (the one in Python: the one in C can be crashed) only gives events; the tree
is built here, so that what could harm never takes effect: aliases and merges (they multiply),
tags (they construct), duplicate keys (they hide), several documents, great size and depth.
Scalars follow the core schema of YAML 1.2, with decimal numbers only: ``NO``, ``on``, ``017`` and
``12:30`` stay text. What the keys and values mean is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import yaml

from maculaos.documents.problem import InvalidDocument, Problem
from maculaos.documents.slips import explained

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIZE: Final = 256 * 1024
MAX_DEPTH: Final = 32
MAX_NODES: Final = 20_000

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Place: TypeAlias = "tuple[str | int, ...]"
Position: TypeAlias = tuple[int, int]

_WORDS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
# At most 18 digits: beyond them a number would not come back as it was written.
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
# The shortest text of a number may have 17 digits after three zeros.
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]{1,20}|(0|[1-9][0-9]{0,17})(\.[0-9]{0,20})?)([eE][-+]?[0-9]{1,2})?"
)
# Those of YAML 1.1, as the parser counts them.
_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NOT_TEXT: Final = re.compile("[\x00\ud800-\udfff]")


@dataclass(slots=True)
class Tree:
    """The values of one file and the places they were read from."""

    value: Plain = None
    # Where the value at a place starts, and the key that leads to it.
    values: dict[Place, Position] = field(default_factory=dict)
    keys: dict[Place, Position] = field(default_factory=dict)
    # Scalars written without quotes, as they were written.
    unquoted: dict[Place, str] = field(default_factory=dict)
    # The file that the value at a place was read from, where it is not the document's own.
    origins: dict[Place, str] = field(default_factory=dict)

    def nearest(self, place: Place) -> Place:
        """The deepest place of this tree on the way to ``place``, leaving unknown words out."""
        found: Place = ()
        for word in place:
            if (*found, word) in self.values:
                found = (*found, word)
        return found


def plant(content: bytes, path: str) -> Tree:
    """Build the tree of ``content``; ``path`` only names the file in problems.

    Raises ``InvalidDocument``: with the first problem of the syntax, or with every problem of
    what may not be in a document.
    """
    text = _decode(content, path)
    growing = _Growing(path)
    try:
        return growing.grow(text)
    except yaml.MarkedYAMLError as error:
        slip = explained(error, text, path, growing.bracket)
        raise InvalidDocument([*growing.problems, slip]) from error
    except yaml.reader.ReaderError as error:
        line, column = _position_in(text[: error.position])
        what = f"the character {_code_point(error.character)} may not be in a document"
        raise InvalidDocument([Problem(path, line, column, what, "remove it")]) from error
    except (ValueError, OverflowError) as error:
        # PyYAML computes some escapes and versions without looking at them first.
        what = "an escape or a number that cannot be read"
        raise InvalidDocument([Problem(path, *growing.position, what)]) from error


class _Growing:
    """One pass over the events of one file."""

    def __init__(self, path: str) -> None:
        self.problems: list[Problem] = []
        self.position: Position = (1, 1)
        self._path = path
        self._tree = Tree()
        # Where each list and mapping that is open began, if with a bracket.
        self._open: list[yaml.Mark | None] = []
        self._nodes = 0

    @property
    def bracket(self) -> yaml.Mark | None:
        """Where the innermost bracket stands that is open now."""
        return next((mark for mark in reversed(self._open) if mark is not None), None)

    def grow(self, text: str) -> Tree:
        events = self._watched(yaml.parse(text, Loader=yaml.SafeLoader))
        next(events)  # the start of the stream
        if not isinstance(next(events), yaml.DocumentStartEvent):
            self._stop("the file is empty", "write the document, beginning with its version")
        self._tree.value = self._node(next(events), events, ())
        next(events)  # the end of the document
        if isinstance(next(events), yaml.DocumentStartEvent):
            self._stop("a second document begins here", "put it into a file of its own")
        if self._tree.value is None:
            self._stop("the file says nothing", "write the document, beginning with its version")
        if self.problems:
            raise InvalidDocument(self.problems)
        return self._tree

    def _watched(self, events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
        for event in events:
            self.position = _position_of(event)
            if isinstance(event, yaml.CollectionStartEvent):
                began = cast("yaml.Mark", event.start_mark)
                self._open.append(began if event.flow_style else None)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
            yield event

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], place: Place) -> Plain:
        self._tree.values[place] = self.position
        self._check(event, place)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, place)
        return None  # an alias: reported, and worth nothing

    def _sequence(self, events: Iterator[yaml.Event], place: Place) -> list[Plain]:
        items: list[Plain] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*place, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], place: Place) -> dict[str, Plain]:
        mapping: dict[str, Plain] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, place)
            there = (*place, key)
            if (first := self._tree.keys.get(there)) is not None:
                where = f"it stands at line {first[0]}, column {first[1]} already"
                self._complain(f"the key {key!r} is given twice", where)
            else:
                self._tree.keys[there] = self.position
            value = self._node(next(events), events, there)
            mapping.setdefault(key, value)
        return mapping

    def _key(self, event: yaml.Event, place: Place) -> str:
        self._check(event, place)
        if not isinstance(event, yaml.ScalarEvent):
            self._stop("a key must be text", "write a plain word before the colon")
        scalar = cast("yaml.ScalarEvent", event)
        if scalar.style is None and scalar.value == "<<":
            self._complain("merges (<<) may not be used", "write the keys out")
        elif not isinstance(_resolve(scalar), str):
            self._complain(f"the key {scalar.value} is not text", f'write "{scalar.value}"')
        return str(scalar.value)

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Plain:
        if (bad := _NOT_TEXT.search(event.value)) is not None:
            self._complain(f"the character {_code_point(bad[0])} may not be in text", "remove it")
        if event.style is None:
            self._tree.unquoted[place] = event.value
        return _resolve(event)

    def _check(self, event: yaml.Event, place: Place) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(f"more than {MAX_NODES} values", "split the file")
        if len(place) >= MAX_DEPTH:
            self._stop(f"more than {MAX_DEPTH} levels", "write it flatter")
        if isinstance(event, yaml.AliasEvent):
            self._complain("aliases (*) may not be used", "write the value out")
        elif getattr(event, "anchor", None) is not None:
            self._complain("anchors (&) may not be used", "write the value where it is wanted")
        if getattr(event, "tag", None) is not None:
            self._complain("tags (!) may not be used", "remove the tag; quote text if need be")

    def _complain(self, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self._path, *self.position, what, hint))

    def _stop(self, what: str, hint: str = "") -> None:
        self._complain(what, hint)
        raise InvalidDocument(self.problems)


def _resolve(event: yaml.ScalarEvent) -> Plain:
    """The value of a scalar by the core schema of YAML 1.2.2, section 10.3, decimal only."""
    written: str = event.value
    if event.style is not None:
        return written
    if written in _WORDS:
        return _WORDS[written]
    if _INTEGER.fullmatch(written):
        return int(written)
    return float(written) if _FLOAT.fullmatch(written) else written


def _decode(content: bytes, path: str) -> str:
    if len(content) > MAX_SIZE:
        what = f"{len(content)} bytes, more than {MAX_SIZE}"
        raise InvalidDocument([Problem(path, 1, 1, what, "split the file")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position_in(content[: error.start].decode("utf-8", "replace"))
        problem = Problem(path, line, column, "not UTF-8", "save the file as UTF-8")
        raise InvalidDocument([problem]) from error


def _position_of(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _position_in(before: str) -> Position:
    lines = _LINE_BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


def _code_point(character: str | int) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"
