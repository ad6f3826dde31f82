"""Several remotes of one repository: whose head counts, and when each is asked again. Pure.

Remotes stand in the order of preference. The newest head by ancestry wins, so a mirror that is
behind takes nothing back; where two histories part, the remote that stands first wins, and the
parting is told. A remote that failed is left out for a while, alone: the others are still asked.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.sources.unreachable import SourceUnreachable, redacted
from reconciler.status import RemoteStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from random import Random

    from reconciler.convergence import Backoff

FIRST: Final = "origin"
DEFAULT_USER: Final = "git"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What proves to one remote who we are, and to us who it is; all paths are absolute."""

    token_file: Path | None = None
    user: str = DEFAULT_USER
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    ca_file: Path | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether ssh uses these files, and neither an agent's keys nor its own settings."""
        return self.ssh_key_file is not None or self.known_hosts_file is not None


OPEN: Final = Access()


def scheme_of(url: str) -> str:
    """``https``, ``ssh`` or ``file``; a path counts as the last."""
    return url.partition("://")[0] if "://" in url else "file"


def is_local(url: str) -> bool:
    """Whether the repository lies on this machine, as far as Git is concerned."""
    return scheme_of(url) == "file"


@dataclass(frozen=True, slots=True)
class Remote:
    """One place that the repository can be fetched from."""

    name: str
    url: str
    access: Access = OPEN

    @property
    def shown_url(self) -> str:
        """The URL without any password."""
        return redacted(self.url)


def remotes_of(
    url: str, access: Access, fallbacks: Iterable[tuple[str, Access]]
) -> tuple[Remote, ...]:
    """The remotes in order; a fallback's name comes from its URL, wherever it stands."""
    first = Remote(FIRST, url, access)
    return (first, *(Remote(fallback_name(url), url, access) for url, access in fallbacks))


def fallback_name(url: str) -> str:
    """What the head of that fallback is kept under: never under that of another URL."""
    return f"fallback-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking one remote gave: the commit at the tip of its branch, or why there is none."""

    name: str
    head: str | None = None
    error: SourceUnreachable | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The head that counts, whose it is, and what people should know about the others."""

    head: str
    remote: str
    notices: tuple[str, ...] = ()


def choose_head(
    remotes: Sequence[Remote],
    answered: Mapping[str, str],
    remembered: Mapping[str, str],
    is_ancestor: Callable[[str, str], bool],
) -> Chosen | None:
    """The newest head by ancestry; None if nobody has one.

    ``answered`` holds heads by remote as told just now, ``remembered`` those of remotes that did
    not answer: they count too, but after those that did.
    """
    order = [remote.name for remote in remotes]
    heads = [(name, answered[name]) for name in order if name in answered]
    heads += [(name, remembered[name]) for name in order if name in remembered.keys() - answered]
    if not heads:
        return None
    best = heads[0]
    for name, head in heads[1:]:
        if head != best[1] and is_ancestor(best[1], head):
            best = name, head
    parted = [
        (name, head) for name, head in heads if head != best[1] and not is_ancestor(head, best[1])
    ]
    shown = {remote.name: remote.shown_url for remote in remotes}
    notices = tuple(
        f"{shown[name]} has another history than {shown[best[0]]}: {head[:10]} is no part of it"
        for name, head in parted
    )
    return Chosen(best[1], best[0], notices)


class Roster:
    """What is known of each remote, and which of them are asked next.

    Times are seconds since the epoch: they are shown, and a clock that is set only makes one
    fetch early or late by at most the longest wait.
    """

    def __init__(self, remotes: Sequence[Remote], backoff: Backoff, random: Random) -> None:
        self._backoff = backoff
        self._random = random
        self._known = {remote.name: RemoteStatus(url=remote.shown_url) for remote in remotes}

    @property
    def statuses(self) -> tuple[RemoteStatus, ...]:
        """In the order of preference."""
        return tuple(self._known.values())

    def due(self, now: float, *, is_forced: bool = False) -> tuple[str, ...]:
        """The remotes to ask now; all of them if that is forced, or if all of them failed."""
        due = tuple(name for name, one in self._known.items() if self._is_due(one, now))
        return tuple(self._known) if is_forced or not due else due

    def heard(self, asked: Collection[Asked], now: float) -> None:
        """Remember what came of asking."""
        for one in asked:
            known = self._known[one.name]
            self._known[one.name] = (
                RemoteStatus(url=known.url, head=one.head, ok_at=now)
                if one.error is None
                else self._failed(known, str(one.error), now)
            )

    def _is_due(self, one: RemoteStatus, now: float) -> bool:
        if one.retry_at is None or one.failed_at is None:
            return True
        return not one.failed_at <= now < one.retry_at

    def _failed(self, known: RemoteStatus, reason: str, now: float) -> RemoteStatus:
        failures = known.failures + 1
        return replace(
            known,
            failures=failures,
            failed_at=now,
            error=reason,
            retry_at=now + self._backoff.draw_s(failures, self._random),
        )
