"""Who is to answer a call: the providers that this node knows, and the choice among them.

Providers are this node's own clients, neighbours that announced the method, and members that were
found in the distributed table. A client that said how many calls it takes at once is passed over
while so many wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.rpc.choosing import Chooser
from maculaos.rpc.parties import Party, is_client, number_of, of_client, of_link
from maculaos.wire.registry import Choice

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from maculaos.node.links import Links
    from maculaos.node.offers import Offers
    from maculaos.node.paths import Paths
    from maculaos.node.seeking import Seeking
    from maculaos.rpc.desks import Desk

_NEAREST: Final = int(Choice.NEAREST)
_RANDOM: Final = int(Choice.RANDOM)
_LEAST_PENDING: Final = int(Choice.LEAST_PENDING)


class Choosing:
    """Everybody who answers methods, as far as this node knows."""

    def __init__(
        self,
        offers: Offers,
        seeking: Seeking,
        links: Links,
        paths: Paths,
        rng: random.Random,
        waiting_for: Callable[[Party], int],
    ) -> None:
        self.offers = offers
        self.seeking = seeking
        self._links = links
        self._paths = paths
        self._chooser = Chooser(rng, waiting_for)

    def desk_of(self, provider: Party, method: str) -> Desk | None:
        """Where calls of ``method`` wait for ``provider``, if it said how many it takes."""
        return self.offers.desks.of(number_of(provider), method) if is_client(provider) else None

    def local(self, method: str, tried: tuple[Party, ...]) -> Party | None:
        """A client of this node that takes one more call, each in turn."""
        client = self.offers.clients.choose(method)
        if client is None or not (tried or len(self.offers.desks)):
            return None if client is None else of_client(client)
        busy = [number_of(each) for each in tried if is_client(each)]
        while client is not None:
            desk = self.offers.desks.of(client, method)
            if client not in busy and (desk is None or not desk.is_full):
                return of_client(client)
            busy.append(client)
            client = self.offers.clients.choose(method, busy)
        return None

    def anybody(self, method: str, choice: int, tried: tuple[Party, ...]) -> Party | None:
        """One of all that are known, by the policy of that number (``Choice``)."""
        if choice == _NEAREST:
            return self._nearest(method, tried)
        known = [each for each in self._known(method) if each not in tried]
        if choice == _RANDOM:
            return self._chooser.by_lot(known)
        if choice == _LEAST_PENDING:
            return self._chooser.least_pending(method, known)
        return self._chooser.in_turn(method, known)

    def is_busy(self, method: str) -> bool:
        """Whether clients of this node answer ``method``; asked when none of them was chosen."""
        return bool(self.offers.clients.sources(method))

    def denied(self, provider: Party, method: str) -> None:
        """That provider does not answer ``method``: what was found in the table holds no more."""
        number = number_of(provider)
        link = None if is_client(provider) else self._links.get(number)
        path = number if link is None else self._paths.number_of(link.peer.node_id)
        self.seeking.deny(path, method)

    def _nearest(self, method: str, tried: tuple[Party, ...]) -> Party | None:
        """Own clients, then neighbours, then members that were found; each in turn."""
        local = self.local(method, tried)
        if local is not None:
            return local
        avoided = [number_of(each) for each in tried if not is_client(each)] if tried else ()
        number = self.offers.peers.choose(method, avoided)
        return self._found(method, avoided) if number is None else of_link(number)

    def _found(self, method: str, avoided: Sequence[int]) -> Party | None:
        """A member that was found, over its link if there is one by now."""
        passed_over = avoided
        while (path := self.seeking.choose(method, passed_over)) is not None:
            link = self._link_beside(path)
            if link is None or link not in avoided:
                return of_link(path if link is None else link)
            passed_over = (*passed_over, path)
        return None

    def _known(self, method: str) -> list[Party]:
        """Everybody, once, in an order that stays while nobody comes or goes."""
        open_clients = [
            client
            for client in sorted(self.offers.clients.sources(method))
            if (desk := self.offers.desks.of(client, method)) is None or not desk.is_full
        ]
        links = dict.fromkeys(sorted(self.offers.peers.sources(method)))
        for path in sorted(self.seeking.known(method), reverse=True):
            links[self._link_beside(path) or path] = None
        return [*map(of_client, open_clients), *map(of_link, links)]

    def _link_beside(self, path: int) -> int | None:
        """The link to the member of that path, if there is one by now."""
        member = self._paths.member_at(path)
        link = None if member is None else self._links.to(member)
        return None if link is None else link.number
