"""The check of a document by type: a typed value, or every problem in words and with its place.

pydantic does the checking; this module turns what it says into sentences about the file.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from maculaos.documents.problem import InvalidDocument, Problem
from maculaos.documents.tree import Place, Position, Tree, plant

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

T = TypeVar("T")

_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "path_type": "a path",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "below {lt}",
    "less_than_equal": "{le} or less",
    "string_pattern_mismatch": "text of the form {pattern}",
}
_UNKNOWN_KEY: Final = frozenset({"unexpected_keyword_argument", "extra_forbidden"})
_MISSING_KEY: Final = frozenset({"missing", "missing_argument", "missing_keyword_only_argument"})
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A checked document and the places where its values were written."""

    value: T
    path: str
    tree: Tree

    def position(self, *place: str | int) -> Position:
        """Line and column, from 1, of the value at ``place``, or of what encloses it."""
        return self.tree.values[self.tree.nearest(place)]

    def problem(self, what: str, *place: str | int, hint: str = "") -> Problem:
        """A problem that only the reader of several documents can see, at ``place`` in this."""
        there = self.tree.nearest(place)
        path = self.tree.origins.get(there, self.path)
        return Problem(path, *self.tree.values[there], what, hint)


def read_document(content: bytes, path: str, kind: type[T]) -> Document[T]:
    """Read ``content`` as a ``kind``: a dataclass, or whatever pydantic can check.

    ``path`` only names the file in problems. How strict the check is, the types say in their
    ``__pydantic_config__``. Raises ``InvalidDocument`` and nothing else.
    """
    return check_tree(plant(content, path), path, kind)


def check_tree(tree: Tree, path: str, kind: type[T]) -> Document[T]:
    """Check a tree as a ``kind``, as ``read_document`` does; its values may be of several files.

    ``path`` names the document's own file. Raises ``InvalidDocument`` and nothing else.
    """
    # Through JSON, because a strict check takes a mapping for a dataclass only from there.
    written = json.dumps(tree.value).encode()
    try:
        value: T = _adapter(cast("Hashable", kind)).validate_json(written)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        problems = [_Complaint(one, tree, path, kind).problem() for one in wrong]
        raise InvalidDocument(problems) from error
    return Document(value, path, tree)


@lru_cache(maxsize=32)
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))


@dataclass(frozen=True, slots=True)
class _Complaint:
    """One complaint of pydantic about one document."""

    error: ErrorDetails
    tree: Tree
    path: str
    kind: Any

    @property
    def _about(self) -> Place:
        return self.error["loc"]

    def problem(self) -> Problem:
        """The same in words, with its place in the file."""
        if self.error["type"] in _UNKNOWN_KEY:
            return self._unknown_key()
        if self.error["type"] in _MISSING_KEY:
            return self._missing_key()
        place = self.tree.nearest(self._about)
        return self._at(place, self.tree.values[place], self._what(place), self._hint(place))

    def _at(self, place: Place, position: Position, what: str, hint: str) -> Problem:
        return Problem(self.tree.origins.get(place, self.path), *position, what, hint)

    def _unknown_key(self) -> Problem:
        place = self.tree.nearest(self._about)
        position = self.tree.keys.get(place) or self.tree.values[place]
        key = str(self._about[-1])
        known = sorted(_keys_at(self.kind, place[:-1]))
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return self._at(place, position, f"unknown key {key!r}", hint if known else "")

    def _missing_key(self) -> Problem:
        place = self.tree.nearest(self._about[:-1])
        what = f"the key {str(self._about[-1])!r} is missing"
        where = f"add it to {_dotted(place)}" if place else "add it"
        return self._at(place, self.tree.values[place], what, where)

    def _what(self, place: Place) -> str:
        name = _dotted(place) or "the document"
        if self.error["type"] in {"value_error", "assertion_error"}:
            return f"{name}: {self.error['msg'].partition(', ')[2]}"
        wanted = _WANTED.get(self.error["type"])
        if wanted is None:
            return f"{name}: {self.error['msg']}"
        must = wanted.format_map(self.error.get("ctx", {}))
        return f"{name} must be {must}, not {self._written(place)}"

    def _written(self, place: Place) -> str:
        given = self.error["input"]
        if given is None:
            return "empty"
        if isinstance(given, (dict, list)):
            return "a mapping" if isinstance(given, dict) else "a list"
        written = self.tree.unquoted.get(place) or json.dumps(given, ensure_ascii=False)
        return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."

    def _hint(self, place: Place) -> str:
        given, kind = self.error["input"], self.error["type"]
        written = self.tree.unquoted.get(place)
        if kind in {"string_type", "path_type"} and written and len(written) <= _SHOWN:
            return f'write it in quotes: "{written}"'
        if kind in {"int_type", "float_type", "bool_type"} and isinstance(given, str):
            return "write it without quotes" if written is None else ""
        return ""


def _dotted(place: Place) -> str:
    """``listen.advertise[0]``, as people name a value."""
    said = "".join(f"[{word}]" if isinstance(word, int) else f".{word}" for word in place)
    return said.removeprefix(".")


def _keys_at(kind: Any, place: Place) -> set[str]:
    """The keys that ``kind`` allows in the mapping at ``place``."""
    kinds = list(_alternatives(kind))
    for word in place:
        kinds = [
            one for outer in kinds for inner in _inside(outer, word) for one in _alternatives(inner)
        ]
    known = [one for one in kinds if dataclasses.is_dataclass(one)]
    return {field.name for one in known for field in dataclasses.fields(one)}


def _inside(kind: Any, word: str | int) -> tuple[Any, ...]:
    """The types of what may stand under ``word`` in a ``kind``."""
    if dataclasses.is_dataclass(kind):
        return (get_type_hints(kind, include_extras=True).get(str(word)),)
    arguments = get_args(kind)
    return arguments[1:] if isinstance(word, str) else arguments


def _alternatives(kind: Any) -> Iterator[Any]:
    """``kind`` itself, or what the union or the annotation is made of."""
    if get_origin(kind) is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif get_origin(kind) in {Union, UnionType}:
        for argument in get_args(kind):
            yield from _alternatives(argument)
    else:
        yield kind
