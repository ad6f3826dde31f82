"""A QUIC connection that begins with a session ticket where there is a good one.

aioquic 1.7.2 can resume a session, and its server can ask for a client's certificate, but not both:
having resumed, it waits for a certificate that nobody sends. Here it goes on to the end of the
handshake. Its client also forgets what it said early (0-RTT) when the server answers with a Retry
or does not take the ticket; here that is said again at once. Private names that this takes, all in
this file: ``Context._server_handle_hello``, ``_server_expect_finished`` and
``_client_handle_finished``, ``QuicConnection._connect``, ``_spaces``, ``_loss``.

Whose certificates are believed, and what may be said early, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aioquic import tls
from aioquic.quic.packet_builder import QuicDeliveryState

from maculaos.quic.path import PathConnection
from maculaos.quic.tickets import Proof, ProvedTicket

if TYPE_CHECKING:
    from aioquic._buffer import Buffer

    from maculaos.host.clock import Clock
    from maculaos.identity import Identity
    from maculaos.quic.port import SocketAddress
    from maculaos.quic.tickets import Tickets
    from maculaos.security.credentials import Credentials


class ResumableConnection(PathConnection):
    """A ``PathConnection`` that knows its peer by the proof that a ticket stands for."""

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        tickets: Tickets | None = None,
        **options: Any,
    ) -> None:
        """Take our credentials, the clock for certificate dates, and aioquic's own options.

        Without ``tickets`` none is given, taken or used: every handshake is a full one.
        """
        if tickets is not None:
            options["session_ticket_handler"] = self._take_ticket
            options["session_ticket_fetcher"] = self._redeem
        super().__init__(**options)
        self._credentials = credentials
        self._clock = clock
        self._tickets = tickets
        self._dialled: SocketAddress = ()
        # The ticket that this handshake came with, and what proves who the peer is.
        self._offered: ProvedTicket | None = None
        self._proof: Proof | None = None

    @property
    def peer(self) -> Identity | None:
        """Who the peer is; only a fact once the handshake is complete."""
        proof = self._proof
        return proof.peer if proof is not None and self._handshake_complete else None

    @property
    def presumed_peer(self) -> Identity | None:
        """Whom a ticket says the peer to be, before the handshake has proved it.

        For the side that dialled, whoever can read what it says now; for the other, who said it.
        """
        if self._is_client:
            return None if self._offered is None else self._offered.proof.peer
        return None if self._proof is None or not self.is_resumed else self._proof.peer

    @property
    def is_resumed(self) -> bool:
        """Whether a ticket took the place of the certificates."""
        return self.tls.session_resumed

    def connect(self, addr: SocketAddress, now: float) -> None:
        """Begin, with a ticket for that address if there is a good one."""
        self._dialled = addr
        held = None if self._tickets is None else self._tickets.use(addr)
        if held is not None and self._is_good(held):
            self._offered = held
            self._configuration.session_ticket = held.ticket
        super().connect(addr, now=now)

    def _connect(self, now: float) -> None:
        # Also called to begin again, after a Retry: nothing said before was heard.
        self._say_again()
        super()._connect(now=now)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        context = self.tls
        take_hello = context._server_handle_hello
        take_finished = context._client_handle_finished

        def server_handle_hello(
            input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer
        ) -> None:
            take_hello(input_buf, initial_buf, handshake_buf)
            if context.session_resumed:
                self._believe_ticket()
                # It asked for no certificate, and yet would wait for one.
                context._server_expect_finished()

        def client_handle_finished(input_buf: Buffer, output_buf: Buffer) -> None:
            take_finished(input_buf, output_buf)
            if context.session_resumed:
                self._believe_ticket()
            if not context.early_data_accepted:
                self._say_again()

        context._server_handle_hello = server_handle_hello  # type: ignore[method-assign]
        context._client_handle_finished = client_handle_finished  # type: ignore[method-assign]

    def _believe_ticket(self) -> None:
        if self._offered is None:
            raise tls.AlertHandshakeFailure("neither a certificate nor a ticket of ours")
        self._proof = self._offered.proof

    def _redeem(self, name: bytes) -> tls.SessionTicket | None:
        """The ticket that a peer comes with, if it is one of ours and still good."""
        proved = None if self._tickets is None else self._tickets.redeem(name)
        if proved is None or not self._is_good(proved):
            return None
        self._offered = proved
        return proved.ticket

    def _take_ticket(self, ticket: tls.SessionTicket) -> None:
        """A ticket was made: ours for the peer, or the peer's for us."""
        if self._tickets is None or self._proof is None:
            return
        proved = ProvedTicket(ticket, self._proof)
        if self._is_client:
            self._tickets.hold(self._dialled, proved)
        else:
            self._tickets.issue(proved)

    def _is_good(self, proved: ProvedTicket) -> bool:
        return proved.proof.still_holds(self._credentials, self._clock.now())

    def _say_again(self) -> None:
        """Queue anew whatever was said with early keys: the peer has no use for it."""
        space = self._spaces.get(tls.Epoch.ONE_RTT)
        if space is None or not space.sent_packets:
            return
        for packet in space.sent_packets.values():
            for handler, arguments in packet.delivery_handlers:
                handler(QuicDeliveryState.LOST, *arguments)
        self._loss.discard_space(space)
