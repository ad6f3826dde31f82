"""Two nodes that dial each other at the same moment keep one link, and find each other again."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from loopback import run
from maculaos.effects import CloseLink, Dial, Effect, Send
from maculaos.host.clock import SystemClock
from maculaos.node import Introduction, Node
from maculaos.quic.endpoint import DialFailed, Endpoint
from maculaos.settings import LinkSettings
from maculaos.wire.registry import ErrorCode
from mesh_peers import eventually
from simulation.world import notary_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from credentials import RealmFolder
    from maculaos.quic.link import Link
    from maculaos.wire.messages import Message

SEEDS: Final = 50
LATEST_DIAL_S: Final = 0.004


class Peer:
    """A deciding node on a real endpoint, and nothing else of a daemon; it decides when told."""

    def __init__(self, realm: RealmFolder, name: str, rng: random.Random) -> None:
        self._realm, self._name, self._rng = realm, name, rng
        self._clock = SystemClock()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.ups = 0
        self.endpoint: Endpoint
        self.node: Node

    async def open(self) -> None:
        """Listen, without wishes."""
        quick = LinkSettings(reconnect_base_s=0.05, reconnect_max_s=0.2)
        settings = self._realm.node_settings(self._name, link=quick)
        credentials = self._realm.credentials(self._name)
        self.endpoint = await Endpoint.open(settings, credentials, self, self._clock, port=0)
        now = self._clock.monotonic()
        self.node = Node(
            credentials.identity, settings, notary_of(credentials.identity), self._rng, now, "test"
        )

    async def close(self) -> None:
        """Leave nothing behind."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.endpoint.close("test over")

    def want(self, address: str) -> None:
        """An operator names a peer: it is dialled at once."""
        self.feed(lambda now: self.node.set_peers((address,), now) + self.node.advance(now))

    @property
    def is_settled(self) -> bool:
        """Whether no dial is under way and one link is all there is."""
        return not self._tasks and len(self.endpoint._links) == len(self.endpoint.links) == 1

    def feed(self, step: Callable[[float], list[Effect]]) -> None:
        """Let the node take a step, and do what it wants."""
        if self._is_closed:
            return
        for effect in step(self._clock.monotonic()):
            self._carry_out(effect)
        if self._timer is not None:
            self._timer.cancel()
        wait_s = min(1.0, self.node.next_deadline() - self._clock.monotonic())
        self._timer = self._loop.call_later(max(0.0, wait_s), self.feed, self.node.advance)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Dial):
            task = self._loop.create_task(self._dial(effect.address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(effect, Send | CloseLink):
            link = next((each for each in self.endpoint.links if each.number == effect.link), None)
            if link is None:
                return
            if isinstance(effect, Send):
                link.send(effect.message, effect.stream)
            else:
                link.close(effect.code, effect.reason)

    async def _dial(self, address: str) -> None:
        # The two begin at the same moment, or nearly.
        await asyncio.sleep(self._rng.uniform(0.0, LATEST_DIAL_S))
        try:
            await self.endpoint.dial(address)
        except DialFailed as error:
            reason = str(error)
            self.feed(lambda now: self.node.dial_failed(address, reason, now))

    def link_up(self, link: Link) -> None:
        """See ``LinkObserver.link_up``."""
        self.ups += 1
        known = Introduction(
            addresses=link.peer_addresses,
            is_outbound=link.is_outbound,
            dialled=link.dialled,
            life=link.peer_life,
        )
        self.feed(lambda now: self.node.link_up(link.number, link.peer, known, now))

    def message_received(self, link: Link, message: Message) -> None:
        """See ``LinkObserver.message_received``."""
        self.feed(lambda now: self.node.receive(link.number, message, now))

    def link_down(self, link: Link, reason: str) -> None:
        """See ``LinkObserver.link_down``."""
        self.feed(lambda now: self.node.link_down(link.number, reason, now))


async def settle(peers: tuple[Peer, Peer]) -> None:
    """Wait for one link, the same for both; the smaller node id dialled it if there were two."""
    await eventually(lambda: all(peer.is_settled for peer in peers))
    # Nothing of the other dial comes afterwards.
    await asyncio.sleep(5 * LATEST_DIAL_S)
    await eventually(lambda: all(peer.is_settled for peer in peers))
    (left,), (right,) = (peer.endpoint.links for peer in peers)
    assert left.is_outbound != right.is_outbound
    if max(peer.ups for peer in peers) > 1:
        smaller = min(left, right, key=lambda link: link._terms.local.node_id)
        assert smaller.is_outbound


@pytest.mark.parametrize("decade", range(SEEDS // 10))
def test_simultaneous_dials_settle_on_one_link(realm: RealmFolder, decade: int) -> None:
    async def main() -> None:
        doubles = 0
        for seed in range(10 * decade, 10 * decade + 10):
            async with AsyncExitStack() as stack:
                rng = random.Random(seed)
                one, two = Peer(realm, "n1", rng), Peer(realm, "n2", rng)
                for peer in (one, two):
                    await peer.open()
                    stack.push_async_callback(peer.close)
                one.want(str(two.endpoint.address))
                two.want(str(one.endpoint.address))
                try:
                    await settle((one, two))
                except (AssertionError, TimeoutError) as error:
                    error.add_note(f"seed {seed}")
                    raise
                doubles += max(one.ups, two.ups) > 1
        # Else nothing was simultaneous.
        assert doubles

    run(main())


def test_a_lost_link_is_found_again(realm: RealmFolder) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            rng = random.Random(1)
            one, two = Peer(realm, "n1", rng), Peer(realm, "n2", rng)
            for peer in (one, two):
                await peer.open()
                stack.push_async_callback(peer.close)
            one.want(str(two.endpoint.address))
            await eventually(lambda: one.is_settled and two.is_settled)
            for _ in range(5):
                lost = one.endpoint.links[0].number
                one.endpoint.links[0].close(ErrorCode.INTERNAL, "lost")
                await eventually(
                    lambda lost=lost: one.is_settled and one.endpoint.links[0].number != lost  # type: ignore[misc]
                )

    run(main())
