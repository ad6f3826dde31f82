"""A picture in the DOT language of Graphviz; ``circo -Tsvg`` or ``neato`` lay it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.topology.picture import HEALTH_COLOURS, UNKNOWN_HEALTH_COLOUR, State

if TYPE_CHECKING:
    from maculaos.topology.graph import Vertex
    from maculaos.topology.picture import Picture

_STYLES: Final = {State.PLANNED: "solid", State.EXTRA: "bold", State.UP: "bold"}


def to_dot(picture: Picture) -> str:
    """The picture as the text of a DOT file."""
    lines = [
        "graph mesh {",
        f"  graph [layout=circo, label={_quoted(picture.caption)}, fontname=sans];",
        "  node [shape=circle, style=filled, fontcolor=white, fontname=sans];",
    ]
    lines += [f"  n{number} {_node(each, number)};" for number, each in enumerate(picture.nodes)]
    for edge in picture.edges:
        style = _STYLES.get(edge.state, "dashed")
        lines.append(
            f'  n{edge.one} -- n{edge.other} [color="{edge.state.colour}", style={style}];'
        )
    return "\n".join([*lines, "}"])


def _node(vertex: Vertex, number: int) -> str:
    colour = HEALTH_COLOURS.get(vertex.health, UNKNOWN_HEALTH_COLOUR)
    shape = ", peripheries=2" if number == 0 else ""
    told = _quoted(f"{vertex.node_id} {vertex.health}")
    return f'[label={_quoted(vertex.name)}, tooltip={told}, fillcolor="{colour}"{shape}]'


def _quoted(text: str) -> str:
    """A DOT string: in quotes, with \\ and " escaped, and nothing that does not print."""
    plain = "".join(each if each.isprintable() else "?" for each in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
