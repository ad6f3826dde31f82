"""The daemon of one node: carries out what the node decides, and brings it what happens.

It owns the endpoint, the control socket, the timer and the signals. It decides nothing about the
mesh; what it decides itself is when to start, to reload and to stop. One task group holds every
task. A bug in the decider ends the daemon with an error instead of leaving half a node behind.
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maculaos import __version__
from maculaos.configuration import check_dialable, fixed_changes, read_settings
from maculaos.control import ControlSocket
from maculaos.control.pace import Pace
from maculaos.control.readers import Reader, Readers
from maculaos.control.server import PROTOCOL
from maculaos.control.socket_file import check_path, refuse_if_running
from maculaos.dialling import Dialling
from maculaos.discovery.dht import DhtRecords
from maculaos.discovery.discovery import Discovery
from maculaos.discovery.method import Surroundings
from maculaos.effects import (
    CloseClient,
    CloseLink,
    Dial,
    Effect,
    Note,
    RecordsFound,
    Send,
    SendToClient,
)
from maculaos.errors import MaculaError, UsageError
from maculaos.host.logbook import Level, Logbook
from maculaos.kademlia.record import Kind
from maculaos.kademlia.signing import Notary
from maculaos.node import Introduction, Node
from maculaos.outgoing import Outgoing
from maculaos.quic.endpoint import Endpoint
from maculaos.security.certificates import written_moment
from maculaos.security.events import RealmEventSeal
from maculaos.security.letters import RealmLetterSeal
from maculaos.security.records import RecordSeal
from maculaos.security.rotation import LiveCredentials
from maculaos.shell_counters import ShellCounters
from maculaos.whereabouts import Whereabouts
from maculaos.wire.messages import HandshakeAck, RpcCall, RpcError, RpcResult
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import Value, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from maculaos.control.inside import Inside, Program
    from maculaos.host.clock import Clock
    from maculaos.host.entropy import Entropy
    from maculaos.identity import Identity
    from maculaos.quic.link import Link
    from maculaos.security.credentials import Credentials
    from maculaos.settings import LimitSettings, NodeSettings
    from maculaos.wire.messages import Message

SOFTWARE: Final = f"maculaos/{__version__}"
# How long the peers may take to acknowledge the goodbye.
FLUSH_DEADLINE_S: Final = 0.5
# How long each of the two sockets may take to close, however badly the other ends behave.
CLOSE_DEADLINE_S: Final = 2.0
_OWN_METHODS: Final = frozenset({"macula.discovery", "macula.reload", "macula.stop"})
_ENDINGS: Final = (CloseLink, CloseClient)
_FLUSH_POLL_S: Final = 0.01
_LONGEST_WAIT_S: Final = 60.0
# How often the revocation list is looked at, and every peer's certificate with it.
_RECHECK_S: Final = 60.0


class Daemon:
    """One running node; make it, then ``await run()``."""

    def __init__(
        self, source: Path | NodeSettings, logbook: Logbook, clock: Clock, entropy: Entropy
    ) -> None:
        """Read the configuration, if it is a file; raises ``UsageError`` or ``InvalidDocument``."""
        self._path = source if isinstance(source, Path) else None
        self._log = logbook
        self._clock = clock
        # For jitter and shuffles; nothing secret is drawn from it.
        self._rng = random.Random(entropy.draw(32))  # noqa: S311
        self._settings = read_settings(source) if isinstance(source, Path) else source
        self._links: dict[int, Link] = {}
        #: Set while the node is up.
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._timer_moved = asyncio.Event()
        self._deadline = math.inf
        self._armed_for = math.inf
        self._looks_ahead = False
        self._failure: Exception | None = None
        self._identity: Identity
        self._credentials: LiveCredentials
        self._seal: RecordSeal
        self._notary: Notary
        self._node: Node
        self._discovery: Discovery
        self._records: DhtRecords
        self._endpoint: Endpoint
        self._control: ControlSocket
        self._tasks: asyncio.TaskGroup | None = None
        self._pace: Pace
        self._readers: Readers
        self._outgoing: Outgoing
        self._dialling: Dialling
        self._whereabouts: Whereabouts

    async def run(self, *, is_embedded: bool = False) -> None:
        """Run the node until a signal, a client or ``stop`` ends it.

        One that is embedded leaves the signals of the process to its program. Raises
        ``UsageError`` for what keeps it from starting (credentials, port, socket), and whatever a
        bug in the node raised.
        """
        await self._open()
        try:
            with self._signals(is_embedded):
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    timers = [
                        tasks.create_task(each)
                        for each in (self._keep_time(), self._keep_trust(), self._discovery.run())
                    ]
                    await self._serve()
                    for timer in timers:
                        timer.cancel()
                    self._dialling.cancel()
        finally:
            await self._close()
        if self._failure is not None:
            raise self._failure
        self._log.note("stopped", name=self._identity.name)

    # Start and stop.

    async def _open(self) -> None:
        settings, now = self._settings, self._clock.monotonic()
        self._credentials = LiveCredentials(settings, self._clock.now())
        credentials = self._credentials.current
        self._identity = credentials.identity
        # Before the port: "already running" says more than "port in use".
        check_path(settings.control_socket)
        check_dialable(settings.listen)
        refuse_if_running(settings.control_socket)
        self._seal = seal = RecordSeal(lambda: self._credentials.current, self._clock.now)
        self._notary = Notary(settings.realm, seal.credential, seal.sign, seal.verify)
        self._node = Node(self._identity, settings, self._notary, self._rng, now, SOFTWARE)
        self._node.seal_events(RealmEventSeal(lambda: self._credentials.current))
        self._node.seal_letters(RealmLetterSeal(lambda: self._credentials.current))
        self._node.set_wall_clock(self._clock.now(), now)
        self._discovery = Discovery(self._surroundings(), self, self._log)
        # From the endpoint on others come in, while the control socket is still being opened.
        self._prepare_queues(settings.limits)
        self._endpoint = await Endpoint.open(settings, credentials, self, self._clock)
        limit = settings.limits.pending_handshakes
        self._dialling = Dialling(self._endpoint, self._node, self._feed, limit)
        self._whereabouts = Whereabouts(
            settings, self._endpoint, self._discovery, self._node, self._feed, self._log
        )
        try:
            self._control = await ControlSocket.open(
                settings.control_socket, settings.limits, self._ack(), self
            )
        except BaseException:
            await self._endpoint.close("the node could not start")
            raise
        self._endpoint.after_reading = self._control.hand_over

    def _prepare_queues(self, limits: LimitSettings) -> None:
        self._pace = Pace(limits.link_queue_bytes, self._find_client)
        waiting = self._node.waits_for_clients
        self._readers = Readers(limits.client_queue_bytes, self._find_client, waiting)
        self._outgoing = Outgoing(self._links, self._pace, self.message_received)

    def _find_client(self, client: int) -> Reader | None:
        return self._control.find(client)

    def _surroundings(self) -> Surroundings:
        self._records = DhtRecords(self._search, self._say)
        return Surroundings(
            identity=self._identity,
            settings=self._settings,
            clock=self._clock,
            rng=self._rng,
            records=self._records,
        )

    def _search(self, key: bytes) -> None:
        self._feed(lambda now: self._node.find_records(key, now))

    def _say(self, key: bytes, value: bytes) -> None:
        self._feed(lambda now: self._node.say(Kind.BOOTSTRAP, key, value, now))

    def _ack(self) -> HandshakeAck:
        own, addresses = self._identity, self._settings.listen.advertised
        return HandshakeAck(PROTOCOL, own.realm, own.node_id, own.name, addresses, SOFTWARE)

    async def _serve(self) -> None:
        self._log.note(
            "ready",
            name=self._identity.name,
            realm=self._identity.realm,
            node_id=self._identity.node_id.hex(),
            address=self._endpoint.address,
            control=self._settings.control_socket,
        )
        self.ready.set()
        await self._stopping.wait()
        self.ready.clear()
        if self._failure is None:
            await self._leave()

    async def _leave(self) -> None:
        """Tell the peers, wait until they know or the deadline is over, then end the links."""
        effects = self._node.leave(self._clock.monotonic())
        last = [effect for effect in effects if isinstance(effect, _ENDINGS)]
        self._carry_out([effect for effect in effects if not isinstance(effect, _ENDINGS)])
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_DEADLINE_S):
                # Polled: a link has nobody to tell when the last byte is acknowledged.
                while any(link.queued_bytes for link in self._links.values()):  # noqa: ASYNC110
                    await asyncio.sleep(_FLUSH_POLL_S)
        self._carry_out(last)

    async def _close(self) -> None:
        self._pace.close()
        self._readers.close()
        for closing in (self._control.close(), self._endpoint.close("the node stops")):
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_DEADLINE_S):
                    await closing

    def stop(self, why: str) -> None:
        """Begin to stop; ``run`` returns soon after."""
        if not self._stopping.is_set():
            self._log.note("stopping", reason=why)
            self._stopping.set()

    def enter(self, program: Program, name: str) -> tuple[HandshakeAck, Inside]:
        """Let a program of this process in while ``ready``; see ``ControlSocket.enter_inside``."""
        return self._control.ack, self._control.enter_inside(program, name)

    @contextmanager
    def _signals(self, is_embedded: bool) -> Iterator[None]:
        if is_embedded:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, self.stop, "SIGINT")
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    # What happens, brought to the node. First from links, see ``LinkObserver``.

    def link_up(self, link: Link) -> None:
        """See ``LinkObserver.link_up``."""
        self._links[link.number] = link
        introduction = Introduction(
            addresses=link.peer_addresses,
            is_outbound=link.is_outbound,
            dialled=link.dialled,
            life=link.peer_life,
        )
        self._feed(lambda now: self._node.link_up(link.number, link.peer, introduction, now))
        dialled = () if link.dialled is None else (link.dialled,)
        found_at = (*dialled, *link.peer_addresses)
        self._discovery.link_up(link.number, link.peer.node_id, found_at)

    def message_received(self, link: Link, message: Message) -> None:
        """See ``LinkObserver.message_received``."""
        self._feed(self._node.receive, link.number, message)

    def link_down(self, link: Link, reason: str) -> None:
        """See ``LinkObserver.link_down``."""
        if self._links.pop(link.number, None) is not None:
            self._discovery.link_down(link.number)
            self._pace.forget(link)
            is_lost = link.ended is None or link.ended.raises_doubt
            self._feed(lambda now: self._node.link_down(link.number, reason, now, is_lost=is_lost))

    def discovered(self, source: str, addresses: tuple[str, ...]) -> None:
        """See ``Finder.discovered``."""
        self._feed(lambda now: self._node.discovered(source, addresses, now))

    # Then from clients, see ``ControlObserver``.

    def client_up(self, client: int, software: str) -> None:
        """See ``ControlObserver.client_up``."""
        self._log.note("client_up", Level.DEBUG, client=client, software=software)
        self._feed(lambda now: self._node.client_up(client, now))

    def client_message(self, client: int, message: Message) -> None:
        """See ``ControlObserver.client_message``."""
        if isinstance(message, RpcCall) and message.method in _OWN_METHODS:
            self._answer(client, message)
        elif isinstance(message, RpcCall) and message.method == "macula.stats":
            self._feed(self._ask_stats, client, message)
        else:
            self._feed(self._node.receive_from_client, client, message)
            self._pace.spoke(client)
            self._readers.spoke(client, message)

    def _ask_stats(self, client: int, message: RpcCall, now: float) -> list[Effect]:
        effects = self._node.receive_from_client(client, message, now)
        shells = ShellCounters(self._outgoing, self._control, self._endpoint, self._links)
        return [shells.added_to(effect) for effect in effects]

    def client_full(self, client: int) -> None:
        """See ``ControlObserver``; amid the effects of a step of the node, so it is none."""
        self._node.client_full(client)
        self._readers.full(client)

    def client_room(self, client: int) -> None:
        """See ``ControlObserver``."""
        self._readers.room(client)
        self._feed(self._node.client_room, client)

    def client_down(self, client: int, reason: str) -> None:
        """See ``ControlObserver.client_down``."""
        self._readers.room(client)
        self._log.note("client_down", Level.DEBUG, client=client, reason=reason)
        self._feed(lambda now: self._node.client_down(client, now))

    def _feed(self, step: Callable[..., list[Effect]], *said: object) -> None:
        """Let the node take one step, and carry out what it wants."""
        if self._failure is not None:
            return
        try:
            self._carry_out(step(*said, self._clock.monotonic()))
        except Exception as error:  # noqa: BLE001  # raised again by run(), once all is closed
            self._fail(error)
        if not self._looks_ahead:
            # Once for all steps of this turn of the loop.
            self._looks_ahead = True
            asyncio.get_running_loop().call_soon(self._look_ahead)

    def _look_ahead(self) -> None:
        """Set the timer anew."""
        self._looks_ahead = False
        try:
            self._deadline = self._node.next_deadline()
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(error)
        if self._deadline < self._armed_for:
            self._timer_moved.set()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._log.note("failed", Level.ERROR, error=f"{type(error).__name__}: {error}")
        self._stopping.set()

    async def _keep_time(self) -> None:
        while True:
            self._feed(self._node.advance)
            self._look_ahead()
            self._timer_moved.clear()
            self._armed_for = self._deadline
            wait_s = max(0.0, self._deadline - self._clock.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, _LONGEST_WAIT_S)):
                    await self._timer_moved.wait()

    async def _keep_trust(self) -> None:
        while True:
            await asyncio.sleep(_RECHECK_S)
            self._recheck()

    def _recheck(self) -> None:
        """Take a newer revocation list, and let go of whoever is not believed any more."""
        # Clocks are set, too: records are judged by the one of now.
        self._node.set_wall_clock(self._clock.now(), self._clock.monotonic())
        try:
            changed = self._credentials.poll()
        except UsageError as error:
            self._log.note("revocations_refused", Level.WARNING, error=error)
        else:
            if changed is not None:
                self._adopt(changed)
        self._endpoint.recheck()
        if self._credentials.tells_overdue(self._clock.now()):
            self._log.note(
                "revocations_overdue",
                Level.WARNING,
                list=self._credentials.current.revoked.number,
                hint="copy a newer realm.crl from the realm's authority",
            )

    def _adopt(self, credentials: Credentials) -> None:
        """Prove and believe by these from now on; links that are up stay, if they may."""
        self._notary.credential = self._seal.credential
        self._endpoint.renew(credentials)
        self._log.note(
            "credentials_renewed",
            not_after=written_moment(credentials.certificate.not_valid_after_utc),
            revocations=credentials.revoked.number,
            links_closed=self._endpoint.recheck(),
        )

    # What the node wants done.

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._outgoing.send(effect)
                case SendToClient():
                    self._control.send(effect.client, effect.message)
                case Dial() if not self._stopping.is_set():
                    self._dialling.begin(effect, self._tasks)
                case Note():
                    self._log.note(effect.event, **dict(effect.facts))
                case RecordsFound():
                    self._records.found(effect.key, effect.values)
                case CloseLink() | CloseClient():
                    self._end(effect)

    def _end(self, effect: CloseLink | CloseClient) -> None:
        if isinstance(effect, CloseLink):
            self._outgoing.end(effect)
        else:
            self._control.close_client(effect.client, effect.code, effect.reason)

    # What the daemon answers itself.

    def _answer(self, client: int, call: RpcCall) -> None:
        try:
            answer: RpcResult | RpcError = RpcResult(call.call, encode_value(self._do(call.method)))
        except MaculaError as error:
            answer = RpcError(call.call, RpcErrorCode.INVALID_REQUEST, str(error))
        self._control.send(client, answer)

    def _do(self, method: str) -> Value:
        if method == "macula.reload":
            return {"peers": list(self.reload())}
        if method == "macula.discovery":
            return self._describe_discovery()
        self.stop("a client asked for it")
        return None

    def _describe_discovery(self) -> list[Value]:
        nothing: dict[str, Value] = {"last_result_s": None, "error": None}
        named: list[Value] = list(self._settings.peers)
        static: Value = {"source": "static", "state": "on", "addresses": named, **nothing}
        return [static, *self._discovery.describe()]

    def reload(self) -> tuple[str, ...]:
        """Read the configuration and the credentials again; return the peers now looked for.

        Raises ``UsageError`` or ``InvalidDocument``, and changes nothing then: for a file that
        is wrong, and for a setting or a key that a running node cannot change.
        """
        if self._path is None:
            raise UsageError("this node was not started from a file", "start it from one")
        wanted = read_settings(self._path)
        fixed = fixed_changes(self._settings, wanted)
        if fixed:
            what = f"{', '.join(fixed)} cannot change while the node runs"
            raise UsageError(what, f"restart the node to change {fixed[0]}")
        check_dialable(wanted.listen)
        held = self._credentials.current
        renewed = self._credentials.reload(self._clock.now(), wanted)
        self._settings = wanted
        if (renewed.certificate, renewed.revoked) != (held.certificate, held.revoked):
            self._adopt(renewed)
        self._feed(lambda now: self._node.set_peers(wanted.peers, now))
        if self._tasks is not None:
            self._tasks.create_task(self._whereabouts.follow(wanted))
        self._log.note("reloaded", peers=",".join(wanted.peers) or "none")
        return wanted.peers

    def _reload_on_signal(self) -> None:
        try:
            self.reload()
        except MaculaError as error:
            self._log.note("reload_refused", Level.WARNING, error=error)
