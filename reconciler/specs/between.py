"""What only shows when the files of a repository are held side by side: each adds problems.

A problem goes to every item that it is about, so that the order of files never matters: two nodes
on one port are both broken, and each of them keeps what it last was. Of a file that cannot be
read only its name counts, and nobody who names it is blamed.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from maculaos.addresses import Address
from reconciler.secrets.expansion import OFFERED, BadExpansion, expand
from reconciler.secrets.reference import references_in
from reconciler.specs.dependencies import circles, spoken_circle
from reconciler.specs.layout import REALM_FILE, item_key
from reconciler.specs.overrides import NODE_DEFAULTS, PROFILES
from reconciler.specs.reach import find_shared_ports, unknown_ports
from reconciler.specs.spec import effective

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from maculaos.documents import Document, Problem
    from reconciler.specs.draft import Draft
    from reconciler.specs.spec import AppSpec, NodeSpec, RealmSpec

# Pairs of numbers where the first must stay below the second.
_ORDERED: Final = (
    ("swim", "probe_timeout_s", "probe_interval_s", "below"),
    ("link", "reconnect_base_s", "reconnect_max_s", "not above"),
    ("topology", "retry_base_s", "retry_max_s", "not above"),
)


def find_problems(drafts: Mapping[str, Draft], realm: RealmSpec) -> None:
    """Add to each draft what is wrong with it beside the others; by key, in the order of keys."""
    nodes, apps = _names(drafts, "node"), _names(drafts, "app")
    for draft in drafts.values():
        if draft.document is not None:
            draft.problems += _misnamed(draft.document, draft.name)
        if draft.node is not None and draft.document is not None:
            draft.problems += _of_node(draft.document, realm)
            draft.problems += _unknown_peers(draft.document, drafts, nodes)
        if draft.app is not None and draft.document is not None:
            draft.problems += _of_app(draft, draft.document, drafts, nodes)
            draft.problems += _unknown_needs(draft.document, drafts, apps)
            draft.problems += unknown_ports(draft.document)
    _shared_addresses(drafts)
    find_shared_ports(drafts)
    _circles(drafts)
    _moves(drafts)


def find_missing_secrets(
    drafts: Mapping[str, Draft], there: Mapping[str, str], unreadable: Mapping[str, str]
) -> None:
    """Add to each app what keeps its environment from being put together on any machine.

    ``there`` are the encrypted files of the commit with their SHA-256, ``unreadable`` says why
    others are of no use.
    """
    for draft in drafts.values():
        if draft.app is not None and draft.document is not None:
            draft.problems += _unusable_secrets(draft.document, there, unreadable)
            draft.problems += _unexpandable(draft.document)


def _unusable_secrets(
    document: Document[AppSpec], there: Mapping[str, str], unreadable: Mapping[str, str]
) -> Iterator[Problem]:
    for variable, reference in references_in(document.value.environment).items():
        path = reference.secret
        if path in unreadable:
            what = f"{path} cannot be used: {unreadable[path]}"
            yield document.problem(what, "environment", variable, "secret")
        elif path not in there:
            what, hint = f"there is no {path} in the repository", "commit it, encrypted"
            yield document.problem(what, "environment", variable, "secret", hint=hint)
        elif reference.sha256 not in {None, there[path]}:
            what = f"{path} is another file: its SHA-256 is {there[path]}"
            yield document.problem(what, "environment", variable, "sha256")


def _unexpandable(document: Document[AppSpec]) -> Iterator[Problem]:
    try:
        expand(document.value.environment, dict.fromkeys(OFFERED, ""))
    except BadExpansion as error:
        hint = "see ${...} in docs/spec.md"
        yield document.problem(str(error), "environment", error.variable, hint=hint)


def _names(drafts: Mapping[str, Draft], kind: str) -> list[str]:
    return sorted(draft.name for draft in drafts.values() if draft.kind == kind)


def _misnamed(document: Document[NodeSpec | AppSpec], stem: str) -> Iterator[Problem]:
    name = document.value.name
    if stem != name:
        hint = f"name it {stem}, or rename the file to {name}.yaml"
        yield document.problem(f"the name {name!r} is not that of the file", "name", hint=hint)


def _of_node(document: Document[NodeSpec], realm: RealmSpec) -> Iterator[Problem]:
    written, listen = document.value.realm, document.value.listen
    if written != realm.name:
        hint = f"{REALM_FILE} declares {realm.name!r}: write that, or move the node elsewhere"
        yield document.problem(f"unknown realm {written!r}", "realm", hint=hint)
    if is_wildcard(listen.address) and not listen.advertise:
        hint = "add advertise with the host:port that other nodes can dial"
        what = f"nobody can dial {listen.address}"
        yield document.problem(what, "listen", "address", hint=hint)
    degree = document.value.topology.degree
    if degree is not None and degree != realm.defaults.topology.degree:
        hint = f"set defaults.topology.degree in {REALM_FILE}"
        what = "the degree must be the same at every node of a realm"
        yield document.problem(what, "topology", "degree", hint=hint)
    yield from _disordered(document, realm)


def _unknown_peers(
    document: Document[NodeSpec], drafts: Mapping[str, Draft], names: Sequence[str]
) -> Iterator[Problem]:
    for index, peer in enumerate(document.value.peers or ()):
        if ":" in peer:
            continue
        other = drafts.get(item_key("node", peer))
        if peer == document.value.name:
            hint = "leave it out"
            yield document.problem(f"{peer!r} names itself as peer", "peers", index, hint=hint)
        elif other is None:
            hint = _known(peer, names)
            yield document.problem(f"no node is named {peer!r}", "peers", index, hint=hint)
        elif other.is_here is False and other.node is not None and not from_afar(other.node):
            what = f"node {peer} is of another machine, and listens on {other.node.listen.address}"
            hint = f"let {other.path} advertise an address that this one can dial"
            yield document.problem(what, "peers", index, hint=hint)


def _of_app(
    draft: Draft, document: Document[AppSpec], drafts: Mapping[str, Draft], names: Sequence[str]
) -> Iterator[Problem]:
    name = document.value.node
    node = drafts.get(item_key("node", name))
    if node is None:
        yield document.problem(f"no node is named {name!r}", "node", hint=_known(name, names))
    elif draft.is_here and node.is_here is False:
        what = f"its node {name} does not run on this machine"
        yield document.problem(what, "targets", hint="give both the same targets")
    elif draft.is_here is None:
        what = f"it runs where its node {name} runs, and {node.path} cannot be read"
        yield document.problem(what, "node", hint=f"mend {node.path}, or give the app targets")


def _unknown_needs(
    document: Document[AppSpec], drafts: Mapping[str, Draft], names: Sequence[str]
) -> Iterator[Problem]:
    draft = drafts.get(item_key("app", document.value.name))
    for index, name in enumerate(document.value.depends_on):
        other = drafts.get(item_key("app", name))
        if other is None:
            hint = _known(name, names, "apps")
            yield document.problem(f"no app is named {name!r}", "depends_on", index, hint=hint)
        elif draft is not None and draft.is_here and other.is_here is False:
            what = f"app {name} does not run on this machine"
            hint = "give both the same targets, or leave it out"
            yield document.problem(what, "depends_on", index, hint=hint)


def _disordered(document: Document[NodeSpec], realm: RealmSpec) -> Iterator[Problem]:
    """Numbers that fit each by itself, but not with the realm's or the node's own defaults."""
    settled = effective(document.value, realm)
    for part, lower, upper, relation in _ORDERED:
        profile = PROFILES.get(str(settled[part].get("profile")), {})
        numbers = {**NODE_DEFAULTS[part], **profile, **settled[part]}
        small, large = float(numbers[lower]), float(numbers[upper])
        if small > large or (small == large and relation == "below"):
            what = f"{part}.{lower} is {small:g}, and must be {relation} {part}.{upper}, {large:g}"
            hint = "set both, here or under defaults in realm.yaml"
            yield document.problem(what, part, lower, hint=hint)


def _shared_addresses(drafts: Mapping[str, Draft]) -> None:
    """Nodes of this machine that want one port: each of them is told of the first other."""
    on_port: defaultdict[int, list[Draft]] = defaultdict(list)
    for draft in drafts.values():
        if draft.node is not None and draft.is_here:
            on_port[draft.node.listen.port].append(draft)
    for sharing in on_port.values():
        for draft in sharing:
            others = (one for one in sharing if one is not draft and _overlap(one, draft))
            other = next(others, None)
            if other is not None and draft.document is not None and other.document is not None:
                there = other.document.problem("", "listen", "port")
                where = f"{there.path}:{there.line}:{there.column}"
                what = f"{_address_of(draft)} is also wanted by {where}"
                hint = "give one of them another port"
                draft.problems.append(draft.document.problem(what, "listen", "port", hint=hint))


def _address_of(draft: Draft) -> str:
    if draft.node is None:
        return ""
    return str(Address(draft.node.listen.address, draft.node.listen.port))


def _overlap(one: Draft, other: Draft) -> bool:
    """A wildcard takes its port on every address: on most systems :: takes that of IPv4 too."""
    if one.node is None or other.node is None:
        return False
    here, there = one.node.listen.address, other.node.listen.address
    return here == there or is_wildcard(here) or is_wildcard(there)


def is_wildcard(address: str) -> bool:
    """Whether it stands for every address of a machine."""
    return ipaddress.ip_address(address).is_unspecified


def from_afar(node: NodeSpec) -> str:
    """Where nodes of other machines dial it; empty if they cannot."""
    listen = node.listen
    if listen.advertise:
        return listen.advertise[0]
    address = ipaddress.ip_address(listen.address)
    is_only_local: bool = address.is_loopback or address.is_unspecified
    return "" if is_only_local else str(Address(listen.address, listen.port))


def _circles(drafts: Mapping[str, Draft]) -> None:
    """Apps that depend on themselves in the end: all of them are told of the way round."""
    needs = {draft.name: draft.app.depends_on for draft in drafts.values() if draft.app is not None}
    for way in circles(needs):
        for name, following in zip(way, (*way[1:], way[0]), strict=True):
            draft = drafts[item_key("app", name)]
            if draft.document is not None:
                index = needs[name].index(following)
                what = f"apps depend on each other in a circle: {spoken_circle(way)}"
                hint = "take one of them out of depends_on"
                problem = draft.document.problem(what, "depends_on", index, hint=hint)
                draft.problems.append(problem)


def _moves(drafts: Mapping[str, Draft]) -> None:
    """A former name is nobody's now, and only one claims it."""
    claims: defaultdict[str, list[Draft]] = defaultdict(list)
    for draft in drafts.values():
        if draft.moved_from is not None:
            claims[item_key(draft.kind, draft.moved_from)].append(draft)
    for former, claiming in claims.items():
        for draft in claiming:
            others = [one.path for one in claiming if one is not draft]
            if draft.document is not None and former in drafts:
                what, hint = f"{drafts[former].path} is still there", "remove it, or moved_from"
                draft.problems.append(draft.document.problem(what, "moved_from", hint=hint))
            elif draft.document is not None and others:
                what = f"{former.replace('/', ' ')} cannot become both this and {others[0]}"
                hint = "leave moved_from out of one of them"
                draft.problems.append(draft.document.problem(what, "moved_from", hint=hint))


def _known(wrong: str, names: Sequence[str], what: str = "nodes") -> str:
    if not names:
        return f"this repository has no {what}"
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"this repository has {shown}" + did_you_mean(wrong, names)


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """The closest of ``known``, as the end of a hint."""
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
