"""What the reconciler would do, without doing it: for ``reconciler plan``.

Works beside a running reconciler, which then keeps the clone fresh; without one the repository
is fetched first if it can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from maculaos.errors import UsageError
from maculaos.host.clock import Clock
from maculaos.host.files import AlreadyLocked
from reconciler.planning import Planner
from reconciler.sources.clone import Commit, Revision
from reconciler.sources.git import GitSource
from reconciler.sources.signatures import Verifier
from reconciler.sources.unreachable import SourceUnreachable
from reconciler.specs.compilation import Compiler
from reconciler.specs.desired import Refused
from reconciler.steps import Step
from reconciler.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The steps that would be taken, and what could not run."""

    commit: Commit
    steps: tuple[Step, ...]
    blocked: Mapping[str, str]
    # What is wrong with the commit, a line each; the steps are those of the rest.
    problems: tuple[str, ...] = ()
    # Keys of items that would be removed if an operator consented.
    waiting: tuple[str, ...] = ()
    # Why the repository was not asked; empty if it was.
    stale: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "revision": self.commit.revision,
            "subject": self.commit.subject,
            "steps": [step.as_json() for step in self.steps],
            "blocked": dict(self.blocked),
            "problems": list(self.problems),
            "waiting": list(self.waiting),
            "stale": self.stale,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a preview reads."""

    source: GitSource
    verifier: Verifier
    compiler: Compiler
    planner: Planner
    store: Store
    clock: Clock


def preview(site: Site, named: str | None) -> Preview:
    """The plan to the commit ``named`` by hash or branch, or else to the tip of the branch.

    Raises ``Refused`` if it describes no desired state, ``Untrusted`` if it may not be followed,
    ``SourceUnreachable`` or another ``UsageError`` if there is none.
    """
    with ExitStack() as held:
        error = _refresh(site, held)
        tip = site.source.resolve(named) if named else site.source.tip()
        if tip is None:
            raise error or UsageError(
                "the running reconciler has fetched nothing yet", "see reconciler status"
            )
        _refuse_untrusted(site, tip)
        tree = site.source.tree(tip)
        commit = site.source.commit(tip)
    if tree.problems:
        raise Refused(tree.problems)
    desired = site.compiler.compile(tree.files, tree.unreadable, tree.secrets)
    consented = site.store.progress().consented_removals == tip
    prepared = site.planner.prepare(desired, has_consent=consented)
    return Preview(
        commit=commit,
        steps=prepared.steps,
        blocked=prepared.rendered.blocked,
        waiting=prepared.waiting,
        problems=tuple(map(str, desired.told())),
        stale=str(error or ""),
    )


def _refuse_untrusted(site: Site, tip: Revision) -> None:
    """Raise ``Untrusted`` unless that commit is part of what was followed, or may be next."""
    source, progress = site.source, site.store.progress()
    anchor = progress.anchor
    is_past = anchor is not None and tip != source.tip()
    if is_past and source.is_ancestor(tip, Revision(anchor or tip)):
        return
    site.verifier.check(tip, anchor, site.clock.now(), consented=progress.consented)


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
