"""What each kind of Git host sends: which header proves what, and where a push names its branch.

Pure. Forms as their public documentation states them: GitHub "Webhook events and payloads" and
"Validating webhook deliveries", GitLab "Webhooks" and "Webhook events", Gitea "Webhooks"; the
signing token of GitLab is that of the Standard Webhooks specification, version 1. The proof is
looked at before anything of the body is parsed, in time that does not depend on it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_TEXT: Final = 1024
# Standard Webhooks: who sends says when; what is older was caught on its way.
SIGNED_LATE_S: Final = 300.0
_SIGNED_WITH: Final = "whsec_"
_MOST_SIGNATURES: Final = 8
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
    # Whether it may also be signed after Standard Webhooks: then that signature counts, alone.
    is_standard: bool = False

    def has_proof(self, headers: Mapping[str, str]) -> bool:
        """Whether there is anything to check."""
        return bool(headers.get(self.proof)) or self.is_signed(headers)

    def is_signed(self, headers: Mapping[str, str]) -> bool:
        """Whether the delivery is signed after Standard Webhooks."""
        return self.is_standard and bool(headers.get(_SIGNATURE))

    def signed_name(self, headers: Mapping[str, str]) -> str:
        """What such a delivery is called, by a name that is part of what is signed."""
        return headers.get(_ID, "")

    def is_authentic(
        self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], at: float
    ) -> bool:
        """Whether one of ``secrets`` vouches for the delivery; ``at`` is seconds of the epoch."""
        if self.is_signed(headers):
            return is_signed_standard(headers, body, secrets, at)
        return self.is_proved(headers.get(self.proof, ""), body, secrets)

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


_ID: Final = "webhook-id"
_TIMESTAMP: Final = "webhook-timestamp"
_SIGNATURE: Final = "webhook-signature"

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
        delivery=("idempotency-key", "webhook-id", "x-gitlab-event-uuid"),
        proof="x-gitlab-token",
        prefix=None,
        repository=("project", "path_with_namespace"),
        is_standard=True,
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


def is_signed_standard(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], at: float
) -> bool:
    """Whether a signature of Standard Webhooks, version 1, was made with one of ``secrets``.

    It is over ``<webhook-id>.<webhook-timestamp>.<body>``; the time has to be near ``at``.
    """
    named, stamp = headers.get(_ID, ""), headers.get(_TIMESTAMP, "")
    if not named or not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
        return False
    content = b".".join((named.encode("latin-1", "replace"), stamp.encode(), body))
    said = [
        text.removeprefix("v1,").encode("latin-1", "replace")
        for text in headers.get(_SIGNATURE, "").split()[:_MOST_SIGNATURES]
        if text.startswith("v1,")
    ]
    made = [
        base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
        for secret in secrets
        for key in _keys_of(secret)
    ]
    # All are tried, so that the time does not tell which was right.
    found = sum(hmac.compare_digest(one, other) for one in made for other in said)
    return found > 0 and abs(at - int(stamp)) <= SIGNED_LATE_S


def _keys_of(secret: bytes) -> list[bytes]:
    """The key that a signing token stands for: its Base64, or the token as it is written."""
    bare = secret.removeprefix(_SIGNED_WITH.encode())
    try:
        return [secret, base64.b64decode(bare, validate=True)] if bare != secret else [secret]
    except ValueError:
        return [secret]


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
