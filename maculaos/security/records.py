"""Signatures on the records of the distributed table: made as this node, checked as of a member.

A record carries its publisher's certificate, because whoever holds it may never have met the
publisher. Certificates that were found good are remembered, so that a record costs one signature.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.security.certificates import CertificateRefused, check_peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.identity import NodeId
    from maculaos.security.credentials import Credentials

_REMEMBERED: Final = 1024


class RecordSeal:
    """Signs and checks with the credentials that ``current`` gives at that moment.

    ``clock`` gives the seconds since the epoch.
    """

    def __init__(self, current: Callable[[], Credentials], clock: Callable[[], float]) -> None:
        self._current = current
        self._clock = clock
        # By the digest of the certificate. Dates and revocations are looked at every time.
        self._known: OrderedDict[bytes, x509.Certificate] = OrderedDict()

    @property
    def credential(self) -> bytes:
        """This node's certificate, in DER."""
        return self._current().certificate.public_bytes(Encoding.DER)

    def sign(self, text: bytes) -> bytes:
        """The Ed25519 signature of ``text``, made as this node."""
        return self._current().key.sign(text)

    def verify(self, publisher: NodeId, credential: bytes, text: bytes, signature: bytes) -> bool:
        """Whether the member ``publisher`` signed ``text``; ``credential`` is its certificate."""
        try:
            certificate = self._read(credential)
            ours = self._current()
            realm, now = ours.identity.realm, self._clock()
            identity = check_peer((certificate,), ours.realm_ca, realm, now, ours.revoked)
            key = certificate.public_key()
            if identity.node_id != publisher or not isinstance(key, Ed25519PublicKey):
                return False
            key.verify(signature, text)
        except (CertificateRefused, InvalidSignature, ValueError):
            return False
        return True

    def _read(self, credential: bytes) -> x509.Certificate:
        """The certificate; raises ``ValueError`` if it is none."""
        digest = hashlib.sha256(credential).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = x509.load_der_x509_certificate(credential)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known
