"""A QUIC connection on which both ends prove that they are nodes of the same realm.

aioquic 1.7.2 has no public way to check a client's certificate: asked to, its server requests one,
checks the signature made with it, and accepts a certificate of any authority, an expired one and
none at all. This module completes the check on both ends, at the moment when the peer's
certificate arrives: the realm authority's signature, the dates, the usages, the realm. The proof
that the peer holds the key follows in the same handshake, checked by aioquic itself.

It touches private names of aioquic, all in this file: ``Context._request_client_certificate``,
``_set_peer_certificate`` and ``_server_handle_certificate``, and to read what it has no public
word for, ``QuicConnection._close_event``, ``_state``, ``_streams``,
``_loss``. Should they change, connections
fail rather than go unchecked: nobody has a ``peer`` whom the check did not see.

Session tickets are neither offered nor taken, so there is no 0-RTT: a resumed handshake carries no
certificate to check. There is no host name check either: a node is its key, not its address.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.security.certificates import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    MissingUsage,
    NoCertificate,
    NotIssuedByRealm,
    WrongRealm,
    check_peer,
)

if TYPE_CHECKING:
    from aioquic._buffer import Buffer
    from aioquic.quic.events import ConnectionTerminated

    from maculaos.host.clock import Clock
    from maculaos.identity import Identity
    from maculaos.security.credentials import Credentials

ALPN: Final = "macula/1"
CONNECTION_ID_SIZE: Final = 8
MAX_DATAGRAM_SIZE: Final = 1200
# What a peer may have in flight: enough for 8 MiB/s at a round trip of a second.
MAX_DATA: Final = 8 * 1024 * 1024
MAX_STREAM_DATA: Final = 4 * 1024 * 1024

# RFC 8446, 6.2: the alert that tells the peer which check failed.
_ALERTS: Final[dict[type[CertificateRefused], tls.AlertDescription]] = {
    NoCertificate: tls.AlertDescription.certificate_required,
    NotIssuedByRealm: tls.AlertDescription.unknown_ca,
    CertificateExpired: tls.AlertDescription.certificate_expired,
    CertificateNotYetValid: tls.AlertDescription.certificate_expired,
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
        max_datagram_size=MAX_DATAGRAM_SIZE,
        max_stream_data=MAX_STREAM_DATA,
        private_key=credentials.key,
        # The client's end then also makes aioquic's own check, without a host name.
        verify_mode=ssl.CERT_REQUIRED,
    )


class MutualConnection(QuicConnection):
    """A ``QuicConnection`` that ends the handshake unless the peer is a node of our realm."""

    def __init__(self, credentials: Credentials, clock: Clock, **options: Any) -> None:
        """Take our credentials, the clock for certificate dates, and aioquic's own options."""
        super().__init__(**options)
        self._credentials = credentials
        self._clock = clock
        self._claimed: Identity | None = None
        self.refusal: CertificateRefused | None = None

    @property
    def peer(self) -> Identity | None:
        """Who the peer is; only a fact once the handshake is complete."""
        return self._claimed if self._handshake_complete else None

    @property
    def peer_valid_s(self) -> float:
        """For how many seconds from now the peer's certificate holds; negative once it expired."""
        certificate = self.tls._peer_certificate
        if certificate is None:
            return 0.0
        return certificate.not_valid_after_utc.timestamp() - self._clock.now()

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
        take_certificate = context._set_peer_certificate
        take_client_certificate = context._server_handle_certificate

        def set_peer_certificate(certificate: tls.Certificate) -> None:
            take_certificate(certificate)
            self._check(context)

        def server_handle_certificate(input_buf: Buffer) -> None:
            take_client_certificate(input_buf)
            # An empty list passes without the method above ever being called.
            if self._claimed is None:
                self._refuse(NoCertificate("no certificate was presented"))

        context._set_peer_certificate = set_peer_certificate  # type: ignore[method-assign]
        context._server_handle_certificate = server_handle_certificate  # type: ignore[method-assign]

    def _check(self, context: tls.Context) -> None:
        certificate = context._peer_certificate
        chain = () if certificate is None else (certificate,)
        ours = self._credentials
        try:
            identity = check_peer(chain, ours.realm_ca, ours.identity.realm, self._clock.now())
        except CertificateRefused as refusal:
            self._refuse(refusal)
        else:
            self._claimed = identity

    def _refuse(self, refusal: CertificateRefused) -> None:
        self.refusal = refusal
        raise PeerRefused(refusal) from refusal
