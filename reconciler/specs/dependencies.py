"""What depends on what: circles are found, and what is left has an order.

An app depends on the apps that it names, and always on its node; nodes depend on nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.specs.layout import item_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.specs.items import Item
    from reconciler.specs.spec import AppSpec


def circles(needs: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Every group of names that depend on each other, each as one way round through it.

    The way begins with the first of its names and takes the shortest way back; names that lie on
    no shortest way of others have their own. What is needed and not in ``needs`` is passed over.
    """
    graph = {name: sorted({*needs[name]} & needs.keys()) for name in sorted(needs)}
    found: dict[tuple[str, ...], None] = {}
    done: set[str] = set()
    for name in _in_circles(graph):
        if name in done:
            continue
        way = _way_round(name, graph)
        done.update(way)
        found[_from_first(way)] = None
    return tuple(found)


def spoken_circle(way: Sequence[str]) -> str:
    """``a -> b -> a``."""
    return " -> ".join([*way, way[0]])


def layers(needs: Mapping[str, Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    """Names in layers: each needs only what stands in layers before its own.

    What is needed and not in ``needs`` is passed over; circles come together, last.
    """
    waiting = {name: {*needs[name]} & needs.keys() - {name} for name in sorted(needs)}
    result: list[tuple[str, ...]] = []
    while waiting:
        free = tuple(name for name, wanted in waiting.items() if not wanted & waiting.keys())
        result.append(free or tuple(waiting))
        waiting = {name: waiting[name] for name in waiting if free and name not in result[-1]}
    return tuple(result)


def order(items: Mapping[str, Item]) -> tuple[tuple[str, ...], ...]:
    """The keys of ``items`` in layers, to be started one after the other; removed in reverse."""
    return layers({key: _needs(item) for key, item in items.items()})


def _needs(item: Item) -> tuple[str, ...]:
    if item.kind == "node":
        return ()
    return app_needs(item.spec)  # type: ignore[arg-type]  # an app's spec, as its kind says


def app_needs(app: AppSpec) -> tuple[str, ...]:
    """The keys of what an app depends on."""
    return (item_key("node", app.node), *(item_key("app", name) for name in app.depends_on))


def _in_circles(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """The names that depend on themselves in the end.

    Strongly connected components after S. R. Kosaraju (M. Sharir, 1981), without recursion.
    """
    return [name for group in _components(graph) for name in group]


def _components(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    finished = _finished(graph)
    backwards: dict[str, list[str]] = {name: [] for name in graph}
    for name, wanted in graph.items():
        for each in wanted:
            backwards[each].append(name)
    groups: list[list[str]] = []
    seen: set[str] = set()
    for name in reversed(finished):
        group = _reached(name, backwards, seen)
        if len(group) > 1 or name in graph[name]:
            groups.append(sorted(group))
    return sorted(groups)


def _finished(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in the order in which a walk in depth leaves them."""
    order_left: list[str] = []
    seen: set[str] = set()
    for start in graph:
        stack = [(start, iter(graph[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            name, wanted = stack[-1]
            following = next((each for each in wanted if each not in seen), None)
            if following is None:
                order_left.append(name)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(graph[following])))
    return order_left


def _reached(start: str, graph: Mapping[str, Sequence[str]], seen: set[str]) -> list[str]:
    found = [] if start in seen else [start]
    seen.add(start)
    for name in found:
        for each in graph[name]:
            if each not in seen:
                seen.add(each)
                found.append(each)
    return found


def _way_round(start: str, graph: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The shortest way from ``start`` back to it."""
    came: dict[str, str] = {}
    frontier = [start]
    for name in frontier:
        for each in graph[name]:
            if each == start:
                return _traced(start, name, came)
            if each not in came:
                came[each] = name
                frontier.append(each)
    return (start,)


def _traced(start: str, last: str, came: Mapping[str, str]) -> tuple[str, ...]:
    way = [last]
    while way[-1] != start:
        way.append(came[way[-1]])
    return tuple(reversed(way))


def _from_first(way: tuple[str, ...]) -> tuple[str, ...]:
    at = way.index(min(way))
    return (*way[at:], *way[:at])
