"""The settings of the webhook receiver: where it listens, whom it believes, what it bears."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, Len
from pydantic import AfterValidator

from reconciler.values import STRICT, Maybe
from reconciler.web.listening import parse_endpoint

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9._/-]{1,200}")


def _endpoint(text: str) -> str:
    return str(parse_endpoint(text))


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r}: use up to 32 of a-z, 0-9 and -")
    return text


def _repository(text: str) -> str:
    if _REPOSITORY.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot be a repository's name, such as owner/site")
    return text


ProviderName: TypeAlias = Literal["github", "gitlab", "gitea", "generic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """One Git host that may tell of pushes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    provider: ProviderName
    """Whose headers and payloads it sends; Forgejo sends gitea's."""
    secret_file: Path
    """Mode 0600; a secret in each line, so that a new one works before the old one goes."""
    name: Maybe[Annotated[str, AfterValidator(_name)]] = None
    """It posts to /hooks/<name>; without one, the provider's name."""
    repositories: Annotated[
        tuple[Annotated[str, AfterValidator(_repository)], ...], Len(0, 32)
    ] = ()
    """Full names whose pushes count; without any, the end of repository.url says which."""

    @property
    def hook(self) -> str:
        """The last part of the path that it posts to."""
        return self.name or self.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """A listener for the webhooks of Git hosts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    listen: Annotated[str, AfterValidator(_endpoint)]
    """IP address and TCP port."""
    senders: Annotated[tuple[SenderSettings, ...], Len(1, 16)]
    """Who may tell of pushes."""
    certificate: Maybe[Path] = None
    """The chain that the listener shows, in PEM; with it, it speaks TLS only."""
    key: Maybe[Path] = None
    """The key of that certificate, mode 0600."""
    behind_proxy: bool = False
    """Whether plain text is fine beyond loopback, since a proxy in front adds TLS."""
    body_bytes: Annotated[int, Ge(1024), Le(25 << 20)] = 1 << 20
    """The longest payload; GitHub caps its own at 25 MiB. Each connection may hold one."""
    timeout_s: Annotated[float, Ge(0.1), Le(60)] = 10.0
    """How long a request may take in all; slower ones are cut off."""
    requests_per_minute: Annotated[int, Ge(1), Le(60_000)] = 600
    """Requests of everybody together, authentic or not; beyond them 429."""
    deliveries_per_minute: Annotated[int, Ge(1), Le(60_000)] = 120
    """Authentic deliveries of one sender; forged ones do not use them up."""
    coalesce_s: Annotated[float, Ge(0), Le(60)] = 1.0
    """At most one fetch in this time; the first push of a burst is fetched at once."""
    remembered: Annotated[int, Ge(16), Le(100_000)] = 1024
    """Deliveries of each sender that are remembered, so that a replayed one counts once."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: name both or none")
        hooks = [sender.hook for sender in self.senders]
        if len(set(hooks)) < len(hooks):
            raise ValueError("two senders have one name: give each a name of its own")


def located_webhook(settings: WebhookSettings, folder: Path) -> WebhookSettings:
    """``settings`` with every path absolute: relative ones start at ``folder``."""

    def absolute(path: Path) -> Path:
        return Path(os.path.normpath(folder.absolute() / path))

    senders = tuple(
        replace(sender, secret_file=absolute(sender.secret_file)) for sender in settings.senders
    )
    return replace(
        settings,
        senders=senders,
        certificate=None if settings.certificate is None else absolute(settings.certificate),
        key=None if settings.key is None else absolute(settings.key),
    )
