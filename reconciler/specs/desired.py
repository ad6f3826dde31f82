"""From the files of one commit to the desired state, or to every problem in them at once.

``compile_tree`` checks each file by its type and then what holds between files: names, realm,
addresses, peers. It knows nothing of the machine; ``reconciler.render`` adds that.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from maculaos.addresses import Address
from maculaos.documents import Document, InvalidDocument, Problem, read_document
from maculaos.errors import MaculaError
from maculaos.identity import NAME_PATTERN
from reconciler.overrides import NODE_DEFAULTS
from reconciler.spec import AppSpec, NodeSpec, RealmSpec, effective

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REALM_FILE: Final = "realm.yaml"
SPEC_FOLDERS: Final = ("nodes", "apps")
MAX_SPECS: Final = 1000

# Pairs of numbers where the first must stay below the second.
_ORDERED: Final = (
    ("swim", "probe_timeout_s", "probe_interval_s", "below"),
    ("link", "reconnect_base_s", "reconnect_max_s", "not above"),
)

S = TypeVar("S", NodeSpec, AppSpec)


class Refused(MaculaError):
    """The files of a commit describe no desired state; ``problems`` says why, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Desired:
    """What one commit wants to run; nodes and apps by name, in the order of names."""

    realm: RealmSpec
    nodes: Mapping[str, NodeSpec]
    apps: Mapping[str, AppSpec]


@dataclass(frozen=True, slots=True)
class _Kind(Generic[S]):
    """The files of one folder: what the paths promise, and what could be read."""

    promised: frozenset[str]
    read: Mapping[str, Document[S]]

    @property
    def names(self) -> frozenset[str]:
        """Every name that a file claims, by its path or in its text."""
        return self.promised | {document.value.name for document in self.read.values()}


def compile_tree(tree: Mapping[str, bytes]) -> Desired:
    """Compile the files of a commit, given by path with ``/``.

    ``realm.yaml``, ``nodes/<name>.yaml`` and ``apps/<name>.yaml`` are read, other files at the
    top level and other folders are not, unless they look like a slip of the pen: another YAML
    file at the top level, anything else under ``nodes/`` or ``apps/``, a folder ``node/``.

    Raises ``Refused`` with every problem of every file.
    """
    files = {path: tree[path] for path in sorted(tree)}
    problems = list(_misplaced(files))
    specs = [path for path in files if _is_spec(path)]
    if len(specs) > MAX_SPECS:
        what = f"{len(specs)} specs in one repository, more than {MAX_SPECS}"
        raise Refused([*problems, Problem(specs[MAX_SPECS], 1, 1, what, "split the realm")])
    realm = _read_realm(files, problems)
    nodes = _read_folder(files, "nodes", NodeSpec, problems)
    apps = _read_folder(files, "apps", AppSpec, problems)
    problems += _across(realm, nodes, apps)
    if problems or realm is None:
        raise Refused(problems)
    return Desired(realm.value, _values(nodes), _values(apps))


def _is_spec(path: str) -> bool:
    parts = PurePosixPath(path)
    if len(parts.parts) != 2 or parts.parts[0] not in SPEC_FOLDERS or parts.suffix != ".yaml":
        return False
    return re.fullmatch(NAME_PATTERN, parts.stem) is not None


def _misplaced(files: Iterable[str]) -> Iterator[Problem]:
    """Files whose place or name says that somebody meant something by them."""
    for path in files:
        folder, _, rest = path.partition("/")
        if not rest:
            yield from _misplaced_at_top(path)
        elif folder in SPEC_FOLDERS:
            if not _is_spec(path):
                hint = f"specs are {folder}/<name>.yaml with a name of a-z, 0-9 and -; move it out"
                yield Problem(
                    path, 1, 1, f"not a spec, and nothing else may lie in {folder}/", hint
                )
        elif f"{folder.casefold().rstrip('s')}s" in SPEC_FOLDERS and _is_yaml(path):
            meant = f"{folder.casefold().rstrip('s')}s"
            yield Problem(
                path, 1, 1, f"the folder {folder}/ is not read", f"did you mean {meant}/?"
            )


def _misplaced_at_top(path: str) -> Iterator[Problem]:
    if path == REALM_FILE or path.startswith(".") or not _is_yaml(path):
        return
    close = difflib.get_close_matches(path.casefold(), [REALM_FILE, "realm.yml"], n=1, cutoff=0.7)
    hint = f"did you mean {REALM_FILE}?" if close else "move it to nodes/, apps/ or another folder"
    yield Problem(path, 1, 1, f"{path} is not known at the top level", hint)


def _is_yaml(path: str) -> bool:
    return path.casefold().endswith((".yaml", ".yml"))


def _read_realm(files: Mapping[str, bytes], problems: list[Problem]) -> Document[RealmSpec] | None:
    if REALM_FILE not in files:
        hint = "add one with the lines 'version: 1' and 'name: <your realm>', see docs/spec.md"
        problems.append(Problem(REALM_FILE, 1, 1, "the repository has no realm.yaml", hint))
        return None
    try:
        return read_document(files[REALM_FILE], REALM_FILE, RealmSpec)
    except InvalidDocument as invalid:
        problems += invalid.problems
        return None


