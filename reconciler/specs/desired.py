"""What one commit wants of one machine: its items, those that are broken, and every problem.

A file that is broken breaks its own item only. A commit is refused for two reasons: its
``realm.yaml`` says nothing that can be read, or it holds more than the limits. Files become
items in ``reconciler.specs.compilation``; where things lie on a machine ``reconciler.render`` adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from maculaos.documents import Problem
from maculaos.errors import MaculaError
from reconciler.specs.items import Item, made_item
from reconciler.specs.spec import AnySpec, AppSpec, NodeSpec, RealmSpec, settled

if TYPE_CHECKING:
    from collections.abc import Iterable

S = TypeVar("S", NodeSpec, AppSpec)


class Refused(MaculaError):
    """The files of a commit describe no desired state; ``problems`` says why, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def _nothing() -> Mapping[str, tuple[Problem, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Desired:
    """What one commit wants to run on one machine; mappings are by key, such as ``app/echo``."""

    realm: RealmSpec
    # In the order of keys: apps, then nodes.
    items: Mapping[str, Item]
    # Items of this machine, as far as can be told, that are not what their files say: why.
    broken: Mapping[str, tuple[Problem, ...]] = field(default_factory=_nothing)
    # What is wrong with files that are of no item; they refuse nothing.
    problems: tuple[Problem, ...] = ()
    # The former key of items that were renamed, broken or not.
    moved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # Problems of items of other machines: for who checks a repository.
    elsewhere: Mapping[str, tuple[Problem, ...]] = field(default_factory=_nothing)
    # The encrypted files that items need, by SHA-256, as far as the commit has them.
    secrets: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def of(
        cls, realm: RealmSpec, nodes: Iterable[NodeSpec], apps: Iterable[AppSpec] = ()
    ) -> Desired:
        """All of these, and nothing broken; the realm's defaults are folded in, nothing else is."""
        specs: tuple[AnySpec, ...] = (*apps, *(settled(node, realm) for node in nodes))
        made = {item.key: item for item in (made_item(spec, realm.name) for spec in specs)}
        return cls(realm, MappingProxyType(dict(sorted(made.items()))))

    @property
    def nodes(self) -> Mapping[str, NodeSpec]:
        """The nodes by name, in the order of names."""
        return self._of_kind(NodeSpec)

    @property
    def apps(self) -> Mapping[str, AppSpec]:
        """The apps by name, in the order of names."""
        return self._of_kind(AppSpec)

    @property
    def is_whole(self) -> bool:
        """Whether all that the commit says here can be done."""
        return not self.broken and not self.problems

    def told(self) -> tuple[Problem, ...]:
        """Every problem that concerns this machine, in file order."""
        return self._sorted(self.broken)

    def all_problems(self) -> tuple[Problem, ...]:
        """Every problem of the repository that was found, in file order."""
        return self._sorted({**self.elsewhere, **self.broken})

    def keeping(self, items: Iterable[Item]) -> Desired:
        """With ``items`` in the place of those of their key; what was broken is still told."""
        all_items = {**self.items, **{item.key: item for item in items}}
        return replace(self, items=MappingProxyType(dict(sorted(all_items.items()))))

    def _sorted(self, of: Mapping[str, tuple[Problem, ...]]) -> tuple[Problem, ...]:
        found = (problem for problems in of.values() for problem in problems)
        return tuple(sorted({*found, *self.problems}))

    def _of_kind(self, kind: type[S]) -> Mapping[str, S]:
        specs = (item.spec for item in self.items.values())
        return MappingProxyType({s.name: s for s in specs if isinstance(s, kind)})
