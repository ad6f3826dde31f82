"""From the files of one commit to what they want of one machine.

``Compiler.compile`` checks each file by its type, lays profiles and overlays, has templates
filled, and holds the files side by side. It remembers what it made of the last commit: a file
that did not change is neither parsed nor checked again. It opens nothing; templates are filled by
whoever is handed in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from maculaos.documents import (
    Document,
    InvalidDocument,
    Place,
    Problem,
    Tree,
    check_tree,
    plant,
    read_document,
)
from reconciler.secrets.reference import references_in, sealed
from reconciler.specs.between import did_you_mean, find_missing_secrets, find_problems, from_afar
from reconciler.specs.desired import Desired, Refused
from reconciler.specs.draft import TYPES, Draft
from reconciler.specs.items import Item, ciphertexts_of, made_item
from reconciler.specs.layers import Layer, merged, strays
from reconciler.specs.layout import REALM_FILE, Layout, item_key, laid_out
from reconciler.specs.spec import NodeSpec, RealmSpec, settled
from reconciler.specs.targets import MachineFacts
from reconciler.specs.templates import (
    AsWritten,
    Filled,
    Filler,
    Template,
    Unfillable,
    found,
    with_filled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.specs.spec import AppSpec

MAX_SPECS: Final = 2000
# Parsed files that are kept until the next commit, by what they hold as text.
REMEMBERED_BYTES_MAX: Final = 8 * 1024 * 1024
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def compile_tree(
    files: Mapping[str, bytes],
    machine: MachineFacts | None = None,
    filler: Filler | None = None,
    unreadable: Iterable[Problem] = (),
) -> Desired:
    """Compile once, and remember nothing; see ``Compiler``."""
    return Compiler(machine or MachineFacts(), filler or AsWritten()).compile(files, unreadable)


@dataclass(slots=True)
class _Parsed:
    """What a file holds: a tree, or what is wrong with it."""

    size: int
    tree: Tree | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Memory:
    """What was made of the files of one commit."""

    parsed: dict[tuple[str, bytes], _Parsed] = field(default_factory=dict)
    merged: dict[str, tuple[Any, Tree]] = field(default_factory=dict)
    checked: dict[str, tuple[Any, Document[Any]]] = field(default_factory=dict)
    items: dict[str, tuple[Any, Item]] = field(default_factory=dict)
    size: int = 0


class Compiler:
    """Compiles one commit after the other for one machine; not for several threads at once."""

    def __init__(self, machine: MachineFacts, filler: Filler) -> None:
        self._machine = machine
        self._filler = filler
        self._before = _Memory()

    def compile(
        self,
        files: Mapping[str, bytes],
        unreadable: Iterable[Problem] = (),
        secrets: Mapping[str, bytes] = _NONE,
    ) -> Desired:
        """What ``files``, given by path with ``/``, want of the machine.

        ``unreadable`` are files that are there and could not even be taken, by their problems;
        ``secrets`` the encrypted files that specs name, by path.
        Raises ``Refused`` if there is no realm that can be read, or if there are too many specs.
        """
        attempt = _Attempt(files, {p.path: p for p in unreadable}, self._machine, self._before)
        attempt.seal(secrets)
        attempt.draft()
        attempt.place()
        attempt.fill(self._filler)
        attempt.check()
        desired = attempt.desired()
        self._before = attempt.memory
        return desired


class _Attempt:
    """The compilation of one commit."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        unreadable: Mapping[str, Problem],
        machine: MachineFacts,
        before: _Memory,
    ) -> None:
        self.memory = _Memory()
        self._files = files
        self._unreadable = unreadable
        self._machine = machine
        self._before = before
        self._layout = laid_out({*files, *unreadable})
        self._drafts: dict[str, Draft] = {}
        self._digests: dict[str, bytes] = {}
        # What each draft was made of: equal means that its document is the same.
        self._sources: dict[str, Any] = {}
        # By path and by what they hold, the encrypted files.
        self._secrets: dict[str, str] = {}
        self._ciphertexts: dict[str, bytes] = {}
        _bounded(self._layout)
        self._realm = self._read_realm()
        realm = self._realm
        self._realm_names = json.dumps([realm.name, *sorted(realm.vars.items())])

    def seal(self, secrets: Mapping[str, bytes]) -> None:
        """These encrypted files are there."""
        for path, content in secrets.items():
            digest = hashlib.sha256(content).hexdigest()
            self._secrets[path], self._ciphertexts[digest] = digest, content

    def _read_realm(self) -> RealmSpec:
        problems = list(self._layout.problems)
        if REALM_FILE in self._unreadable:
            raise Refused([*problems, self._unreadable[REALM_FILE]])
        if REALM_FILE not in self._files:
            hint = "add one with the lines 'version: 1' and 'name: <your realm>', see docs/spec.md"
            missing = Problem(REALM_FILE, 1, 1, "the repository has no realm.yaml", hint)
            raise Refused([*problems, missing])
        try:
            return read_document(self._files[REALM_FILE], REALM_FILE, RealmSpec).value
        except InvalidDocument as invalid:
            raise Refused([*problems, *invalid.problems]) from invalid

    # Each file by itself, and what is laid below and over it.

    def draft(self) -> None:
        """Lay the files of each item together."""
        used: set[str] = set()
        for key, path in sorted(self._layout.specs.items()):
            kind, _, name = key.partition("/")
            content = self._files.get(path, b"")
            draft = Draft(
                key=key,
                kind="node" if kind == "node" else "app",
                name=name,
                path=path,
                content=content,
            )
            self._drafts[key] = draft
            used.update(self._lay(draft))
        for path in sorted({*self._layout.profiles.values()} - used):
            self._layout.problems += self._layer_problems(path)

    def _lay(self, draft: Draft) -> list[str]:
        """Give the draft its tree; return the paths of the files that it is made of."""
        own = self._parse(draft.path)
        draft.problems += own.problems
        draft.tree = own.tree
        if own.tree is None or not isinstance(own.tree.value, dict):
            return []
        profiles = self._profiles(draft, own.tree)
        overlays = self._overlays(draft)
        paths = [*profiles, draft.path, *overlays]
        for path in (*profiles, *overlays):
            draft.problems += self._layer_problems(path)
        source = tuple((path, self._digests[path]) for path in paths if path in self._digests)
        self._sources[draft.key] = source
        if len(paths) > 1 and not draft.problems:
            draft.tree = self._merged(draft, paths, source)
        return profiles

    def _merged(self, draft: Draft, paths: Sequence[str], source: Any) -> Tree:
        known = self._before.merged.get(draft.key)
        if known is None or known[0] != source:
            trees = [(path, self._parse(path).tree) for path in paths]
            layers = [Layer(path, tree) for path, tree in trees if tree is not None]
            known = (source, merged(layers))
        self.memory.merged[draft.key] = known
        return known[1]

    def _profiles(self, draft: Draft, own: Tree) -> list[str]:
        """The paths of the profiles that the draft names; one that is not there is a problem."""
        named = own.value.get("profiles") if isinstance(own.value, dict) else None
        paths: list[str] = []
        for index, name in enumerate(named if isinstance(named, list) else ()):
            if isinstance(name, str) and name in self._layout.profiles:
                paths.append(self._layout.profiles[name])
            elif isinstance(name, str):
                known = sorted(self._layout.profiles)
                shown = f"profiles/ has {', '.join(known[:10])}" if known else "profiles/ is empty"
                hint = shown + did_you_mean(name, known)
                line, column = own.values[("profiles", index)]
                what = f"no profile is named {name!r}"
                draft.problems.append(Problem(draft.path, line, column, what, hint))
        return paths

    def _overlays(self, draft: Draft) -> list[str]:
        overlays = self._layout.overlays.get(draft.key, ())
        for overlay in overlays:
            if not overlay.covers(self._machine):
                # It is of other machines, and still this repository's.
                self._layout.problems += self._layer_problems(overlay.path)
        return [overlay.path for overlay in overlays if overlay.covers(self._machine)]

    def _layer_problems(self, path: str) -> list[Problem]:
        parsed = self._parse(path)
        if parsed.tree is None:
            return list(parsed.problems)
        return strays(Layer(path, parsed.tree))

    def _parse(self, path: str) -> _Parsed:
        if path in self._unreadable:
            return _Parsed(0, problems=(self._unreadable[path],))
        content = self._files[path]
        digest = self._digests.setdefault(path, hashlib.sha256(content).digest())
        key = (path, digest)
        if (known := self.memory.parsed.get(key)) is not None:
            return known
        parsed = self._before.parsed.get(key) or _parsed(content, path)
        if self.memory.size + parsed.size <= REMEMBERED_BYTES_MAX:
            self.memory.parsed[key] = parsed
            self.memory.size += parsed.size
        return parsed

    def _is_known(self, key: str) -> bool:
        known = self._before.checked.get(key)
        return known is not None and known[0] == self._sources.get(key)

    def place(self) -> None:
        """Settle of each draft whether it is of this machine, as far as can be told."""
        for draft in self._drafts.values():
            draft.find_place(self._machine)
        for draft in self._drafts.values():
            if draft.kind == "app" and not draft.names_targets():
                draft.is_here = self._place_of_node(draft)
            # Templates are filled for this machine only, so that is part of what is remembered.
            made_of = self._sources.get(draft.key)
            if made_of is not None:
                is_filled = draft.is_here is not False
                self._sources[draft.key] = (made_of, self._realm_names if is_filled else None)

    def _place_of_node(self, draft: Draft) -> bool | None:
        """An app without targets is where its node is; one that names no node is here."""
        tree = draft.tree
        said = {} if tree is None or not isinstance(tree.value, dict) else tree.value
        named = said.get("node")
        node = self._drafts.get(item_key("node", named)) if isinstance(named, str) else None
        return True if node is None else node.is_here

    # Templates, all of the commit at once.

    def fill(self, filler: Filler) -> None:
        """Fill the templates of all drafts; one that cannot be filled is a problem of its item."""
        wanted: list[tuple[Draft, Place, Template]] = []
        for draft in self._drafts.values():
            is_wanted = draft.is_here is not False and not draft.problems
            if draft.tree is not None and is_wanted and not self._is_known(draft.key):
                wanted += self._templates(draft, draft.tree)
        if not wanted:
            return
        answers = filler.fill([template for _, _, template in wanted])
        by_draft: dict[str, dict[Place, Filled]] = {}
        for (draft, place, _), answer in zip(wanted, answers, strict=True):
            by_draft.setdefault(draft.key, {})[place] = answer
        for key, filled in by_draft.items():
            _put_back(self._drafts[key], filled)

    def _templates(self, draft: Draft, tree: Tree) -> list[tuple[Draft, Place, Template]]:
        texts = list(found(tree, TYPES[draft.kind]))
        if not texts:
            return []
        own = tree.value.get("vars") if isinstance(tree.value, dict) else None
        own = own if isinstance(own, dict) else {}
        said = {key: value for key, value in own.items() if isinstance(value, str)}
        names = {
            "machine": {"name": self._machine.name, "labels": dict(self._machine.labels)},
            "realm": self._realm.name,
            "item": {"name": draft.name, "kind": draft.kind},
            "vars": {**self._realm.vars, **said},
        }
        carried = json.dumps(names, sort_keys=True)
        return [(draft, place, Template(text, carried)) for place, text in texts]

    # Each item by its type, and all side by side.

    def check(self) -> None:
        """Check every draft, alone and beside the others."""
        for draft in self._drafts.values():
            self._check(draft)
        find_problems(self._drafts, self._realm)
        why = {path: problem.what for path, problem in self._unreadable.items()}
        find_missing_secrets(self._drafts, self._secrets, why)

    def _check(self, draft: Draft) -> None:
        if draft.tree is None or draft.problems:
            return
        source = self._sources.get(draft.key)
        if self._is_known(draft.key):
            draft.document = self._before.checked[draft.key][1]
        else:
            try:
                draft.document = check_tree(draft.tree, draft.path, TYPES[draft.kind])
            except InvalidDocument as invalid:
                draft.problems += invalid.problems
                return
        if source is not None and draft.document is not None:
            self.memory.checked[draft.key] = (source, draft.document)

    # What comes of it.

    def desired(self) -> Desired:
        """Everything, by key."""
        items: dict[str, Item] = {}
        broken: dict[str, tuple[Problem, ...]] = {}
        elsewhere: dict[str, tuple[Problem, ...]] = {}
        moved: dict[str, str] = {}
        peers = self._peer_names()
        for key, draft in self._drafts.items():
            if draft.problems:
                problems = tuple(sorted(set(draft.problems)))
                (elsewhere if draft.is_here is False else broken)[key] = problems
            elif draft.is_here and draft.document is not None:
                items[key] = self._item(key, draft.document.value, peers)
            if draft.is_here is not False and draft.moved_from is not None:
                moved[key] = item_key(draft.kind, draft.moved_from)
        return Desired(
            self._realm,
            MappingProxyType(items),
            MappingProxyType(broken),
            tuple(sorted(set(self._layout.problems))),
            MappingProxyType(moved),
            MappingProxyType(elsewhere),
            self._needed(items.values()),
        )

    def _needed(self, items: Iterable[Item]) -> Mapping[str, bytes]:
        """The encrypted files that these items need, by digest."""
        digests = {digest for item in items for digest in ciphertexts_of(item.spec)}
        return MappingProxyType({digest: self._ciphertexts[digest] for digest in sorted(digests)})

    def _sealed(self, spec: AppSpec) -> AppSpec:
        return replace(spec, environment=sealed(spec.environment, self._secrets))

    def _item(self, key: str, spec: NodeSpec | AppSpec, peers: Mapping[str, str]) -> Item:
        if isinstance(spec, NodeSpec):
            return made_item(settled(_with_peers(spec, peers), self._realm), self._realm.name)
        # Without secrets it depends on nothing else, so the one of the last commit will do.
        known = self._before.items.get(key)
        if references_in(spec.environment):
            known = (spec, made_item(self._sealed(spec), self._realm.name))
        elif known is None or known[0] is not spec or known[1].realm != self._realm.name:
            known = (spec, made_item(spec, self._realm.name))
        self.memory.items[key] = known
        return known[1]

    def _peer_names(self) -> dict[str, str]:
        """By node, what others of this machine write to dial it; nodes without are left out."""
        names: dict[str, str] = {}
        for draft in self._drafts.values():
            if draft.kind == "node":
                afar = "" if draft.node is None else from_afar(draft.node)
                names[draft.name] = afar if draft.is_here is False else draft.name
        return {name: said for name, said in names.items() if said}


