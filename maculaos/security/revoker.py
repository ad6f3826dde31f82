"""Taking certificates back: the authority signs a new revocation list (RFC 5280, 5.1).

Each list has a higher number than every list before it, even when the last one was lost: numbers
are the seconds of the epoch, or one more than the last. Nodes learn of it as of any file of
theirs; see ``rotation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically
from maculaos.security.authority import BACKDATED, Authority, open_authority, realm_files
from maculaos.security.credentials import read_revocations
from maculaos.security.ledger import Ledger, guarded
from maculaos.security.revocations import NOTHING_REVOKED, RevocationList

LIST_DAYS: Final = 30
MAX_REVOKED: Final = 10_000
_MIN_SERIAL_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Revoked:
    """What was done: the new list, and the serial numbers that came on it."""

    path: Path
    number: int
    serials: tuple[int, ...]


def revoke(directory: Path, word: str, *, now: float, days: int = LIST_DAYS) -> Revoked:
    """Take back every certificate of the node named ``word``, or of the key with that serial.

    ``now`` is in epoch seconds; the list is good for ``days``. Raises ``UsageError`` if there is
    no authority in ``directory`` or nothing on record for ``word``; a serial number in full is
    believed even if it is not on record.
    """
    authority = open_authority(directory)
    with guarded(directory):
        signed = Ledger(directory).certificates_of(word)
        serials = tuple(each.serial_number for each in signed) or (_serial(word),)
        return _sign(directory, authority, serials, now, days)


def renew_list(directory: Path, *, now: float, days: int = LIST_DAYS) -> Revoked:
    """Sign the list again, with nothing new on it, so that it is good for longer."""
    authority = open_authority(directory)
    with guarded(directory):
        return _sign(directory, authority, (), now, days)


def _sign(
    directory: Path, authority: Authority, serials: tuple[int, ...], now: float, days: int
) -> Revoked:
    path = realm_files(directory).revocations
    held = read_revocations(path, authority.certificate) if path.exists() else NOTHING_REVOKED
    listed = held.serials | set(serials)
    if len(listed) > MAX_REVOKED:
        hint = "make a new realm authority"
        raise UsageError(f"{len(listed)} certificates do not fit on a revocation list", hint)
    number = max(held.number + 1, int(now))
    content = _list(authority, RevocationList(number, listed, now + days * 86_400), now)
    write_atomically(path, content)
    return Revoked(path, number, tuple(sorted(set(serials) - held.serials)))


def _list(authority: Authority, wanted: RevocationList, now: float) -> bytes:
    moment = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    key = authority.key.public_key()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(moment - BACKDATED)
        .next_update(moment + timedelta(seconds=wanted.next_update - now))
        .add_extension(x509.CRLNumber(wanted.number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key), critical=False)
    )
    for serial in sorted(wanted.serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, None).public_bytes(Encoding.PEM)


def _serial(word: str) -> int:
    digits = word.lower().removeprefix("0x")
    try:
        serial = int(digits, 16) if len(digits) >= _MIN_SERIAL_SIZE else 0
    except ValueError:
        serial = 0
    if not 0 < serial < 1 << 159:
        raise UsageError(
            f"no certificate of {word} is on record",
            "name a node, or the whole serial number that macula cert show prints",
        )
    return serial
