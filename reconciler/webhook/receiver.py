"""What becomes of a delivery: the decider of the webhook receiver. Pure.

The order is what protects: how many, then where to, how large and whether there is a proof at
all, all before the body is read; then the proof, before the body is parsed; then what it says. A
delivery can only ever make the reconciler ask Git sooner: no word of it is used as a commit, a
URL or a path.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.webhook.providers import (
    PROVIDERS,
    Malformed,
    Provider,
    Push,
    parse_delivery,
    parse_push,
)
from reconciler.webhook.rates import TokenBucket

if TYPE_CHECKING:
    from reconciler.webhook.settings import SenderSettings, WebhookSettings

PREFIX: Final = "/hooks/"


class Outcome(StrEnum):
    """What became of a request; what the status counts."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    REPLAYED = "replayed"
    UNKNOWN = "unknown"
    UNSIGNED = "unsigned"
    FORGED = "forged"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    LIMITED = "limited"


STATUS: Final[Mapping[Outcome, int]] = {
    Outcome.ACCEPTED: 202,
    Outcome.IGNORED: 200,
    Outcome.REPLAYED: 200,
    Outcome.UNKNOWN: 404,
    Outcome.UNSIGNED: 401,
    Outcome.FORGED: 403,
    Outcome.MALFORMED: 400,
    Outcome.TOO_LARGE: 413,
    Outcome.LIMITED: 429,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one request; ``why`` is for the log, never for the answer."""

    outcome: Outcome
    sender: str = ""
    delivery: str = ""
    why: str = ""
    push: Push | None = None

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return STATUS[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a request, as far as it matters here."""

    method: str
    path: str
    headers: Mapping[str, str]
    announced_bytes: int
    # When it came, in seconds since the epoch: signatures may say when they were made.
    at: float = 0.0


class _Memory:
    """The last few keys, the oldest forgotten first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[str, None] = OrderedDict()

    def meets(self, keys: Sequence[str]) -> bool:
        """Whether one of ``keys`` is known; they all are from now on."""
        known = not self._keys.keys().isdisjoint(keys)
        for key in keys:
            self._keys[key] = None
            self._keys.move_to_end(key)
        while len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return known


class _Sender:
    """One sender: what it sends, and what it sent lately."""

    def __init__(self, settings: SenderSettings, limits: WebhookSettings, now: float) -> None:
        self.provider: Provider = PROVIDERS[settings.provider]
        self.repositories = settings.repositories
        self.bucket = TokenBucket.per_minute(limits.deliveries_per_minute, now)
        # A signed delivery has two keys: its name, and its body.
        self.memory = _Memory(2 * limits.remembered)


class Receiver:
    """Judges deliveries for one branch of one repository, known by any of ``urls``."""

    def __init__(
        self, settings: WebhookSettings, branch: str, urls: Sequence[str], now: float
    ) -> None:
        self._settings = settings
        self._ref = f"refs/heads/{branch}"
        self._urls = tuple(urls)
        self._bucket = TokenBucket.per_minute(settings.requests_per_minute, now)
        self._senders = {one.hook: _Sender(one, settings, now) for one in settings.senders}
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """Requests so far, by what became of them."""
        return dict(sorted(self._counts.items()))

    def admit(self, head: Head, now: float) -> Verdict | str:
        """The sender's name if the body is worth reading; else the verdict already."""
        verdict = self._refusal(head, now)
        return head.path.removeprefix(PREFIX) if verdict is None else self._counted(verdict)

    def judge(
        self, head: Head, body: bytes | None, secrets: Sequence[bytes], now: float
    ) -> Verdict:
        """The verdict on an admitted request; a ``body`` of None was longer than announced."""
        name = head.path.removeprefix(PREFIX)
        return self._counted(self._judged(name, head, body, secrets, now))

    def _counted(self, verdict: Verdict) -> Verdict:
        self._counts[verdict.outcome] += 1
        return verdict

    def _refusal(self, head: Head, now: float) -> Verdict | None:
        if not self._bucket.take(now):
            return Verdict(outcome=Outcome.LIMITED, why="too many requests")
        sender = self._senders.get(head.path.removeprefix(PREFIX))
        if sender is None or head.method != "POST" or not head.path.startswith(PREFIX):
            return Verdict(outcome=Outcome.UNKNOWN)
        name = head.path.removeprefix(PREFIX)
        if not sender.provider.has_proof(head.headers):
            return Verdict(outcome=Outcome.UNSIGNED, sender=name)
        if head.announced_bytes > self._settings.body_bytes:
            return Verdict(outcome=Outcome.TOO_LARGE, sender=name)
        return None

    def _judged(
        self, name: str, head: Head, body: bytes | None, secrets: Sequence[bytes], now: float
    ) -> Verdict:
        sender = self._senders[name]
        if body is None:
            return Verdict(outcome=Outcome.TOO_LARGE, sender=name)
        if not sender.provider.is_authentic(head.headers, body, secrets, head.at):
            return Verdict(outcome=Outcome.FORGED, sender=name)
        if not sender.bucket.take(now):
            return Verdict(outcome=Outcome.LIMITED, sender=name, why="too many deliveries")
        try:
            return self._understood(name, head, body)
        except Malformed as error:
            return Verdict(outcome=Outcome.MALFORMED, sender=name, why=str(error))

    def _understood(self, name: str, head: Head, body: bytes) -> Verdict:
        sender = self._senders[name]
        delivery = parse_delivery(sender.provider, head.headers, body)
        if not sender.provider.is_push(head.headers):
            return _ignored(name, delivery, "no push")
        push = parse_push(sender.provider, head.headers, body)
        if sender.memory.meets(_keys(sender.provider, head, delivery, body)):
            return Verdict(outcome=Outcome.REPLAYED, sender=name, delivery=delivery)
        why = self._indifference(sender, push)
        if why:
            return _ignored(name, delivery, why)
        return Verdict(outcome=Outcome.ACCEPTED, sender=name, delivery=delivery, push=push)

    def _indifference(self, sender: _Sender, push: Push) -> str:
        if push.ref != self._ref:
            return "another branch"
        if not push.revision and sender.provider.event:
            return "the branch was deleted"
        if sender.repositories:
            return "" if push.repository in sender.repositories else "another repository"
        if not push.repository and not sender.provider.event:
            return ""  # who signs a generic delivery was told which repository it is about
        return (
            "" if any(names(url, push.repository) for url in self._urls) else "another repository"
        )


def names(url: str, full_name: str) -> bool:
    """Whether the end of ``url`` is that full name: ``owner/site`` in any of its spellings."""
    path = url.rstrip("/").removesuffix(".git").lower()
    name = full_name.strip("/").removesuffix(".git").lower()
    return bool(name) and (path == name or path.endswith((f"/{name}", f":{name}")))


def _keys(provider: Provider, head: Head, delivery: str, body: bytes) -> tuple[str, ...]:
    if provider.is_signed(head.headers):
        return (f"signed {provider.signed_name(head.headers)}",)
    named = (f"name {delivery}",) if delivery else ()
    if provider.prefix is None:
        return named
    # Names of deliveries are not signed, bodies are.
    return (*named, f"body {hashlib.sha256(body).hexdigest()}")


def _ignored(sender: str, delivery: str, why: str) -> Verdict:
    return Verdict(outcome=Outcome.IGNORED, sender=sender, delivery=delivery, why=why)
