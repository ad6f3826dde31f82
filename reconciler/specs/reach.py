"""Whether every app can be reached at the ports that it names: each problem at its place.

Two apps of a machine cannot share a port, nor can an app and a node; a probe or a word of a
command that names a port names one that there is. A problem goes to every app that it is about.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.ports.spec import PORT_WORD
from reconciler.probes.spec import HttpProbe, TcpProbe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maculaos.documents import Document, Problem
    from reconciler.specs.draft import Draft
    from reconciler.specs.spec import AppSpec


def unknown_ports(document: Document[AppSpec]) -> Iterator[Problem]:
    """Ports that are spoken of and not there."""
    app = document.value
    names = sorted(each.name for each in app.ports)
    hint = f"its ports are {', '.join(names)}" if names else "the app has no ports"
    for kind, probe in ({} if app.health is None else app.health.probes()).items():
        if not isinstance(probe, HttpProbe | TcpProbe) or isinstance(probe.port, int):
            continue
        what = f"no port is named {probe.port!r}"
        if probe.port not in names:
            yield document.problem(what, "health", kind, "port", hint=hint)
        elif probe.port not in {each.name for each in app.ports if each.protocol == "tcp"}:
            what = f"port {probe.port} is of udp, and probes ask by tcp"
            yield document.problem(what, "health", kind, "port", hint="ask another port")
    yield from _unknown_in_words(document, names, hint)


def _unknown_in_words(
    document: Document[AppSpec], names: list[str], hint: str
) -> Iterator[Problem]:
    """The same, in the words of its commands."""
    hooks = document.value.hooks
    moments = {"start": hooks.start, "drain": hooks.drain, "stop": hooks.stop}
    commands: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("command",), document.value.command),
        *((("hooks", moment), command or ()) for moment, command in moments.items()),
    ]
    for place, words in commands:
        for index, word in enumerate(words):
            for name in PORT_WORD.findall(word):
                if name not in names:
                    yield document.problem(f"no port is named {name!r}", *place, index, hint=hint)


def find_shared_ports(drafts: Mapping[str, Draft]) -> None:
    """Apps of this machine that want one port: each of them is told of the first other."""
    at: defaultdict[tuple[str, int], list[tuple[Draft, int]]] = defaultdict(list)
    for draft in drafts.values():
        if draft.app is not None and draft.is_here:
            for index, port in enumerate(draft.app.ports):
                at[port.protocol, port.port].append((draft, index))
    nodes = {
        draft.node.listen.port: draft
        for draft in drafts.values()
        if draft.node is not None and draft.is_here
    }
    for (protocol, number), sharing in at.items():
        for draft, index in sharing:
            where = [_where(other, n) for other, n in sharing if other is not draft]
            if protocol == "udp" and number in nodes:
                where.append(_where(nodes[number]))
            if where and draft.document is not None:
                what = f"port {number} ({protocol}) is also wanted by {where[0]}"
                hint = "give one of them another port"
                problem = draft.document.problem(what, "ports", index, "port", hint=hint)
                draft.problems.append(problem)


def _where(draft: Draft, index: int | None = None) -> str:
    if draft.document is None:
        return draft.path
    place = ("listen", "port") if index is None else ("ports", index, "port")
    there = draft.document.problem("", *place)
    return f"{there.path}:{there.line}:{there.column}"
