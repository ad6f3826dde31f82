"""The verb that compares two commits: ``diff``. It asks nobody and changes nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from reconciler.assembly import compiler_of, load_settings, source_of, store_of
from reconciler.cli.speech import EXIT_CODES, AsJson, Config, data, print_json, say
from reconciler.journal import Journal
from reconciler.specs.desired import Refused
from reconciler.specs.difference import Change, difference
from reconciler.status import short_revision

if TYPE_CHECKING:
    from reconciler.sources.clone import Revision
    from reconciler.sources.git import GitSource
    from reconciler.specs.compilation import Compiler
    from reconciler.specs.desired import Desired

SEPARATOR: Final = ".."

Range = Annotated[
    str,
    typer.Argument(
        metavar="[REV..REV]",
        help="Two commits or branches; a side that is left out is what is applied, or the tip.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command(epilog=EXIT_CODES)(diff)


def diff(named: Range = SEPARATOR, config: Config = None, as_json: AsJson = False) -> None:
    """Print what differs for this machine between two commits that were fetched."""
    settings = load_settings(config)
    source = source_of(settings, Journal(sys.stderr, SystemClock()))
    compiler = compiler_of(settings)
    before, separator, after = named.partition(SEPARATOR)
    if not separator:
        raise UsageError(f"{named!r} names no two commits", "write OLD..NEW")
    applied, tip = store_of(settings).progress().last_applied, source.tip()
    old = source.resolve(before) if before else _there(applied, "nothing was applied yet")
    new = source.resolve(after) if after else _there(tip, "nothing was fetched yet")
    changes = difference(_desired(source, compiler, old), _desired(source, compiler, new))
    if as_json:
        said = [change.as_json() for change in changes]
        print_json({"from": old, "to": new, "changes": said})
        return
    for change in changes:
        _print(change)
    if not changes:
        shown = f"{short_revision(old)} and {short_revision(new)}"
        say([f"{shown} mean the same for this machine"])


def _there(revision: str | None, why: str) -> Revision:
    if revision is None:
        raise UsageError(why, "see reconciler status, or name both commits")
    return revision  # type: ignore[return-value]  # as Git wrote it


def _desired(source: GitSource, compiler: Compiler, revision: Revision) -> Desired:
    tree = source.tree(revision)
    if tree.problems:
        raise Refused(tree.problems)
    return compiler.compile(tree.files, tree.unreadable)


def _print(change: Change) -> None:
    former = f" (was {change.former.replace('/', ' ')})" if change.former else ""
    data.print(f"{change.verb} {change.key.replace('/', ' ')}{former}", markup=False)
    for entry in change.entries:
        data.print(f"  {entry.describe()}", markup=False, soft_wrap=True)