def _read_folder(
    files: Mapping[str, bytes], folder: str, kind: type[S], problems: list[Problem]
) -> _Kind[S]:
    read: dict[str, Document[S]] = {}
    paths = [path for path in files if path.startswith(f"{folder}/") and _is_spec(path)]
    for path in paths:
        try:
            document = read_document(files[path], path, kind)
        except InvalidDocument as invalid:
            problems += invalid.problems
            continue
        read[PurePosixPath(path).stem] = document
    return _Kind(frozenset(PurePosixPath(path).stem for path in paths), read)


def _values(kind: _Kind[S]) -> Mapping[str, S]:
    return MappingProxyType({name: document.value for name, document in sorted(kind.read.items())})


def _across(
    realm: Document[RealmSpec] | None, nodes: _Kind[NodeSpec], apps: _Kind[AppSpec]
) -> Iterator[Problem]:
    """Everything that only shows when the files are held side by side."""
    for document in nodes.read.values():
        yield from _misnamed(document)
        yield from _unknown_peers(document, nodes.names)
        yield from _undialable(document)
        if realm is not None:
            yield from _other_realm(document, realm.value.name)
            yield from _disordered(document, realm.value)
    yield from _shared_addresses(nodes.read.values())
    for app in apps.read.values():
        yield from _misnamed(app)
        yield from _nodeless(app, nodes.names)


def _misnamed(document: Document[S]) -> Iterator[Problem]:
    stem, name = PurePosixPath(document.path).stem, document.value.name
    if stem != name:
        hint = f"name it {stem}, or rename the file to {name}.yaml"
        yield document.problem(f"the name {name!r} is not that of the file", "name", hint=hint)


def _other_realm(document: Document[NodeSpec], declared: str) -> Iterator[Problem]:
    written = document.value.realm
    if written != declared:
        hint = f"{REALM_FILE} declares {declared!r}: write that, or move the node elsewhere"
        yield document.problem(f"unknown realm {written!r}", "realm", hint=hint)


def _unknown_peers(document: Document[NodeSpec], names: frozenset[str]) -> Iterator[Problem]:
    for index, peer in enumerate(document.value.peers or ()):
        if ":" in peer:
            continue
        if peer == document.value.name:
            hint = "leave it out"
            yield document.problem(f"{peer!r} names itself as peer", "peers", index, hint=hint)
        elif peer not in names:
            hint = _known(peer, names)
            yield document.problem(f"no node is named {peer!r}", "peers", index, hint=hint)


def _nodeless(document: Document[AppSpec], names: frozenset[str]) -> Iterator[Problem]:
    node = document.value.node
    if node not in names:
        yield document.problem(f"no node is named {node!r}", "node", hint=_known(node, names))


def _undialable(document: Document[NodeSpec]) -> Iterator[Problem]:
    listen = document.value.listen
    if _is_wildcard(listen.address) and not listen.advertise:
        hint = "add advertise with the host:port that other nodes can dial"
        what = f"nobody can dial {listen.address}"
        yield document.problem(what, "listen", "address", hint=hint)


def _disordered(document: Document[NodeSpec], realm: RealmSpec) -> Iterator[Problem]:
    """Numbers that fit each by itself, but not with the realm's or the node's own defaults."""
    settled = effective(document.value, realm)
    for part, lower, upper, relation in _ORDERED:
        numbers = {**NODE_DEFAULTS[part], **settled[part]}
        small, large = numbers[lower], numbers[upper]
        if small > large or (small == large and relation == "below"):
            what = f"{part}.{lower} is {small:g}, and must be {relation} {part}.{upper}, {large:g}"
            hint = "set both, here or under defaults in realm.yaml"
            yield document.problem(what, part, lower, hint=hint)


def _shared_addresses(documents: Iterable[Document[NodeSpec]]) -> Iterator[Problem]:
    """Two nodes on one port: the later file is blamed, the earlier one named."""
    on_port: dict[int, list[Document[NodeSpec]]] = {}
    for document in documents:
        listen = document.value.listen
        earlier = on_port.setdefault(listen.port, [])
        first = next((one for one in earlier if _overlap(one, document)), None)
        if first is not None:
            line, column = first.position("listen", "port")
            what = f"{_address_of(document)} is taken by {first.path}:{line}:{column}"
            yield document.problem(what, "listen", "port", hint="give one of them another port")
        earlier.append(document)


def _address_of(document: Document[NodeSpec]) -> str:
    listen = document.value.listen
    return str(Address(listen.address, listen.port))


def _overlap(one: Document[NodeSpec], other: Document[NodeSpec]) -> bool:
    """A wildcard takes its port on every address: on most systems :: takes that of IPv4 too."""
    here, there = one.value.listen.address, other.value.listen.address
    return here == there or _is_wildcard(here) or _is_wildcard(there)


def _is_wildcard(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified


def _known(wrong: str, names: frozenset[str]) -> str:
    if not names:
        return "this repository has no nodes"
    shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
    return f"this repository has {shown}" + _did_you_mean(wrong, sorted(names))


def _did_you_mean(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
