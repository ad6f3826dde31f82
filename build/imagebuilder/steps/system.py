"""The system of a slot: everything laid over one another, pruned, checked, and written as UFS2."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from imagebuilder import sysctls
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem import accounts as numbers
from imagebuilder.filesystem import sizes
from imagebuilder.filesystem.bootable import require_bootable, require_files
from imagebuilder.filesystem.linkage import require_linkage
from imagebuilder.filesystem.mtree import write_spec
from imagebuilder.filesystem.prune import PruneRules, Rule, parse_rules, prune
from imagebuilder.filesystem.tree import Layer, Tree, merge
from imagebuilder.filesystem.ufs import write_ufs
from imagebuilder.memory import SIZE_FILE, lay_templates, parse_layout, size_problem, with_layer
from imagebuilder.order import NAME
from imagebuilder.overlays import read_overlay
from imagebuilder.packages import accounts as wanted_accounts
from imagebuilder.release.index import write_index
from imagebuilder.steps.release import release_in
from imagebuilder.steps.software import ACCOUNTS, ENTRIES
from imagebuilder.steps.workshop import entries_in, read_json, write_json
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.steps.workshop import Workshop
    from imagebuilder.system import System

TREE: Final = "tree.jsonl"
LAYERS: Final = "layers.json"
SIZES: Final = "sizes.json"
SLOT: Final = "slot.ufs"
USAGE: Final = "usage.json"
USERS: Final = "etc/master.passwd"
GROUPS: Final = "etc/group"
IDENTITY: Final = "usr/local/share/macula/image.json"
TRUSTED: Final = "usr/local/share/macula/update/trusted"
_SETTINGS: Final = ("etc/sysctl.conf", "etc/sysctl.conf.local", "boot/loader.conf")
_SETTINGS_FOLDERS: Final = ("etc/sysctl.kld.d/", "boot/loader.conf.d/")


def read_overlays(system: System, workshop: Workshop, site: Site) -> None:
    """``NAME.jsonl`` for each overlay that only this system has."""
    order = workshop.order
    for name in system.overlays:
        entries = read_overlay(order.checkout / "overlays" / name, workshop.store)
        write_index(site.folder / f"{name}.jsonl", entries)


def make_tree(system: System, workshop: Workshop, site: Site) -> None:
    """The tree of a slot, checked: its entries, their layers, its mtree text, its sizes."""
    order = workshop.order
    tree = merge(_layers(system, workshop, site))
    tree = _with_accounts(tree, workshop, site)
    tree, report = prune(tree, _rules(order), sizes.measure(tree))
    for removed in report.removed:
        site.note(f"pruned {removed.paths} paths, {removed.size_bytes} bytes: {removed.reason}")
    _check_sysctls(tree, order, [*report.notes], site)
    require_linkage(tree)
    # Before the templates: they take no room, and would be told as the owners of what they share.
    measured = sizes.measure(tree)
    require_bootable(tree, order.arch, measured)
    require_files(tree, system.wanted)
    parts = sizes.parts(tree, measured)
    tree = _laid_out(tree, workshop)
    write_index(site.folder / TREE, tree.entries)
    write_json(site.folder / LAYERS, dict(tree.layer_of))
    (site.folder / SIZES).write_text(sizes.to_json(parts))
    spec = write_spec(tree.entries, order.revision.committed_at)
    (site.folder / f"{system.stem}.mtree").write_text(spec)


def write_slot(system: System, workshop: Workshop, site: Site) -> None:
    """The file system of a slot, and how full it is."""
    order = workshop.order
    tree = tree_in(site.of(system.step("tree")))
    usage = write_ufs(
        tree,
        numbers.parse_accounts(_text(tree, USERS), _text(tree, GROUPS)),
        site.folder / SLOT,
        size=order.recipe.disk.sizes().slot_bytes,
        time_s=order.revision.committed_at,
    )
    write_json(site.folder / USAGE, asdict(usage))


def tree_in(folder: Path) -> Tree:
    """The tree that ``make_tree`` wrote."""
    return Tree(tuple(entries_in(folder / TREE)), read_json(folder / LAYERS))


def _layers(system: System, workshop: Workshop, site: Site) -> Iterator[Layer]:
    order = workshop.order
    for name in order.base_layers:
        yield Layer(name, entries_in(site.of("unpack") / f"{name}.jsonl"))
    if order.has_packages:
        yield Layer("packages", entries_in(site.of("packages") / ENTRIES))
    for upper in system.uppers:
        yield Layer(upper.title, entries_in(site.of(upper.step) / upper.file))
    yield Layer("identity", _identity(workshop, site))


def _identity(workshop: Workshop, site: Site) -> list[Entry]:
    """What the image says of itself, and whose update bundles it takes."""
    order, key = workshop.order, workshop.key.public
    revision = order.revision
    created = datetime.fromtimestamp(revision.committed_at, UTC)
    said = {
        "name": NAME,
        "version": revision.version,
        "arch": order.arch,
        "commit": revision.commit,
        "created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "freebsd": release_in(order, site.of("unpack")),
    }
    files = {
        IDENTITY: json.dumps(said, indent=2, sort_keys=True) + "\n",
        f"{TRUSTED}/{key.key_id}.pub": f"{key.raw.hex()}\n",
    }
    return [
        Entry(
            path=path,
            kind=Kind.FILE,
            mode=0o444,
            source=workshop.store.add_bytes(content.encode()),
        )
        for path, content in files.items()
    ]


def _with_accounts(tree: Tree, workshop: Workshop, site: Site) -> Tree:
    """The tree with the accounts that packages want, in the text of both account files."""
    order = workshop.order
    if not order.has_packages:
        return tree
    wanted = read_json(site.of("packages") / ACCOUNTS)
    path = order.data(order.recipe.contents.accounts)
    known = wanted_accounts.parse_accounts(path.read_text(), str(path))
    texts = {
        USERS: wanted_accounts.add_users(_text(tree, USERS), wanted["users"], known),
        GROUPS: wanted_accounts.add_groups(_text(tree, GROUPS), wanted["groups"], known),
    }
    changed = {path: text for path, text in texts.items() if text != _text(tree, path)}
    if not changed:
        return tree
    site.note("accounts were added: pwd.db and spwd.db are those of the release until pwd_mkdb")
    there = tree.by_path()
    entries = [
        replace(there[path], source=workshop.store.add_bytes(text.encode()), same_as="")
        for path, text in changed.items()
    ]
    return with_layer(tree, Layer("accounts", entries))


def _rules(order: Order) -> PruneRules:
    """The prune file, and the modules of the recipe, which stay."""
    path = order.data(order.recipe.contents.prune)
    rules = parse_rules(path.read_text(), str(path))
    modules = tuple(
        Rule(tuple(f"boot/kernel/{name}.ko" for name in part.names), part.why)
        for part in order.recipe.module
    )
    return PruneRules(rules.remove, (*rules.keep, *modules))


def _laid_out(tree: Tree, workshop: Workshop) -> Tree:
    """The tree with the templates of what lies in memory; raises ``UsageError`` if one is full."""
    path = workshop.order.data(workshop.order.recipe.contents.layout)
    templates = parse_layout(path.read_text(), str(path))
    tree = lay_templates(tree, templates)
    known = sizes.measure(tree)
    for one in templates:
        text = _text(tree, f"{one.template}/{SIZE_FILE}")
        if problem := size_problem(tree, one, known, text):
            raise UsageError(problem, "write a larger number of sectors, or prune more")
    return tree


def _check_sysctls(tree: Tree, order: Order, notes: list[str], site: Site) -> None:
    """Refuse a sysctl that the release lacks; every note goes to the log."""
    settings = [
        setting
        for entry in tree.entries
        if entry.source and entry.path.startswith((*_SETTINGS, *_SETTINGS_FOLDERS))
        for setting in sysctls.settings_in(_text(tree, entry.path), entry.path)
    ]
    folder = order.data(order.recipe.contents.sysctls)
    lists = {
        path.stem: sysctls.parse_names(path.read_text(), str(path))
        for path in sorted(folder.glob("*.txt"))
    }
    changes = folder / "changes.toml"
    known = sysctls.Known(lists, sysctls.parse_changes(changes.read_text(), str(changes)))
    findings = sysctls.check(settings, order.version, known)
    for note in (*notes, *findings.notes):
        site.note(f"note: {note}")
    findings.require()


def _text(tree: Tree, path: str) -> str:
    """The text of a file of the tree; raises ``UsageError`` if it has none."""
    there = tree.by_path()
    entry = there.get(path)
    source = entry.source if entry else None
    if source is None:
        raise UsageError(
            f"the image has no {path}", "the set base of a release brings it, or an overlay"
        )
    return source.read_bytes().decode("utf-8", "replace")
