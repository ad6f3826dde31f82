"""A picture as SVG: the members on a circle, as they stand on ring 0, and links as chords.

It needs no font, script or style sheet from elsewhere. Members that are gone stand below.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from maculaos.topology.picture import HEALTH_COLOURS, UNKNOWN_HEALTH_COLOUR, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.topology.graph import Vertex
    from maculaos.topology.picture import Edge, Picture

# All lengths are pixels of the picture at its own size.
_WIDTH_MIN: Final = 720
_ROOM: Final = 44
_LETTER: Final = 7.0
_HEAD: Final = 64
_FOOT: Final = 44
_GONE_WIDTH: Final = 150
_GONE_HEIGHT: Final = 24
# More names than these cannot be read; every node still tells its name when pointed at.
_NAMES_MAX: Final = 160
_NAME_LETTERS: Final = 20
_LEVEL_NAMES_MAX: Final = 32
_GONE_MAX: Final = 60
_INK: Final = "#24303d"
_WIDTHS: Final = {State.PLANNED: 1.0, State.EXTRA: 2.0, State.UP: 2.4, State.MISSING: 2.0}


class _Point(NamedTuple):
    x: float
    y: float


class _Layout:
    """Where everything stands, from the numbers of nodes alone."""

    def __init__(self, on_ring: int, gone: int, longest_name: int) -> None:
        self.radius = max(110.0, min(420.0, 60 + on_ring * 7.0))
        self.dot = max(3.0, min(13.0, 2.2 * self.radius / max(on_ring, 1)))
        self.has_names = on_ring <= _NAMES_MAX
        self.is_level = on_ring <= _LEVEL_NAMES_MAX
        room = _ROOM + (_LETTER * min(longest_name, _NAME_LETTERS) if self.has_names else 0)
        above = _ROOM if self.is_level else room
        self.width = max(_WIDTH_MIN, 2 * (self.radius + room))
        self.centre = _Point(self.width / 2, _HEAD + self.radius + above)
        self.ring_end = self.centre.y + self.radius + above
        self.columns = max(1, int((self.width - 40) // _GONE_WIDTH))
        rows = math.ceil(min(gone, _GONE_MAX) / self.columns)
        self.height = self.ring_end + rows * _GONE_HEIGHT + (20 if rows else 0) + _FOOT
        self._on_ring = on_ring

    def angle(self, number: int) -> float:
        """Of a node on the ring, in radians clockwise from the top."""
        return 2 * math.pi * number / self._on_ring

    def place(self, number: int, beyond: float = 0.0) -> _Point:
        """Where a node stands, or a point that lies further out by ``beyond``."""
        angle, reach = self.angle(number), self.radius + beyond
        return _Point(
            self.centre.x + reach * math.sin(angle), self.centre.y - reach * math.cos(angle)
        )

    def gone_place(self, index: int) -> _Point:
        """Where the member stands that is gone, by its number among those."""
        row, column = divmod(index, self.columns)
        return _Point(30 + column * _GONE_WIDTH, self.ring_end + 14 + row * _GONE_HEIGHT)


def to_svg(picture: Picture) -> str:
    """The picture as the text of an SVG file."""
    longest_name = max(len(vertex.name) for vertex in picture.nodes)
    layout = _Layout(picture.on_ring, len(picture.nodes) - picture.on_ring, longest_name)
    width, height = f"{layout.width:.0f}", f"{layout.height:.0f}"
    title = _text_of(f"The mesh as {picture.nodes[0].name} knows it")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#fbfcfd"/>',
        f'<text x="24" y="30" font-size="17" font-weight="600" fill="{_INK}">{title}</text>',
        *_caption(picture.caption, layout),
        *(_edge(edge, picture, layout) for edge in picture.edges),
        *_ring_nodes(picture, layout),
        *_gone_nodes(picture, layout),
        *_legend(picture, layout),
        "</svg>",
    ]
    return "\n".join(lines)


def _caption(caption: str, layout: _Layout) -> Iterator[str]:
    """In as many lines as the width asks for."""
    letters = max(20, int((layout.width - 48) / 6.2))
    line, row = "", 0
    for word in [*caption.split(), ""]:
        if word and len(line) + len(word) < letters:
            line = f"{line} {word}".strip()
            continue
        yield f'<text x="24" y="{50 + 16 * row}" fill="#5d6b7a">{_text_of(line)}</text>'
        line, row = word, row + 1


def _edge(edge: Edge, picture: Picture, layout: _Layout) -> str:
    """A chord; the longer it is, the more it bends towards the centre, apart from the others."""
    first, second = _place_of(edge.one, picture, layout), _place_of(edge.other, picture, layout)
    pull = min(0.5, math.dist(first, second) / (4 * layout.radius))
    middle = _Point(
        (first.x + second.x) / 2 * (1 - pull) + layout.centre.x * pull,
        (first.y + second.y) / 2 * (1 - pull) + layout.centre.y * pull,
    )
    dashes = ' stroke-dasharray="5 4"' if edge.state is State.MISSING else ""
    crowd = 0.35 if edge.state is State.PLANNED and picture.on_ring > _NAMES_MAX else 1
    return (
        f'<path d="M{first.x:.1f} {first.y:.1f}Q{middle.x:.1f} {middle.y:.1f} '
        f'{second.x:.1f} {second.y:.1f}" fill="none" stroke="{edge.state.colour}" '
        f'stroke-width="{_WIDTHS[edge.state]}" opacity="{crowd}"{dashes}/>'
    )


def _place_of(number: int, picture: Picture, layout: _Layout) -> _Point:
    if number < picture.on_ring:
        return layout.place(number)
    return layout.gone_place(min(number - picture.on_ring, _GONE_MAX - 1))


def _ring_nodes(picture: Picture, layout: _Layout) -> Iterator[str]:
    for number, vertex in enumerate(picture.nodes[: picture.on_ring]):
        at = layout.place(number)
        size = layout.dot + 3 if number == 0 else layout.dot
        yield _dot(vertex, at, size, is_origin=number == 0)
        if layout.has_names or number == 0:
            yield _name_beside(vertex, number, size, layout)


def _name_beside(vertex: Vertex, number: int, size: float, layout: _Layout) -> str:
    """The name outside the circle; many names follow the radius, and none stands on its head."""
    at = layout.place(number, beyond=size + 8)
    angle = layout.angle(number)
    turn = 0.0 if layout.is_level else math.degrees(angle) - 90
    sideways = math.sin(angle)
    anchor = "middle" if layout.is_level and abs(sideways) < 0.2 else "start"
    if sideways < (-0.2 if layout.is_level else 0):
        anchor, turn = "end", 0.0 if layout.is_level else turn - 180
    weight = ' font-weight="700"' if number == 0 else ""
    return (
        f'<text x="{at.x:.1f}" y="{at.y:.1f}" text-anchor="{anchor}" dy="0.35em" '
        f'transform="rotate({turn:.1f} {at.x:.1f} {at.y:.1f})"{weight} '
        f'fill="{_INK}">{_text_of(_short(vertex.name))}</text>'
    )


def _gone_nodes(picture: Picture, layout: _Layout) -> Iterator[str]:
    gone = picture.nodes[picture.on_ring :]
    for index, vertex in enumerate(gone[:_GONE_MAX]):
        at = layout.gone_place(index)
        yield _dot(vertex, at, 5, is_origin=False)
        name = _short(vertex.name)
        if index == _GONE_MAX - 1 and len(gone) > _GONE_MAX:
            name = f"and {len(gone) - index - 1} more"
        yield _words(at.x + 12, at.y, name)


def _legend(picture: Picture, layout: _Layout) -> Iterator[str]:
    """The healths and the states of links that the picture shows, one beside the other."""
    x, y = 30.0, layout.height - 22
    for health in dict.fromkeys(vertex.health for vertex in picture.nodes):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_colour(health)}"/>'
        yield _words(x + 11, y, health)
        x += 32 + 6.6 * len(health)
    shown = {edge.state for edge in picture.edges}
    for state in (state for state in reversed(State) if state in shown):
        dashes = ' stroke-dasharray="5 4"' if state is State.MISSING else ""
        yield (
            f'<path d="M{x:.1f} {y:.1f}h22" stroke="{state.colour}" '
            f'stroke-width="{_WIDTHS[state]}"{dashes}/>'
        )
        yield _words(x + 28, y, state.value)
        x += 48 + 6.2 * len(state.value)


def _dot(vertex: Vertex, at: _Point, size: float, *, is_origin: bool) -> str:
    told = _text_of(f"{vertex.name} ({vertex.node_id[:8]}) {vertex.health}")
    halo = f' stroke="{_INK}" stroke-width="2.5"' if is_origin else ' stroke="#ffffff"'
    return (
        f'<circle cx="{at.x:.1f}" cy="{at.y:.1f}" r="{size:.1f}" '
        f'fill="{_colour(vertex.health)}"{halo}><title>{told}</title></circle>'
    )


def _words(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" dy="0.35em" fill="{_INK}">{_text_of(text)}</text>'


def _colour(health: str) -> str:
    return HEALTH_COLOURS.get(health, UNKNOWN_HEALTH_COLOUR)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1]}…"


def _text_of(text: str) -> str:
    """Text as XML takes it: markup escaped, and nothing that does not print."""
    return escape("".join(each if each.isprintable() else "?" for each in text))
