"""Where the files of a repository lie, and what each of them is for; contents are not looked at.

What looks like a slip of the pen is a problem of no item: it is told, and refuses nothing.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from maculaos.documents import Problem
from maculaos.identity import NAME_PATTERN
from reconciler.values import check_label_key, check_label_value, check_machine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.specs.targets import MachineFacts

REALM_FILE: Final = "realm.yaml"
SPEC_FOLDERS: Final = ("nodes", "apps", "profiles", "overlays")
# Folder to kind of item.
KINDS: Final[dict[str, Kind]] = {"nodes": "node", "apps": "app"}

Kind: TypeAlias = Literal["node", "app"]

_OVERLAY: Final = "overlays/machines/<machine>/ or overlays/labels/<key>=<value>/"
_FORM: Final = {
    "nodes": "specs are nodes/<name>.yaml with a name of a-z, 0-9 and -; move it out",
    "apps": "specs are apps/<name>.yaml with a name of a-z, 0-9 and -; move it out",
    "profiles": "profiles are profiles/<name>.yaml with a name of a-z, 0-9 and -; move it out",
    "overlays": f"overlays are nodes/<name>.yaml or apps/<name>.yaml in {_OVERLAY}; move it out",
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """A file that is laid over one spec, on the machines with that name or with that label."""

    path: str
    machine: str = ""
    label: tuple[str, str] | None = None

    def covers(self, machine: MachineFacts) -> bool:
        """Whether it counts on that machine."""
        if self.label is None:
            return self.machine == machine.name
        return machine.labels.get(self.label[0]) == self.label[1]

    @property
    def rank(self) -> tuple[bool, str]:
        """Overlays lie in this order, the last on top: labels by key, then the machine's own."""
        return self.label is None, self.path


@dataclass(slots=True)
class Layout:
    """The files of one commit: specs and overlays by key of their item, profiles by name."""

    specs: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    overlays: dict[str, list[Overlay]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def item_key(kind: Kind, name: str) -> str:
    """By what an item is known: ``node/n1``, ``app/echo``."""
    return f"{kind}/{name}"


def laid_out(paths: Iterable[str]) -> Layout:
    """What the files at ``paths`` are for, whatever their order."""
    layout = Layout()
    for path in sorted(paths):
        _place(path, layout)
    for key in sorted(layout.overlays.keys() - layout.specs.keys()):
        lost = layout.overlays.pop(key)
        layout.problems += [_of_nothing(overlay, key) for overlay in lost]
    for overlays in layout.overlays.values():
        overlays.sort(key=lambda overlay: overlay.rank)
    return layout


def _place(path: str, layout: Layout) -> None:
    folder, _, rest = path.partition("/")
    if not rest:
        layout.problems += _misplaced_at_top(path)
    elif folder in KINDS and (name := _named(rest)):
        layout.specs[item_key(KINDS[folder], name)] = path
    elif folder == "profiles" and (name := _named(rest)):
        layout.profiles[name] = path
    elif folder == "overlays" and (found := _overlay(path)):
        key, overlay = found
        layout.overlays.setdefault(key, []).append(overlay)
    else:
        layout.problems += _misplaced(path, folder)


def _named(rest: str) -> str:
    """The name in ``<name>.yaml``, or nothing."""
    name = rest.removesuffix(".yaml")
    is_name = name != rest and re.fullmatch(NAME_PATTERN, name) is not None
    return name if is_name else ""


def _overlay(path: str) -> tuple[str, Overlay] | None:
    words = PurePosixPath(path).parts
    if len(words) != 5 or words[3] not in KINDS:
        return None
    _, way, whose, folder, file = words
    name = _named(file)
    key = item_key(KINDS[folder], name)
    try:
        if name and way == "machines":
            return key, Overlay(path, machine=check_machine(whose))
        if name and way == "labels":
            label, _, value = whose.partition("=")
            return key, Overlay(path, label=(check_label_key(label), check_label_value(value)))
    except ValueError:
        return None
    return None


def _misplaced(path: str, folder: str) -> Iterator[Problem]:
    """A file whose place or name says that somebody meant something by it."""
    meant = f"{folder.casefold().rstrip('s')}s"
    if folder in SPEC_FOLDERS:
        what = f"not a spec, and nothing else may lie in {folder}/"
        yield Problem(path, 1, 1, what, _FORM[folder])
    elif meant in SPEC_FOLDERS and _is_yaml(path):
        yield Problem(path, 1, 1, f"the folder {folder}/ is not read", f"did you mean {meant}/?")


def _misplaced_at_top(path: str) -> Iterator[Problem]:
    if path == REALM_FILE or path.startswith(".") or not _is_yaml(path):
        return
    close = difflib.get_close_matches(path.casefold(), [REALM_FILE, "realm.yml"], n=1, cutoff=0.7)
    hint = f"did you mean {REALM_FILE}?" if close else "move it to nodes/, apps/ or another folder"
    yield Problem(path, 1, 1, f"{path} is not known at the top level", hint)


def _is_yaml(path: str) -> bool:
    return path.casefold().endswith((".yaml", ".yml"))


def _of_nothing(overlay: Overlay, key: str) -> Problem:
    kind, _, name = key.partition("/")
    what = f"it is laid over {kind} {name}, which has no spec"
    return Problem(overlay.path, 1, 1, what, f"add {kind}s/{name}.yaml, or remove this file")
