"""A picture as a Mermaid flowchart, as Git forges show it in Markdown.

Mermaid refuses charts of more than 500 edges: beyond that, edges between others are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.topology.picture import HEALTH_COLOURS, UNKNOWN_HEALTH_COLOUR, State

if TYPE_CHECKING:
    from maculaos.topology.graph import Vertex
    from maculaos.topology.picture import Picture

EDGES_MAX: Final = 500
_ARROWS: Final = {State.PLANNED: "---", State.EXTRA: "===", State.UP: "==="}


def to_mermaid(picture: Picture) -> str:
    """The picture as the text of a Mermaid chart."""
    edges = picture.edges
    lines = ["flowchart LR", f"  %% {_plain(picture.caption)}"]
    if len(edges) > EDGES_MAX:
        # What this node knows best comes last in a picture.
        edges = edges[-EDGES_MAX:]
        lines.append(f"  %% {len(picture.edges) - EDGES_MAX} links are left out")
    lines += [f"  n{number}{_node(each, number)}" for number, each in enumerate(picture.nodes)]
    lines += [f"  n{edge.one} {_ARROWS.get(edge.state, '-.-')} n{edge.other}" for edge in edges]
    for health, colour in (*HEALTH_COLOURS.items(), ("unknown", UNKNOWN_HEALTH_COLOUR)):
        lines.append(f"  classDef {health} fill:{colour},stroke:#ffffff,color:#ffffff")
    for state in State:
        numbers = [str(index) for index, edge in enumerate(edges) if edge.state is state]
        if numbers:
            lines.append(f"  linkStyle {','.join(numbers)} stroke:{state.colour}")
    return "\n".join(lines)


def _node(vertex: Vertex, number: int) -> str:
    opening, closing = ("(((", ")))") if number == 0 else ("((", "))")
    health = vertex.health if vertex.health in HEALTH_COLOURS else "unknown"
    return f'{opening}"{_escaped(vertex.name)}"{closing}:::{health}'


def _escaped(text: str) -> str:
    """Text between quotes: all but letters, digits, blanks and a few signs as numbered entities."""
    return "".join(
        each if each.isalnum() or each in " .-_:" else f"#{ord(each)};" for each in _plain(text)
    )


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
