"""What the reconciler would do, without doing it: for ``reconciler plan``.

Works beside a running reconciler, which then keeps the clone fresh; without one the repository
is fetched first if it can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from jails.runtime import Runtime
from maculaos.errors import UsageError
from maculaos.host.files import AlreadyLocked
from reconciler.desired import Refused, compile_tree
from reconciler.git import Commit, GitSource
from reconciler.machine import machine_paths
from reconciler.plan import plan
from reconciler.render import render
from reconciler.settings import ReconcilerSettings
from reconciler.steps import Step
from reconciler.store import Store
from reconciler.unreachable import SourceUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The steps that would be taken, and what could not run."""

    commit: Commit
    steps: tuple[Step, ...]
    blocked: Mapping[str, str]
    # Why the repository was not asked; empty if it was.
    stale: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "revision": self.commit.revision,
            "subject": self.commit.subject,
            "steps": [step.as_json() for step in self.steps],
            "blocked": dict(self.blocked),
            "stale": self.stale,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a preview reads."""

    settings: ReconcilerSettings
    runtime: Runtime
    source: GitSource
    store: Store


def preview(site: Site, named: str | None) -> Preview:
    """The plan to the commit ``named`` by hash or branch, or else to the tip of the branch.

    Raises ``Refused`` if it describes no desired state, ``SourceUnreachable`` or another
    ``UsageError`` if there is none.
    """
    with ExitStack() as held:
        error = _refresh(site, held)
        tip = site.source.resolve(named) if named else site.source.tip()
        if tip is None:
            raise error or UsageError(
                "the running reconciler has fetched nothing yet", "see reconciler status"
            )
        tree = site.source.tree(tip)
        commit = site.source.commit(tip)
    if tree.problems:
        raise Refused(tree.problems)
    desired = compile_tree(tree.files)
    paths = machine_paths(site.settings, tuple(desired.nodes), site.runtime.name)
    rendered = render(desired, paths)
    steps = plan(rendered.jails, site.runtime.look(), rendered.kept)
    return Preview(commit=commit, steps=steps, blocked=rendered.blocked, stale=str(error or ""))


def _refresh(site: Site, held: ExitStack) -> SourceUnreachable | None:
    """Fetch under the lock, if nobody else holds it; return why that was not possible."""
    try:
        held.enter_context(site.store.locked())
    except AlreadyLocked:
        return None
    try:
        site.source.fetch()
    except SourceUnreachable as error:
        return error
    return None
