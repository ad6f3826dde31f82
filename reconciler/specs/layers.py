"""Laying the values of one file over those of another, with every value's own place kept.

The law: mappings merge key by key; anything else replaces what lies below; a key without a value
(null) removes what lies below. Where nothing lies below, it stays, and the check by type calls it
a problem. Layers are laid from the bottom up. Where all of them agree on which keys are mappings,
and none removes anything, it does not matter how they are grouped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.documents import Problem, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maculaos.documents import Place, Plain

# What an item is, and where it belongs, its own file says and no other.
OWN_KEYS: Final = ("version", "name", "targets", "profiles", "moved_from")


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one file."""

    path: str
    tree: Tree


def merged(layers: Sequence[Layer]) -> Tree:
    """The values of all layers, the last on top, in a new tree.

    Every layer holds a mapping. A place of several mappings is that of the highest.
    """
    result = Tree(value={})
    for layer in layers:
        _Laying(result, layer).lay()
    return result


def strays(layer: Layer) -> list[Problem]:
    """What may not stand in a layer that is no spec itself."""
    if not isinstance(layer.tree.value, dict):
        line, column = layer.tree.values[()]
        what = "the document must be a mapping of keys to values"
        return [Problem(layer.path, line, column, what)]
    return [
        Problem(
            layer.path,
            *layer.tree.keys[(key,)],
            f"the key {key!r} may only stand in nodes/ and apps/",
            "move it there",
        )
        for key in OWN_KEYS
        if key in layer.tree.value
    ]


@dataclass(frozen=True, slots=True)
class _Laying:
    """One layer on its way onto what lies below."""

    result: Tree
    layer: Layer

    def lay(self) -> None:
        below, above = self.result.value, self.layer.tree.value
        if isinstance(below, dict) and isinstance(above, dict):
            self._take((), above)
            self._mapping(below, above, ())

    def _mapping(self, below: dict[str, Plain], above: dict[str, Plain], place: Place) -> None:
        for key, value in above.items():
            there = (*place, key)
            lower = below.get(key)
            if isinstance(lower, dict) and isinstance(value, dict):
                self._take(there, value)
                self._mapping(lower, value, there)
                continue
            if key in below:
                self._forget(below.pop(key), there)
                if value is None:
                    continue
            below[key] = _copied(value)
            for where, one in _walk(value, there):
                self._take(where, one)

    def _take(self, place: Place, value: Plain) -> None:
        """What the layer says of ``place``, without what is in it."""
        tree, result = self.layer.tree, self.result
        result.values[place] = tree.values[place]
        if place in tree.keys:
            result.keys[place] = tree.keys[place]
        if place in tree.unquoted and not isinstance(value, dict):
            result.unquoted[place] = tree.unquoted[place]
        result.origins[place] = self.layer.path

    def _forget(self, value: Plain, place: Place) -> None:
        for where, _ in _walk(value, place):
            for known in (self.result.values, self.result.keys):
                known.pop(where, None)
            self.result.unquoted.pop(where, None)
            self.result.origins.pop(where, None)


def _walk(value: Plain, place: Place) -> Iterator[tuple[Place, Plain]]:
    """``value`` and everything in it, each with its place."""
    yield place, value
    inner = value.items() if isinstance(value, dict) else ()
    for key, one in inner:
        yield from _walk(one, (*place, key))
    for index, one in enumerate(value if isinstance(value, list) else ()):
        yield from _walk(one, (*place, index))


def _copied(value: Plain) -> Plain:
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
