"""A node's next certificate: the same names and the same key, and another serial number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509

from maculaos.security.authority import open_authority

if TYPE_CHECKING:
    from credentials import RealmFolder
    from maculaos.security.credentials import Credentials


def reissued(realm: RealmFolder, credentials: Credentials) -> Credentials:
    """What the authority of ``realm`` gives a node whose certificate is renewed."""
    old = credentials.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    key = open_authority(realm.authority).key
    return replace(credentials, certificate=builder.sign(key, None))