def _bounded(layout: Layout) -> None:
    if len(layout.specs) > MAX_SPECS:
        what = f"{len(layout.specs)} specs in one repository, more than {MAX_SPECS}"
        first = sorted(layout.specs.values())[MAX_SPECS]
        raise Refused([*layout.problems, Problem(first, 1, 1, what, "split the realm")])


def _parsed(content: bytes, path: str) -> _Parsed:
    try:
        return _Parsed(len(content), plant(content, path))
    except InvalidDocument as invalid:
        return _Parsed(len(content), problems=invalid.problems)


def _put_back(draft: Draft, filled: Mapping[Place, Filled]) -> None:
    tree = draft.tree
    if tree is None:
        return
    for place, answer in filled.items():
        if isinstance(answer, Unfillable):
            path = tree.origins.get(place, draft.path)
            draft.problems.append(Problem(path, *tree.values[place], answer.what, answer.hint))
    texts = {place: text for place, text in filled.items() if isinstance(text, str)}
    draft.tree = with_filled(tree, texts)


def _with_peers(node: NodeSpec, names: Mapping[str, str]) -> NodeSpec:
    """Every peer as this machine dials it: nodes beside it by name, all others by address."""
    written: Sequence[str] = tuple(names) if node.peers is None else node.peers
    others = [peer for peer in written if peer != node.name]
    dialled = (peer if ":" in peer else names.get(peer) for peer in others)
    return replace(node, peers=tuple(dict.fromkeys(filter(None, dialled))))
