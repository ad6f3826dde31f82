"""What each kind of Git host sends: which header proves what, and where a push names its branch.

Pure. Forms as their public documentation states them: GitHub "Webhook events and payloads" and
"Validating webhook deliveries", GitLab "Webhooks" and "Webhook events", Gitea "Webhooks". The
proof is looked at before anything of the body is parsed, in time that does not depend on it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_TEXT: Final = 1024
_NOTHING: Final = frozenset("0")
_FORM: Final = "application/x-www-form-urlencoded"


class Malformed(ValueError):
    """An authentic delivery whose body is not what its provider sends."""


@dataclass(frozen=True, slots=True)
class Push:
    """What a push says: the ref, its new commit (empty if deleted), whose repository."""

    ref: str
    revision: str
    repository: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The headers of one kind of Git host, in lower case."""

    # Which event it is; empty: only pushes are ever sent.
    event: str
    push: str
    # The first that is there names the delivery; without any, the body's own ``delivery`` does.
    delivery: tuple[str, ...]
    proof: str
    # Before the digits of an HMAC-SHA256 over the body; None: the proof is the secret itself.
    prefix: str | None
    # Where the payload has its repository, and that its full name.
    repository: tuple[str, str]

    def is_push(self, headers: Mapping[str, str]) -> bool:
        """Whether the delivery tells of commits on a branch."""
        return not self.event or headers.get(self.event, "").lower() == self.push

    def is_proved(self, proof: str, body: bytes, secrets: Sequence[bytes]) -> bool:
        """Whether ``proof`` was made with one of ``secrets``, for exactly this body."""
        said = proof.encode("latin-1", "replace")
        # All are tried, so that the time does not tell which was right.
        return sum(hmac.compare_digest(self._expected(one, body), said) for one in secrets) > 0

    def _expected(self, secret: bytes, body: bytes) -> bytes:
        if self.prefix is None:
            return secret
        return f"{self.prefix}{hmac.new(secret, body, hashlib.sha256).hexdigest()}".encode()

    def delivery_of(self, headers: Mapping[str, str]) -> str:
        """What the headers call the delivery; may be empty."""
        return next((headers[name] for name in self.delivery if headers.get(name)), "")


PROVIDERS: Final[dict[str, Provider]] = {
    "github": Provider(
        event="x-github-event",
        push="push",
        delivery=("x-github-delivery",),
        proof="x-hub-signature-256",
        prefix="sha256=",
        repository=("repository", "full_name"),
    ),
    "gitlab": Provider(
        event="x-gitlab-event",
        push="push hook",
        delivery=("idempotency-key", "x-gitlab-event-uuid"),
        proof="x-gitlab-token",
        prefix=None,
        repository=("project", "path_with_namespace"),
    ),
    "gitea": Provider(
        event="x-gitea-event",
        push="push",
        delivery=("x-gitea-delivery",),
        proof="x-gitea-signature",
        prefix="",
        repository=("repository", "full_name"),
    ),
    "generic": Provider(
        event="",
        push="",
        delivery=(),
        proof="x-macula-signature-256",
        prefix="sha256=",
        repository=("repository", "full_name"),
    ),
}


def parse_push(provider: Provider, headers: Mapping[str, str], body: bytes) -> Push:
    """What an authentic body says of a push; raises ``Malformed``."""
    payload = _payload(headers, body)
    outer, inner = provider.repository
    named = payload.get(outer)
    repository = _text(named, inner) if isinstance(named, dict) else _text(payload, outer)
    after = _text(payload, "after") or _text(payload, "revision")
    ref = _text(payload, "ref")
    if not ref:
        raise Malformed("no ref")
    return Push(ref, "" if set(after) <= _NOTHING else after, repository)


def parse_delivery(provider: Provider, headers: Mapping[str, str], body: bytes) -> str:
    """What the delivery is called, against replays; raises ``Malformed``.

    Empty if its headers do not say, which is theirs to decide; a generic body has to.
    """
    if provider.delivery:
        return provider.delivery_of(headers)[:_LONGEST_TEXT]
    named = _text(_payload(headers, body), "delivery")
    if not named:
        raise Malformed("no delivery")
    return named


def _payload(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    if headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        body = _form_field(body)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON") from error
    if not isinstance(found, dict):
        raise Malformed("no JSON object")
    return found


def _form_field(body: bytes) -> bytes:
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=8)
    except ValueError as error:
        raise Malformed("no form") from error
    return fields.get("payload", [""])[0].encode()


def _text(payload: dict[str, Any], key: str) -> str:
    found = payload.get(key)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > _LONGEST_TEXT:
        raise Malformed(f"{key} is no short text")
    return found
