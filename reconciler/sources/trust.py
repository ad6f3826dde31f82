"""Which commits this machine may follow: what descends from the last one, signed by whom. Pure.

Two questions, each answered for one new tip. *History*: does it descend from the anchor, the last
commit that was accepted here? *Signatures*: is every commit that it adds signed by a key of the
list on this machine? The facts come from Git (``reconciler.sources.signatures``); what Git says in
prose counts for nothing. Where the anchor is kept, and when it moves, is not decided here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# More new commits than these at once are not verified: an operator looks at them instead.
COMMITS_MAX: Final = 1000
SIGNERS_MAX: Final = 1000
# Named one by one in a refusal; the rest is counted.
NAMED: Final = 10
_OPTION: Final = re.compile(r'(?:[a-z-]+(?:="[^"]*")?)(?:,[a-z-]+(?:="[^"]*")?)*')
_VALID_BEFORE: Final = re.compile(r"(\d{8})(\d{4})?(\d{2})?(Z?)")
_GOOD: Final = "G"
# What Git's %G? says of signatures that do not count; see git-log(1).
_FLAWS: Final[Mapping[str, str]] = {
    "N": "is not signed in a way that this machine checks",
    "B": "has a bad signature, or one of a key that is revoked",
    "U": "is signed by a key that is not on the list, or was not when it says",
    "X": "has a signature that has expired",
    "Y": "is signed by a key that has expired",
    "R": "is signed by a key that is revoked",
    "E": "has a signature that cannot be checked here",
}


class Doubt(StrEnum):
    """Why a commit is not followed."""

    HISTORY = "history"
    SIGNATURES = "signatures"


class Untrusted(MaculaError):
    """A commit that is not followed; ``lines`` say why, the last with the next move."""

    def __init__(self, doubt: Doubt, lines: Iterable[str]) -> None:
        self.doubt = doubt
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class UnreadableSigners(ValueError):
    """A line of the list of allowed signers cannot be read; says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One line of ``allowed_signers``: a key by its fingerprint, and until when it counts."""

    fingerprint: str
    # In seconds since the epoch; None: for ever.
    valid_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What Git found out about the signature of one commit, in its own letters.

    ``is_verified`` is the exit code of ``git verify-commit``. ``key`` is the fingerprint of an SSH
    key; of an OpenPGP key that of the primary key.
    """

    revision: str
    verdict: str
    key: str
    is_verified: bool


def judge_history(anchor: str | None, tip: str, *, descends: bool, consented: str | None) -> None:
    """Raise ``Untrusted`` if ``tip`` does not go on from ``anchor``, unless it has a consent."""
    if anchor is None or descends or tip == consented:
        return
    raise Untrusted(
        Doubt.HISTORY,
        (
            f"{tip[:10]} does not descend from {anchor[:10]}, the last commit that was accepted: "
            "the branch was rewritten or taken back",
            f"if that is meant: reconciler consent {tip}",
        ),
    )


def judge_count(tip: str, count: int, most: int = COMMITS_MAX) -> None:
    """Raise ``Untrusted`` if ``tip`` brings more commits than are verified at once."""
    if count > most:
        raise Untrusted(
            Doubt.SIGNATURES,
            (
                f"{tip[:10]} brings more than {most} commits at once, too many to verify",
                f"look at them, then: reconciler consent {tip}",
            ),
        )


def judge_signatures(
    commits: Iterable[Signed], keys: Mapping[str, float | None], now: float
) -> None:
    """Raise ``Untrusted`` unless every commit is signed by one of ``keys``.

    ``keys`` holds by fingerprint until when each counts. A key that has expired by now vouches for
    nothing new: the date of a commit is whatever its author wrote.
    """
    flaws = [f"{one.revision[:10]} {flaw}" for one in commits if (flaw := _flaw(one, keys, now))]
    if not flaws:
        return
    more = [f"... and {len(flaws) - NAMED} more"] if len(flaws) > NAMED else []
    move = "have them signed by a key of trust.allowed_signers, then: reconciler sync"
    raise Untrusted(Doubt.SIGNATURES, (*flaws[:NAMED], *more, move))


def _flaw(one: Signed, keys: Mapping[str, float | None], now: float) -> str:
    if one.verdict != _GOOD:
        return _FLAWS.get(one.verdict, _FLAWS["E"])
    if not one.is_verified:
        return _FLAWS["B"]
    if one.key not in keys:
        return _FLAWS["U"]
    until = keys[one.key]
    return _FLAWS["Y"] if until is not None and until <= now else ""


def parse_signers(content: bytes) -> tuple[Signer, ...]:
    """The keys in a file as of ssh-keygen(1), ALLOWED SIGNERS.

    Raises ``UnreadableSigners`` for a line that cannot be read, for a certificate authority, and
    for a list without any key: such a list would allow nobody, which is said by no list either.
    """
    signers = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            signers.append(_signer(text, number))
    if not signers:
        raise UnreadableSigners("it holds no key")
    if len(signers) > SIGNERS_MAX:
        raise UnreadableSigners(f"it holds more than {SIGNERS_MAX} keys")
    return tuple(signers)


def latest(signers: Iterable[Signer]) -> dict[str, float | None]:
    """By fingerprint until when a key counts; the latest, where it stands in several lines."""
    keys: dict[str, float | None] = {}
    for one in signers:
        held, until = keys.get(one.fingerprint, 0.0), one.valid_before
        keys[one.fingerprint] = None if held is None or until is None else max(held, until)
    return keys


def _signer(text: str, number: int) -> Signer:
    # Principals may stand in quotes, options hold quotes: cut at blanks outside of them.
    words = re.findall(r'(?:[^\s"]|"[^"]*")+', text)
    options = words[1] if len(words) > 3 and _is_options(words[1]) else ""
    key = words[2:] if options else words[1:]
    if len(key) < 2:
        raise UnreadableSigners(f"line {number} is no signer: write who, then the public key")
    if "cert-authority" in options.split(","):
        raise UnreadableSigners(f"line {number}: name each key, not a certificate authority")
    return Signer(
        fingerprint=_fingerprint(key[0], key[1], number),
        valid_before=_valid_before(options, number),
    )


def _is_options(word: str) -> bool:
    return not word.startswith(("ssh-", "ecdsa-", "sk-")) and bool(_OPTION.fullmatch(word))


def _fingerprint(kind: str, blob: str, number: int) -> str:
    """As ssh-keygen(1) prints it; a key says its kind once more inside (RFC 4253, section 6.6)."""
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    name = kind.encode()
    if raw[: 4 + len(name)] != len(name).to_bytes(4) + name:
        raise UnreadableSigners(f"line {number} holds no public key of kind {kind}")
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _valid_before(options: str, number: int) -> float | None:
    found = re.search(r'(?:^|,)valid-before="([^"]*)"', options)
    if found is None:
        return None
    parts = _VALID_BEFORE.fullmatch(found[1])
    if parts is None:
        raise UnreadableSigners(f"line {number}: valid-before={found[1]!r} is no date")
    day, minute, second, zone = parts.groups()
    try:
        at = datetime.strptime(f"{day}{minute or '0000'}{second or '00'}", "%Y%m%d%H%M%S")
    except ValueError:
        raise UnreadableSigners(f"line {number}: valid-before={found[1]!r} is no date") from None
    return (at.replace(tzinfo=UTC) if zone else at.astimezone()).timestamp()
