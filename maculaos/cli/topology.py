"""``macula topology``: the graph of links as one node knows it, drawn and measured."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maculaos.cli.mesh import JsonOption, SocketOption, ask, print_json
from maculaos.errors import UsageError
from maculaos.topology.dot import to_dot
from maculaos.topology.graph import read_topology
from maculaos.topology.measure import measure
from maculaos.topology.mermaid import to_mermaid
from maculaos.topology.picture import picture_of
from maculaos.topology.settings import DEGREE_MAX, DEGREE_MIN, check_degree
from maculaos.topology.svg import to_svg

if TYPE_CHECKING:
    from maculaos.topology.graph import Topology


class Format(StrEnum):
    """How the graph is written down."""

    TEXT = "text"
    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"
    JSON = "json"


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(topology)


def topology(
    socket: SocketOption = None,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="How the graph is written down.")
    ] = Format.TEXT,
    degree: Annotated[
        int | None,
        typer.Option("--degree", "-k", help="Show the graph as if every node had K neighbours."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw who is linked with the node, and who is to be linked with whom."""
    if degree is not None:
        try:
            check_degree(degree)
        except ValueError as error:
            raise UsageError(
                f"no ring has a degree of {degree}",
                f"give -k an even number from {DEGREE_MIN} to {DEGREE_MAX}",
            ) from error
    described = ask(socket, lambda mesh: mesh.topology())
    known = read_topology(described)
    if as_json or form is Format.JSON:
        print_json({**described, **_as_json(known, degree)})
    else:
        typer.echo(_drawn(known, form, degree))


def _drawn(known: Topology, form: Format, degree: int | None) -> str:
    if form is Format.TEXT:
        text = _printable(known.draw())
        wanted = known.wanted(degree)
        return f"{text}\n{measure(wanted).in_words()}" if wanted else text
    draw = {Format.DOT: to_dot, Format.MERMAID: to_mermaid, Format.SVG: to_svg}[form]
    return draw(picture_of(known, degree))


def _as_json(known: Topology, degree: int | None) -> dict[str, Any]:
    """The wanted graph and its measures, if the node names its realm."""
    wanted = known.wanted(degree)
    if not wanted:
        return {}
    links = {node_id: list(near) for node_id, near in wanted.items()}
    return {
        "degree": degree or known.degree,
        "wanted": links,
        "measured": measure(wanted).to_dict(),
    }


def _printable(text: str) -> str:
    """Names that other machines said must not steer a terminal."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
