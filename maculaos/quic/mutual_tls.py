"""A QUIC connection on which both ends prove that they are nodes of the same realm.

aioquic 1.7.2 has no public way to check a client's certificate: asked to, its server requests one,
checks the signature made with it, and accepts a certificate of any authority, an expired one and
none at all. This module completes the check on both ends, at the moment when the peer's
certificate arrives: the realm authority's signature, the dates, the usages, the realm. The proof
that the peer holds the key follows in the same handshake, checked by aioquic itself.

A resumed handshake carries no certificate. Its peer is whom the ticket was given to, or came from,
if its certificate would still be believed (``resumption``, ``tickets``). Whatever keeps a ticket
from being used, the certificate is asked for: there is no third way to a ``peer``.

It touches private names of aioquic, all in this file: ``Context._request_client_certificate``,
``_set_peer_certificate``, ``_server_handle_certificate`` and ``_supported_groups``, to bound the
peer's streams ``QuicConnection._local_max_streams_uni`` and ``_bidi``, and to read what it has no
public word for, ``_close_event``, ``_state``, ``_streams``, ``_loss``. Should they change,
connections fail rather than go unchecked: nobody has a ``peer`` whom the check did not see.

There is no host name check: a node is its key, not its address.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, NoReturn

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnectionState
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.quic.datagrams import MAX_DATAGRAM_FRAME
from maculaos.quic.path_size import BASE_SIZE
from maculaos.quic.resumption import ResumableConnection
from maculaos.quic.tickets import Proof, fingerprint
from maculaos.security.certificates import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateRevoked,
    MissingUsage,
    NoCertificate,
    NotIssuedByRealm,
    WrongRealm,
    check_peer,
)

if TYPE_CHECKING:
    from aioquic._buffer import Buffer
    from aioquic.quic.events import ConnectionTerminated
    from cryptography.x509 import Certificate

    from maculaos.host.clock import Clock
    from maculaos.identity import Identity
    from maculaos.quic.tickets import Tickets
    from maculaos.security.credentials import Credentials

ALPN: Final = "macula/1"
CONNECTION_ID_SIZE: Final = 8
# What a peer may have in flight at first; ``windows`` tells how that grows.
MAX_DATA: Final = 8 * 1024 * 1024
MAX_STREAM_DATA: Final = 4 * 1024 * 1024
# One per stream class; aioquic allows more only as streams end, and ours last as long as the link.
MAX_STREAMS: Final = 16

# RFC 8446, 6.2: the alert that tells the peer which check failed.
_ALERTS: Final[dict[type[CertificateRefused], tls.AlertDescription]] = {
    NoCertificate: tls.AlertDescription.certificate_required,
    NotIssuedByRealm: tls.AlertDescription.unknown_ca,
    CertificateExpired: tls.AlertDescription.certificate_expired,
    CertificateNotYetValid: tls.AlertDescription.certificate_expired,
    CertificateRevoked: tls.AlertDescription.certificate_revoked,
    MissingUsage: tls.AlertDescription.unsupported_certificate,
    WrongRealm: tls.AlertDescription.access_denied,
}


class PeerRefused(tls.Alert):
    """The TLS alert for a certificate that this realm does not believe."""

    def __init__(self, refusal: CertificateRefused) -> None:
        super().__init__(str(refusal))
        self.description = _ALERTS.get(type(refusal), tls.AlertDescription.bad_certificate)


def quic_configuration(
    credentials: Credentials, *, is_client: bool, idle_timeout_s: float
) -> QuicConfiguration:
    """What one end of a connection starts from."""
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        cadata=credentials.realm_ca.public_bytes(Encoding.PEM),
        certificate=credentials.certificate,
        connection_id_length=CONNECTION_ID_SIZE,
        idle_timeout=idle_timeout_s,
        is_client=is_client,
        max_data=MAX_DATA,
        max_datagram_frame_size=MAX_DATAGRAM_FRAME,
        max_datagram_size=BASE_SIZE,
        max_stream_data=MAX_STREAM_DATA,
        private_key=credentials.key,
        # The client's end then also makes aioquic's own check, without a host name.
        verify_mode=ssl.CERT_REQUIRED,
    )


class MutualConnection(ResumableConnection):
    """A ``ResumableConnection`` that ends the handshake unless the peer is a node of our realm."""

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        tickets: Tickets | None = None,
        **options: Any,
    ) -> None:
        """Take what ``ResumableConnection`` takes."""
        super().__init__(credentials, clock, tickets, **options)
        self._local_max_streams_uni.value = MAX_STREAMS
        self._local_max_streams_bidi.value = 0
        self.refusal: CertificateRefused | None = None

    @property
    def peer_valid_s(self) -> float:
        """For how many seconds from now the peer's certificate holds; negative once it expired."""
        if self._proof is None:
            return 0.0
        return self._proof.certificate.not_valid_after_utc.timestamp() - self._clock.now()

    def renew(self, credentials: Credentials) -> None:
        """Believe the peer by these from now on; what we have shown it stays."""
        self._credentials = credentials

    def recheck(self) -> CertificateRefused | None:
        """Why the peer would not be believed if it came now; nothing if it would."""
        if self._proof is None:
            return None
        try:
            self._identify(self._proof.certificate)
        except CertificateRefused as refusal:
            return refusal
        return None

    @property
    def ending(self) -> ConnectionTerminated | None:
        """Why the connection is ending, as soon as it is known.

        The event of that name only comes after the closing period of three probe timeouts
        (RFC 9000, 10.2), too late to dial somebody else.
        """
        return self._close_event

    @property
    def is_ended_by_peer(self) -> bool:
        """Whether the peer closed the connection, rather than this end."""
        return self._state is QuicConnectionState.DRAINING

    @property
    def round_trip_s(self) -> float:
        """The smoothed round trip time, 0 before the first sample (RFC 9002, 5.3)."""
        return self._loss._rtt_smoothed

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes written to that stream that the peer has not acknowledged yet."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context = self.tls
        context._request_client_certificate = not self._is_client
        # A key pair for each group would be made for every handshake; all nodes have this one.
        context._supported_groups = [tls.Group.X25519]
        take_certificate = context._set_peer_certificate
        take_client_certificate = context._server_handle_certificate

        def set_peer_certificate(certificate: tls.Certificate) -> None:
            take_certificate(certificate)
            self._check(context)

        def server_handle_certificate(input_buf: Buffer) -> None:
            take_client_certificate(input_buf)
            # An empty list passes without the method above ever being called.
            if self._proof is None:
                self._refuse(NoCertificate("no certificate was presented"))

        context._set_peer_certificate = set_peer_certificate  # type: ignore[method-assign]
        context._server_handle_certificate = server_handle_certificate  # type: ignore[method-assign]

    def _identify(self, certificate: Certificate | None) -> Identity:
        chain = () if certificate is None else (certificate,)
        ours = self._credentials
        now = self._clock.now()
        return check_peer(chain, ours.realm_ca, ours.identity.realm, now, ours.revoked)

    def _check(self, context: tls.Context) -> None:
        certificate = context._peer_certificate
        try:
            identity = self._identify(certificate)
        except CertificateRefused as refusal:
            self._refuse(refusal)
        if certificate is not None:
            ours = self._configuration.certificate
            shown = b"" if ours is None else fingerprint(ours)
            self._proof = Proof(identity, certificate, shown, self._clock.now())

    def _refuse(self, refusal: CertificateRefused) -> NoReturn:
        self.refusal = refusal
        raise PeerRefused(refusal) from refusal
