"""The authority's records on disk: what it signed for whom, and which join tokens were used.

Every certificate is written here before anybody else gets it, as a file that people can read::

    issued/<node name>/<serial>.crt     until it has expired
    used/<number of the token>.crt      what was given for that token, until it has expired

A record is one file, written at once or not at all, so a crash leaves a token either unused or
used with the certificate it was used for. Whoever writes holds ``guarded``.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.files import make_private_directory, write_atomically
from maculaos.host.locks import locked_directory
from maculaos.identity import InvalidIdentity, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_TOKEN_LIFE_S: Final = 30 * 86_400.0
_SECRET_MODE: Final = 0o600
_PATIENCE_S: Final = 5.0
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}")


@contextmanager
def guarded(directory: Path) -> Iterator[None]:
    """Keep other processes from signing and revoking meanwhile.

    Raises ``UsageError`` if there is no such folder, or if another one takes longer than 5 s.
    """
    try:
        with locked_directory(directory, SystemClock(), _PATIENCE_S):
            yield
    except FileNotFoundError as error:
        raise UsageError(
            f"{directory} does not exist", "make a realm with: macula realm init NAME --out DIR"
        ) from error


class Ledger:
    """The records of the authority in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._issued = directory / "issued"
        self._used = directory / "used"

    def record(self, name: str, certificate: x509.Certificate) -> None:
        """Remember that ``certificate`` was signed for the node ``name``."""
        folder = make_private_directory(self._issued / name)
        _write(folder / f"{certificate.serial_number:x}.crt", certificate)

    def use(self, number: bytes, certificate: x509.Certificate) -> None:
        """Remember that the token of that number was used for ``certificate``."""
        _write(make_private_directory(self._used) / f"{number.hex()}.crt", certificate)

    def given_for(self, number: bytes) -> x509.Certificate | None:
        """The certificate that the token of that number was used for; None if it was not used."""
        path = self._used / f"{number.hex()}.crt"
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(f"{path} cannot be read", "restore it from your backup") from error

    def certificates_of(self, word: str) -> tuple[x509.Certificate, ...]:
        """What was signed for the node of that name, or for the key with that serial number."""
        serial = word.lower().removeprefix("0x")
        if _is_name(word) and (self._issued / word).is_dir():
            return _read_all(self._issued / word)
        if not _SERIAL.fullmatch(serial):
            return ()
        paths = tuple(self._issued.glob(f"*/{serial}.crt"))
        keys = {_raw_key(each) for path in paths for each in _read(path)}
        kin = (each for folder in {path.parent for path in paths} for each in _read_all(folder))
        return tuple(each for each in kin if _raw_key(each) in keys)

    def forget_expired(self, now: float) -> None:
        """Delete the records of certificates that have expired; ``now`` in epoch seconds."""
        moment = datetime.fromtimestamp(now, UTC)
        # A token may outlive what it was used for; it must be known as used until then.
        used = [
            path
            for path in self._used.glob("*.crt")
            if path.stat().st_mtime < now - MAX_TOKEN_LIFE_S
        ]
        for path in (*self._issued.glob("*/*.crt"), *used):
            if any(each.not_valid_after_utc < moment for each in _read(path)):
                path.unlink(missing_ok=True)


def _is_name(word: str) -> bool:
    try:
        return bool(check_name(word))
    except InvalidIdentity:
        return False


def _raw_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _write(path: Path, certificate: x509.Certificate) -> None:
    write_atomically(path, certificate.public_bytes(Encoding.PEM), _SECRET_MODE)


def _read_all(folder: Path) -> tuple[x509.Certificate, ...]:
    return tuple(each for path in sorted(folder.glob("*.crt")) for each in _read(path))


def _read(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificate in a file; none if somebody else put something there."""
    try:
        return (x509.load_pem_x509_certificate(path.read_bytes()),)
    except (OSError, ValueError):
        return ()
