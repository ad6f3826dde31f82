"""Push-pull: two linked members compare their views, and tell each other what differs.

    A                                         B
    DIGEST(total) --------------------------> equal: nothing more is said
                  <-------------------------- DIGEST(total, buckets)
    STATE(differing buckets, wants_reply) --> merged
                  <-------------------------- STATE(what A lacks of these buckets)

When one view is small, B skips the second step and begins with all it holds. Every message stands
for itself: nothing is remembered between them, and each may be lost.

A death that is heard this way is old news, and may be the other side's view of a partition: it is
taken for a suspicion, so that the living can refute it before anybody holds them dead (memberlist
does the same).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.swim.allowance import Allowance
from maculaos.swim.digest import ALL_BUCKETS, DIGEST_SIZE
from maculaos.swim.requests import Request, SendDigest, SendState
from maculaos.swim.rumour import NOBODY, Health, Rumour, beats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.identity import NodeId
    from maculaos.swim.view import View

# Rumours in one frame of a comparison, but for one bucket that holds more.
RUMOURS_PER_FRAME: Final = 500
# A view of so few members is told rather than compared bucket by bucket.
_SMALL_VIEW: Final = 32
# What one peer may ask for; honest ones ask every few seconds, and once per frame.
_ANSWERS_AT_ONCE: Final = 64
_ANSWERS_PER_S: Final = 2.0


class Exchange:
    """Compares the view of this node with those of linked members."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.answers_allowed = Allowance(_ANSWERS_AT_ONCE, _ANSWERS_PER_S)

    def propose(self, peer: NodeId) -> SendDigest:
        """Begin a comparison."""
        return SendDigest(peer, *self._view.members.opening())

    def hear_digest(
        self, sender: NodeId, members: int, total: int, buckets: bytes, now: float
    ) -> list[Request]:
        """A linked member tells the digest of its view."""
        digest = self._view.members.digest
        if total == digest.total or not self.answers_allowed.take(sender, now):
            return []
        if len(buckets) == DIGEST_SIZE:
            return [*self._tell(sender, digest.differing(buckets))]
        size = self._view.size()
        if min(size, members) <= _SMALL_VIEW:
            return [*self._tell(sender, ALL_BUCKETS)]
        return [SendDigest(sender, size, digest.total, digest.packed())]

    def soften(self, rumours: Iterable[Rumour]) -> list[Rumour]:
        """The rumours of a state, with deaths of members that live here made suspicions."""
        return [
            each._replace(health=Health.SUSPECT, accuser=NOBODY)
            if each.health is Health.DEAD and self._view.members.is_present(each.node_id)
            else each
            for each in rumours
        ]

    def reply(
        self, sender: NodeId, rumours: Iterable[Rumour], buckets: bytes, now: float
    ) -> list[Request]:
        """Tell who told its state what it lacks; everything if it told none."""
        if not self.answers_allowed.take(sender, now):
            return []
        if not buckets:
            return [SendState(sender, self._view.state(), buckets=ALL_BUCKETS)]
        theirs = {each.node_id: each for each in rumours}
        wanted = frozenset(buckets)
        lacking = tuple(
            own
            for own in self._view.state()
            if own.node_id[0] in wanted and _is_worth_telling(own, theirs.get(own.node_id))
        )
        return [
            SendState(sender, lacking[start : start + RUMOURS_PER_FRAME], buckets=buckets)
            for start in range(0, len(lacking), RUMOURS_PER_FRAME)
        ]

    def _tell(self, peer: NodeId, buckets: bytes) -> Iterator[SendState]:
        """All that is held in ``buckets``, in frames of whole buckets."""
        wanted = frozenset(buckets)
        held: dict[int, list[Rumour]] = {bucket: [] for bucket in buckets}
        for rumour in self._view.state():
            if rumour.node_id[0] in wanted:
                held[rumour.node_id[0]].append(rumour)
        frame: list[Rumour] = []
        covered = bytearray()
        for bucket, rumours in held.items():
            if frame and len(frame) + len(rumours) > RUMOURS_PER_FRAME:
                yield SendState(peer, tuple(frame), wants_reply=True, buckets=bytes(covered))
                frame, covered = [], bytearray()
            frame += rumours
            covered.append(bucket)
        if covered:
            yield SendState(peer, tuple(frame), wants_reply=True, buckets=bytes(covered))


def _is_worth_telling(own: Rumour, theirs: Rumour | None) -> bool:
    """Whether who holds ``theirs`` would believe ``own``."""
    if theirs is None:
        return own.health < Health.DEAD
    return beats(own, theirs)
