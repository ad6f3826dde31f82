"""Templates: ``{{ ... }}`` in the values of a spec, and what they are filled with.

Only text of certain keys may hold them, as the types of these keys say (``values.TEMPLATED``):
words of commands, values of the environment. Keys, names, numbers and paths of structure never
do. What the text means is worked out elsewhere, in a child process (``reconciler.specs.filling``);
here they are found, and put back when they are filled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Protocol,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from reconciler.values import TEMPLATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.documents import Place, Plain, Tree

OPENING: Final = "{{"
# In a place: any key of a mapping, any index of a list.
ANY: Final = None
_ITSELF: Final = ""
_DEEPEST: Final = 16

Pattern: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One text to be filled, and what it may name."""

    text: str
    # Mappings and texts by name: machine, realm, item, vars.
    names: str


@dataclass(frozen=True, slots=True)
class Unfillable:
    """Why a template could not be filled, in words."""

    what: str
    hint: str = ""


Filled: TypeAlias = str | Unfillable


class Filler(Protocol):
    """Who fills templates."""

    def fill(self, templates: Sequence[Template]) -> tuple[Filled, ...]:
        """The text of each, in their order, or why there is none.

        Raises ``OSError`` for what is the machine's fault, and may pass.
        """
        ...


class AsWritten:
    """Fills nothing: for who checks a repository for no machine in particular."""

    def fill(self, templates: Sequence[Template]) -> tuple[Filled, ...]:
        """See ``Filler.fill``."""
        return tuple(template.text for template in templates)


def found(tree: Tree, kind: type) -> Iterator[tuple[Place, str]]:
    """Every template in ``tree``, a spec of ``kind``, with its place."""
    for pattern in templated(kind):
        yield from _matches(tree.value, pattern, ())


def with_filled(tree: Tree, filled: Mapping[Place, str]) -> Tree:
    """A copy of ``tree`` with the texts at these places."""
    copy = _with(tree.value, (), filled)
    return dataclasses.replace(tree, value=copy)


@lru_cache(maxsize=32)
def templated(kind: type) -> tuple[Pattern, ...]:
    """Where templates may stand in a ``kind``."""
    return tuple(dict.fromkeys(_patterns(kind, (), _DEEPEST)))


def _patterns(kind: Any, place: Pattern, deeper: int) -> Iterator[Pattern]:
    if get_origin(kind) is Annotated and TEMPLATED in kind.__metadata__:
        yield place
    for word, inner in _within(kind):
        there = place if word is _ITSELF else (*place, word)
        if deeper > 0:
            yield from _patterns(inner, there, deeper - 1)


def _within(kind: Any) -> Iterator[tuple[str | None, Any]]:
    """What may stand in a ``kind``, by key; what it is only another word for, as itself."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield _ITSELF, arguments[0]
    elif origin in {Union, UnionType}:
        yield from ((_ITSELF, one) for one in arguments)
    elif origin in {tuple, list}:
        yield ANY, arguments[0]
    elif origin in {dict, Mapping}:
        yield ANY, arguments[1]
    elif dataclasses.is_dataclass(kind):
        yield from get_type_hints(kind, include_extras=True).items()


def _matches(value: Plain, pattern: Pattern, place: Place) -> Iterator[tuple[Place, str]]:
    if not pattern:
        if isinstance(value, str) and OPENING in value:
            yield place, value
        return
    first, *rest = pattern
    for word, inner in _inside(value):
        if first is ANY or first == word:
            yield from _matches(inner, tuple(rest), (*place, word))


def _inside(value: Plain) -> Iterator[tuple[str | int, Plain]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _with(value: Plain, place: Place, filled: Mapping[Place, str]) -> Plain:
    if isinstance(value, dict):
        return {key: _with(inner, (*place, key), filled) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with(inner, (*place, at), filled) for at, inner in enumerate(value)]
    return filled.get(place, value)
