"""Which commit is the tip now: the remotes that are due are asked, and the newest head counts.

It joins ``reconciler.sources.git`` to the roster of remotes, and says what people should know: that
remotes part ways, or that the history of the branch was rewritten. It blocks, as all work with Git
does: ``with_git`` does that in a thread. Whether the tip may be followed is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from maculaos.host.threads import in_thread
from reconciler.sources.clone import Revision
from reconciler.sources.unreachable import hindered
from reconciler.status import short_revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sources.git import GitSource
    from reconciler.sources.remotes import Roster
    from reconciler.status import RemoteStatus


T = TypeVar("T")


async def with_git(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread; a machine that has no room for it is no end of the daemon."""
    try:
        return await in_thread(work)
    except OSError as error:
        raise hindered(error) from error


class Follower:
    """Follows one branch on all of its remotes."""

    def __init__(self, source: GitSource, roster: Roster) -> None:
        self._source = source
        self._roster = roster

    @property
    def statuses(self) -> tuple[RemoteStatus, ...]:
        """How each remote answered last, in the order of preference."""
        return self._roster.statuses

    def fetch(self, known: str | None, now: float, *, is_forced: bool) -> tuple[Revision, str]:
        """The tip, and a notice for people, which is mostly empty.

        ``known`` is the tip of the last time; ``is_forced`` asks also those remotes that failed
        lately. Raises ``EmptyRepository`` or ``SourceUnreachable``.
        """
        source = self._source
        before = source.tip() if known is None else Revision(known)
        asked = source.ask(self._roster.due(now, is_forced=is_forced))
        self._roster.heard(asked, now)
        chosen = source.choose(asked)
        tip, notices = Revision(chosen.head), list(chosen.notices)
        # Most fetches bring nothing new: they end here, and start no more git than they must.
        if before is not None and before != tip and self._is_rewritten(before, tip):
            gone = short_revision(before)
            notices.append(
                f"the history of {source.branch} was rewritten: {gone} is no part of it now"
            )
        return tip, "; ".join(notices)

    def _is_rewritten(self, before: Revision, tip: Revision) -> bool:
        return self._source.holds(before) and not self._source.is_ancestor(before, tip)
