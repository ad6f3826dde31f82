"""Session tickets: how two nodes that met before skip certificates, and when they must not.

A resumed TLS handshake (RFC 8446, 2.2) carries no certificate, so who the peer is must come from
the handshake that the ticket was made in. Each ticket is kept with that proof, in memory only, and
counts once: whoever takes it out has it, and a first flight that is sent again finds nothing
(RFC 8446, 8.1). A ticket is good for the two certificates and the protocol it was made with, for
as long as the peer's certificate would be believed now: not expired, not revoked, still of this
realm. However often it is renewed by resuming, certificates are shown again after a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aioquic.tls import SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from maculaos.identity import Identity
from maculaos.security.certificates import CertificateRefused, check_peer
from maculaos.session import PROTOCOL_VERSION

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.quic.port import SocketAddress
    from maculaos.security.credentials import Credentials

# A ticket and all tickets that come of it: then the peer shows its certificate once more.
MAX_PROOF_AGE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What a full handshake proved; times in seconds since the epoch."""

    peer: Identity
    certificate: x509.Certificate
    # The fingerprint of our own certificate in that handshake.
    shown: bytes
    proved_at: float
    protocol: int = PROTOCOL_VERSION

    def still_holds(self, ours: Credentials, now: float) -> bool:
        """Whether the peer would be believed now, by ``ours``, if it showed that certificate."""
        if self.protocol != PROTOCOL_VERSION or self.shown != fingerprint(ours.certificate):
            return False
        if not 0 <= now - self.proved_at <= MAX_PROOF_AGE_S:
            return False
        try:
            peer = check_peer(
                (self.certificate,), ours.realm_ca, ours.identity.realm, now, ours.revoked
            )
        except CertificateRefused:
            return False
        return peer == self.peer


@dataclass(frozen=True, slots=True)
class ProvedTicket:
    """A ticket and the proof that it stands for."""

    ticket: SessionTicket
    proof: Proof


class Tickets:
    """The tickets of one endpoint, as server and as client: one per peer, and one per address."""

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit`` of each kind; the oldest make room."""
        self._limit = limit
        self._issued: dict[bytes, ProvedTicket] = {}
        self._latest: dict[NodeId, bytes] = {}
        self._held: dict[SocketAddress, ProvedTicket] = {}

    def __len__(self) -> int:
        return len(self._issued) + len(self._held)

    def issue(self, proved: ProvedTicket) -> None:
        """Remember a ticket given to a peer; the one it was given before counts no more."""
        self._issued.pop(self._latest.pop(proved.proof.peer.node_id, b""), None)
        if len(self._issued) >= self._limit:
            oldest = self._issued.pop(next(iter(self._issued)))
            del self._latest[oldest.proof.peer.node_id]
        self._issued[proved.ticket.ticket] = proved
        self._latest[proved.proof.peer.node_id] = proved.ticket.ticket

    def redeem(self, name: bytes) -> ProvedTicket | None:
        """The ticket of that name that a peer comes with; it counts no more after this."""
        proved = self._issued.pop(name, None)
        if proved is not None:
            del self._latest[proved.proof.peer.node_id]
        return proved

    def hold(self, address: SocketAddress, proved: ProvedTicket) -> None:
        """Keep the ticket that whoever listens at ``address`` gave."""
        self._held.pop(address, None)
        if len(self._held) >= self._limit:
            del self._held[next(iter(self._held))]
        self._held[address] = proved

    def use(self, address: SocketAddress) -> ProvedTicket | None:
        """The ticket for ``address``; nobody gets it again."""
        return self._held.pop(address, None)


def fingerprint(certificate: x509.Certificate) -> bytes:
    """SHA-256 of the whole certificate."""
    return certificate.fingerprint(SHA256())
