"""The node's one UDP port: it accepts links, dials links, and carries the datagrams of both.

What is queued within one turn of the loop is gathered, but for the first word. Time for QUIC and
for sessions is the loop's own clock; only certificate dates need the clock that is passed in. Which
links a node should have is not decided here.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from maculaos import __version__
from maculaos.addresses import Address, InvalidAddress, parse_address
from maculaos.errors import LocalProtocolError, MaculaError, UsageError
from maculaos.host.entropy import SystemEntropy
from maculaos.quic.admission import Admission, Verdict, source_of
from maculaos.quic.carrier import LinkObserver, LinkTerms
from maculaos.quic.endings import cause_of
from maculaos.quic.link import Link
from maculaos.quic.mutual_tls import CONNECTION_ID_SIZE, MutualConnection, quic_configuration
from maculaos.quic.port import Port, SocketAddress, resolve
from maculaos.quic.racing import race
from maculaos.quic.retry import AddressTokens, retry_packet
from maculaos.quic.routes import (
    Routes,
    negotiation_for,
    opens_connection,
    read_header,
    short_destination,
)
from maculaos.quic.tickets import Tickets
from maculaos.quic.timers import LinkTimers
from maculaos.wire.messages import may_travel_early
from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.host.clock import Clock
    from maculaos.quic.endings import Ending
    from maculaos.quic.routes import Header
    from maculaos.security.credentials import Credentials
    from maculaos.settings import NodeSettings
    from maculaos.wire.messages import Message

SOFTWARE: Final = f"maculaos/{__version__}"
# The addresses of one name are raced with this stagger (RFC 8305, section 5).
STAGGER_S: Final = 0.25
# Before which messages of a turn what was gathered leaves: ever more at a time.
_SPOKEN_AT: Final = frozenset((32, 128, 512, 2048))
# A link that was given no more lately speaks at once: somebody waits for each word.
_FEW: Final = 1
# How long the port that the endpoint moved away from is still heard.
LINGER_S: Final = 3.0


class DialFailed(MaculaError):
    """No link to that address; the text says why.

    ``is_self`` says that this node itself answered, ``raises_doubt`` whether the peer may be dead:
    one that has no room lives, and a limit of this node says nothing of anybody.
    """

    def __init__(self, reason: str, *, is_self: bool = False, raises_doubt: bool = True) -> None:
        super().__init__(reason)
        self.is_self = is_self
        self.raises_doubt = raises_doubt


class Endpoint:
    """All links of one node; make it with ``Endpoint.open``."""

    def __init__(
        self,
        settings: NodeSettings,
        credentials: Credentials,
        observer: LinkObserver,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._observer = observer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._routes: Routes[Link] = Routes()
        # Every link whose end was not reported yet, established or not, in order of opening.
        self._links: dict[int, Link] = {}
        entropy = SystemEntropy()
        self._draw = entropy.draw
        self._admission = Admission(settings.limits, self._loop.time())
        self._tokens = AddressTokens(entropy.draw, self._loop.time())
        self._tickets = Tickets(settings.limits.tickets) if settings.limits.tickets else None
        self._dials: dict[int, asyncio.Future[Link]] = {}
        self._timers = LinkTimers()
        # Links with something to say, and how often their owner woke them in this turn.
        self._awake: dict[Link, int] = {}
        self._established: dict[int, Link] = {}
        self._is_closed = False
        # Datagrams are being read: what is woken now is flushed behind the last of them.
        self._is_reading = False
        #: Called when all that had come was read, before anything is answered.
        self.after_reading: Callable[[], None] = _nothing
        self._port: Port
        # Where it listened before it moved, for a moment.
        self._left: Port | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._terms: LinkTerms
        # What others are told to dial; empty: where the endpoint listens.
        self._advertised = settings.listen.advertise
        # What the links that are gone had counted.
        self._past_counts: Counter[str] = Counter()
        #: Links that ended before they were established, by cause.
        self.refused: Counter[str] = Counter()
        #: How often strangers were asked to prove their address first.
        self.retries = 0

    @classmethod
    async def open(
        cls,
        settings: NodeSettings,
        credentials: Credentials,
        observer: LinkObserver,
        clock: Clock,
        *,
        port: int | None = None,
    ) -> Endpoint:
        """Listen where ``settings.listen`` says; ``port`` overrides its port (0: any free one).

        Raises ``UsageError`` when the port cannot be had.
        """
        endpoint = cls(settings, credentials, observer, clock)
        listen = settings.listen
        wanted = listen.port if port is None else port
        endpoint._port = await Port.open(listen.address, wanted, endpoint._receive, endpoint._flush)
        endpoint._terms = LinkTerms(
            local=credentials.identity,
            addresses=listen.advertise or (str(endpoint.address),),
            software=SOFTWARE,
            life=int.from_bytes(SystemEntropy().draw(8)),
            queue_bytes=settings.limits.link_queue_bytes,
            greeting_bytes=settings.limits.greeting_bytes,
            idle_timeout_s=settings.link.idle_timeout_s,
        )
        return endpoint

    @property
    def address(self) -> Address:
        """Where the endpoint really listens."""
        host, port = self._port.bound[:2]
        return Address(host, port)

    @property
    def links(self) -> tuple[Link, ...]:
        """The established links, oldest first."""
        return tuple(self._established.values())

    @property
    def pending(self) -> int:
        """Handshakes that others began and that are not finished."""
        return self._admission.pending

    @property
    def counts(self) -> Counter[str]:
        """What links did not carry, all links that were ever up together; see ``Link.counts``."""
        return sum((link.counts for link in self._established.values()), self._past_counts)

    @property
    def send_errors(self) -> Counter[str]:
        """Datagrams that the kernel did not take, by the name of the error."""
        return self._port.errors

    async def dial(self, address: str, first_words: tuple[Message, ...] = ()) -> Link:
        """Open a link to whoever listens at ``address`` (``host:port``).

        All addresses of a name are raced. Returns an established link that the observer has been
        told of. ``first_words`` are said right behind the greeting; with a ticket from an earlier
        link both go with the first datagram. Raises ``DialFailed``, at the latest after
        ``settings.link.handshake_timeout_s``, and ``LocalProtocolError`` for words that must not
        travel early.
        """
        timeout_s = self._settings.link.handshake_timeout_s
        deadline = self._loop.time() + timeout_s
        remotes = await self._resolve(address, deadline)
        if not all(map(may_travel_early, first_words)):
            raise LocalProtocolError(f"{address}: these words must wait for the link")
        dials = [partial(self._dial, address, remote, deadline, first_words) for remote in remotes]
        return await race(dials, STAGGER_S, _give_up)

    async def rebind(self, host: str, port: int | None = None) -> None:
        """Go on from another local address: every link moves there, and nothing is lost.

        ``host`` is one of this machine's addresses, ``port`` the same as now unless it is given
        (0: any free one). Raises ``UsageError`` when it cannot be had; then nothing has changed.
        What is still under way to the old address is heard for ``LINGER_S``.
        """
        wanted = self.address.port if port is None else port
        new = await Port.open(host, wanted, self._receive, self._flush)
        if self._is_closed or new.family is not self._port.family:
            new.close()
            raise UsageError(f"cannot move to {host}", "name an address of the family in use")
        new.errors.update(self._port.errors)
        self._leave_port()
        self._left, self._port = self._port, new
        self._linger = self._loop.call_later(LINGER_S, self._leave_port)
        self.advertise(self._advertised)
        for link in self.links:
            link.move(self._loop.time())

    def advertise(self, addresses: tuple[str, ...]) -> None:
        """Tell new peers to dial these from now on; none: where the endpoint listens."""
        self._advertised = addresses
        self._terms = replace(self._terms, addresses=addresses or (str(self.address),))

    async def _dial(
        self,
        address: str,
        remote: SocketAddress,
        deadline: float,
        first_words: tuple[Message, ...],
    ) -> Link:
        if self._is_closed:
            raise DialFailed(f"{address}: this node is shutting down")
        if len(self._links) >= self._settings.limits.links:
            what = f"{address}: this node has {len(self._links)} links, its limit"
            raise DialFailed(what, raises_doubt=False)
        link = self._new_link(self._connection(is_client=True), deadline)
        link.dialled = address
        link.first_words = first_words
        answer: asyncio.Future[Link] = self._loop.create_future()
        self._dials[link.number] = answer
        link.start(remote, self._loop.time())
        try:
            return await answer
        except DialFailed as failure:
            raise DialFailed(
                f"{address}: {failure}",
                is_self=failure.is_self,
                raises_doubt=failure.raises_doubt,
            ) from None
        except asyncio.CancelledError:
            link.close(ErrorCode.NO_ERROR, "no longer wanted")
            raise
        finally:
            self._dials.pop(link.number, None)

    def renew(self, credentials: Credentials) -> None:
        """Go on with these: new handshakes show this certificate, and links that are up stay.

        Follow it by ``recheck`` when a revocation list is new. Raises ``LocalProtocolError`` for
        credentials of somebody else: a node is its key.
        """
        if credentials.identity != self._credentials.identity:
            raise LocalProtocolError(f"not of this node: {credentials.identity.name}")
        self._credentials = credentials
        for link in self._links.values():
            link.renew(credentials)

    def recheck(self) -> int:
        """Close the links whose peers would not be believed now; return how many.

        A certificate may have been revoked, or the clock may have been set.
        """
        return sum(link.recheck() for link in tuple(self._links.values()))

    async def close(self, reason: str) -> None:
        """End every link, telling the peers ``reason``, and free the port; may be called twice."""
        self._is_closed = True
        for link in tuple(self._links.values()):
            link.close(ErrorCode.SHUTTING_DOWN, reason)
        self._flush()
        self._timers.close()
        self._leave_port()
        self._port.close()
        # Whoever waits for a dial learns of its end before the caller goes on.
        await asyncio.sleep(0)

    # What links ask of us: see ``link.Carrier``.

    def wake(self, link: Link) -> None:
        """See ``Carrier.wake``."""
        if self._is_reading:
            self._awake.setdefault(link, 0)
            return
        # Words are gathered to cost little, but not for so long that the peer runs out of work.
        if not self._awake:
            self._loop.call_soon(self._flush)
        words = self._awake.get(link, 0)
        self._awake[link] = words + 1
        if words in _SPOKEN_AT if words else link.words_before <= _FEW:
            self._speak(link)

    def link_established(self, link: Link) -> None:
        """See ``Carrier.link_established``."""
        self._admission.established(link.number, source_of(link.remote_host))
        self._established[link.number] = link
        self._observer.link_up(link)
        answer = self._dials.pop(link.number, None)
        if answer is not None and not answer.done():
            answer.set_result(link)

    def message_received(self, link: Link, message: Message) -> None:
        """See ``Carrier.message_received``."""
        self._observer.message_received(link, message)

    def connection_id_issued(self, link: Link, connection_id: bytes) -> None:
        """See ``Carrier.connection_id_issued``."""
        self._routes.add(connection_id, link)

    def connection_id_retired(self, connection_id: bytes) -> None:
        """See ``Carrier.connection_id_retired``."""
        self._routes.retire(connection_id)

    # Datagrams in, datagrams out, time.

    def _receive(self, datagram: bytes, sender: SocketAddress) -> None:
        self._is_reading = True
        destination = short_destination(datagram)
        link = None if destination is None else self._routes.find(destination)
        if link is None:
            link = self._link_of_long(datagram, sender)
        if link is None:
            return
        link.receive_datagram(datagram, sender, self._loop.time())
        if not link.has_peer_address:
            # Nothing in it could be read: it did not open a connection after all.
            self._forget(link)

    def _link_of_long(self, datagram: bytes, sender: SocketAddress) -> Link | None:
        """Whose the datagram is, or whom it opens."""
        header = read_header(datagram)
        if header is None:
            return None
        link = self._routes.find(header.destination)
        return self._accept(header, len(datagram), sender) if link is None else link

    def _accept(self, header: Header, size: int, sender: SocketAddress) -> Link | None:
        negotiation = negotiation_for(header, size)
        if negotiation is not None:
            self._port.send(negotiation, sender)
            return None
        if not opens_connection(header, size) or self._is_closed:
            return None
        now, first = self._loop.time(), header.destination
        if header.token:
            read = self._tokens.read(header.token, sender, header.destination, now)
            if read is None:
                self.refused["bad address token"] += 1
                return None
            first = read
        source = source_of(sender[0])
        if not self._admits(header, sender, source, now):
            return None
        retried = header.destination if header.token else None
        quic = self._connection(is_client=False, first_destination=first, retried=retried)
        link = self._new_link(quic, now + self._settings.link.handshake_timeout_s)
        self._routes.add(header.destination, link)
        self._admission.opened(link.number, source, now, is_proved=bool(header.token))
        return link

    def _admits(self, header: Header, sender: SocketAddress, source: str, now: float) -> bool:
        """Carry out what the door decides about a first datagram; whether it may come in."""
        decision = self._admission.judge(
            source, now, links=len(self._links), is_proved=bool(header.token)
        )
        if decision.verdict is Verdict.RETRY:
            return_to = self._draw(CONNECTION_ID_SIZE)
            token = self._tokens.issue(sender, header.destination, return_to, now)
            self._port.send(retry_packet(header, return_to, token), sender)
            self.retries += 1
        elif decision.verdict is Verdict.REFUSE:
            self.refused[decision.cause] += 1
        elif decision.evicted is not None:
            self._forget(self._links[decision.evicted])
            self.refused["too many handshakes"] += 1
        return decision.verdict is Verdict.ADMIT

    def _connection(
        self,
        *,
        is_client: bool,
        first_destination: bytes | None = None,
        retried: bytes | None = None,
    ) -> MutualConnection:
        configuration = quic_configuration(
            self._credentials,
            is_client=is_client,
            idle_timeout_s=self._settings.link.idle_timeout_s,
        )
        return MutualConnection(
            self._credentials,
            self._clock,
            self._tickets,
            configuration=configuration,
            original_destination_connection_id=first_destination,
            retry_source_connection_id=retried,
        )

    def _new_link(self, quic: MutualConnection, deadline: float) -> Link:
        link = Link(next(self._numbers), quic, self, self._terms, deadline)
        self._links[link.number] = link
        self._routes.add(quic.host_cid, link)
        return link

    def _flush(self) -> None:
        if self._is_reading:
            # Whoever is handed something now may answer with what is acknowledged anyway.
            self._is_reading = False
            self.after_reading()
        awake, self._awake = self._awake, {}
        for link, words in awake.items():
            link.words_before = max(words, link.words_before // 2)
            self._carry(link)

    def _carry(self, link: Link) -> None:
        now = self._loop.time()
        if not link.is_listening(now):
            self._send(link, now)
        if link.ended is not None:
            self._report_end(link, link.ended)
        if link.is_over:
            self._forget(link)
        else:
            self._timers.arm(link, now)

    def _speak(self, link: Link) -> None:
        """Send what waits, and nothing else: who woke the link is in the middle of something."""
        if link.is_established:
            self._send(link, self._loop.time())

    def _send(self, link: Link, now: float) -> None:
        for datagram, remote in link.datagrams_to_send(now):
            if not self._port.send(datagram, remote):
                link.size_refused(len(datagram), now)

    def _report_end(self, link: Link, ended: Ending) -> None:
        """Tell of the end of ``link``, once; its connection may still have a closing period."""
        if self._links.pop(link.number, None) is None:
            return
        self._admission.ended(link.number)
        answer = self._dials.pop(link.number, None)
        if self._established.pop(link.number, None) is not None:
            self._past_counts += link.counts
            self._observer.link_down(link, ended.reason)
            return
        self.refused[ended.cause] += 1
        if answer is not None and not answer.done():
            is_self = ended.cause == cause_of(ErrorCode.SELF_DIALLED)
            answer.set_exception(
                DialFailed(ended.reason, is_self=is_self, raises_doubt=ended.raises_doubt)
            )

    def _forget(self, link: Link) -> None:
        self._routes.forget(link)
        self._links.pop(link.number, None)
        self._admission.ended(link.number)
        self._awake.pop(link, None)
        self._timers.forget(link)

    def _leave_port(self) -> None:
        """Hear no more of where the endpoint was before it moved."""
        if self._left is not None:
            self._left.close()
            self._left = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    async def _resolve(self, address: str, deadline: float) -> list[SocketAddress]:
        try:
            wanted = parse_address(address)
            async with asyncio.timeout_at(deadline):
                return await resolve(wanted.host, wanted.port, self._port.family)
        except InvalidAddress as error:
            raise DialFailed(f"{address}: {error}") from error
        except TimeoutError as error:
            raise DialFailed(f"{address}: the name was not resolved in time") from error
        except OSError as error:
            raise DialFailed(f"{address}: {error.strerror}") from error


def _nothing() -> None:
    """Nobody waits for the end of reading."""


def _give_up(link: Link) -> None:
    link.close(ErrorCode.NO_ERROR, "another address was quicker")
