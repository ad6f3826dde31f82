"""The settings of notices: who is told what came of a commit, and how patiently."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator

from reconciler.values import STRICT, Maybe, Seconds

GITHUB: Final = "https://api.github.com"
MOST_TARGETS: Final = 8

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100}){1,8}")
_CONTEXT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/:-]{0,99}")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\uffff]")

ProviderName: TypeAlias = Literal["github", "gitlab", "gitea", "generic"]


def check_web_url(text: str) -> str:
    """Return ``text`` if notices may go there; else ``ValueError`` in words."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no URL") from None
    if _UNPRINTABLE.search(text) or not parts.hostname or parts.fragment:
        raise ValueError(f"{text!r} is no URL that can be posted to")
    if parts.username is not None:
        raise ValueError("a URL is shown in status and logs: put the token into token_file")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return text.rstrip("/")
    raise ValueError(f"{text!r}: use https://, or http:// to an address of this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if pattern.fullmatch(text) is None or ".." in text:
            raise ValueError(f"{text!r} cannot be {what}")
        return text

    return AfterValidator(check)


WebUrl = Annotated[str, AfterValidator(check_web_url)]
TargetName = Annotated[str, _matching(_NAME, "a name: use up to 32 of a-z, 0-9 and -")]
RepositoryName = Annotated[str, _matching(_REPOSITORY, "a repository's name, such as owner/site")]
Context = Annotated[str, _matching(_CONTEXT, "a context: use letters, digits, blanks and ._/:-")]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTarget:
    """One Git host, or program, that is told what came of each commit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    provider: ProviderName
    """Whose API it has; Forgejo has gitea's, generic is told in a JSON form of our own."""
    url: Maybe[WebUrl] = None
    """The root of its API, such as https://git.example/api/v1; for generic where to post to."""
    repository: Maybe[RepositoryName] = None
    """The full name of the repository there, such as owner/site; not for generic."""
    token_file: Maybe[Path] = None
    """Mode 0600, one line: a token that may set commit statuses; read anew for each notice."""
    ca_file: Maybe[Path] = None
    """The authorities that may vouch for the server, instead of the system's."""
    name: Maybe[TargetName] = None
    """What status, log and metrics call it; the provider's name if left out."""
    details_url: Maybe[WebUrl] = None
    """Where who sees the notice finds more, such as a page of this machine."""

    def __post_init__(self) -> None:
        if self.provider == "generic":
            if self.url is None or self.repository is not None:
                raise ValueError("generic needs url, the place to post to, and no repository")
            return
        if self.repository is None or self.token_file is None:
            raise ValueError(f"{self.provider} needs repository and token_file")
        if self.url is None and self.provider != "github":
            raise ValueError(f"{self.provider} needs url, the root of its API")

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.provider

    @property
    def root(self) -> str:
        """The root of its API, or where to post to."""
        return self.url or GITHUB


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told what came of a commit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    statuses: Annotated[tuple[StatusTarget, ...], Len(0, MOST_TARGETS)] = ()
    """Git hosts that show a status beside each commit, and programs."""
    notes: bool = False
    """true: Git notes in refs/notes/reconciler/<machine>, pushed to repository.url."""
    context: Maybe[Context] = None
    """What the statuses of this machine are called; macula/<machine> if left out."""
    timeout_s: Annotated[float, Ge(0.1), Le(300)] = 15.0
    """How long one notice may take."""
    backoff_base_s: Seconds = 2.0
    """The first ceiling of the wait after a failure; doubled at each failure in a row."""
    backoff_max_s: Seconds = 600.0
    """The highest ceiling of that wait: how late a healed server is told."""

    def __post_init__(self) -> None:
        if self.backoff_max_s < self.backoff_base_s:
            raise ValueError("backoff_max_s must not be below backoff_base_s")
        if not self.statuses and not self.notes:
            raise ValueError("names nobody to tell: name statuses, or set notes: true")
        labels = [target.label for target in self.statuses]
        if len(set(labels)) < len(labels) or "notes" in labels:
            raise ValueError("two targets have one name: give each a name of its own")


def located_notify(settings: NotifySettings, folder: Path) -> NotifySettings:
    """``settings`` with every path absolute: relative ones start at ``folder``."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.normpath(folder.absolute() / path))

    targets = tuple(
        replace(one, token_file=absolute(one.token_file), ca_file=absolute(one.ca_file))
        for one in settings.statuses
    )
    return replace(settings, statuses=targets)
