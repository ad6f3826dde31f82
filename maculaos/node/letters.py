"""Letters: messages to members without a link, that arrive once, and from whom they say.

A letter travels in an envelope (``maculaos.node.relay``) under its writer's seal. It is sent again
until it is taken, and read once; which letters were taken goes along with the next one, or alone
a moment later. Letters may overtake each other: order is the business of who needs it.
"""

from __future__ import annotations

import math
import struct
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.kademlia.rates import Allowance
from maculaos.node.inbox import Inbox, Verdict
from maculaos.node.outbox import Letter, Outbox
from maculaos.node.routing import MAX_HOPS
from maculaos.wire.messages import encode_message
from maculaos.wire.seals import MAX_TAKEN, sealed_text
from maculaos.wire.table import Routed, Seal

if TYPE_CHECKING:
    import random

    from maculaos.effects import Effect
    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.links import Link
    from maculaos.node.relay import Arrived, Relay
    from maculaos.wire.messages import Message

#: Clocks of one realm differ by less than this (RFC 4120, 5.2.6, has as much for Kerberos).
CLOCK_SKEW_S: Final = 300.0
#: What was taken is said with the next letter, or alone after so many seconds.
SAY_TAKEN_S: Final = 0.1
# Beside a larger frame there is no room for what was taken: it goes alone.
_LARGE: Final = 1 << 20
# No envelope is longer on its way than this, whatever waits between.
_TRANSIT_S: Final = 2.0
# Seals of one neighbour that are looked at in a second; each costs some 0.1 ms.
_SEALS_PER_SECOND: Final = 2_000


class LetterSeal(Protocol):
    """Signatures of letters, made as this node and checked as of any other."""

    def sign(self, text: bytes) -> tuple[bytes, bytes]:
        """This node's public key, and its signature of ``text``."""
        ...

    def is_genuine(self, writer: bytes, public_key: bytes, signature: bytes, text: bytes) -> bool:
        """Whether ``writer`` signed ``text``."""
        ...


class Reading(Enum):
    """What becomes of an envelope that came in."""

    READ = "read"
    #: Genuine, but perhaps first sent before this node started: its former life may have read it.
    OF_FORMER_LIFE = "of former life"
    DROPPED = "dropped"


class Letters:
    """The letters of node ``me``, which starts at ``now``; monotonic seconds.

    Without a ``seal`` nothing is sent and nothing is believed.
    """

    def __init__(
        self,
        me: NodeId,
        relay: Relay,
        counters: Counters,
        limit: int,
        rng: random.Random,
        now: float,
    ) -> None:
        self._me = me
        self._relay = relay
        self._counters = counters
        self._started_at = now
        self._wall_offset_s = -now
        # Above 0: it says that there is one.
        self._life = rng.getrandbits(48) | 1
        self._outbox = Outbox(rng.getrandbits(32))
        self._inbox = Inbox(limit, horizon=-1)
        self._allowance = Allowance(_SEALS_PER_SECOND)
        # Letters that were taken, by writer, and when that is said.
        self._taken: dict[NodeId, list[int]] = {}
        self._say_at = math.inf
        self.seal: LetterSeal | None = None

    def __len__(self) -> int:
        """How many letters were sent and not taken yet."""
        return len(self._outbox)

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch."""
        self._wall_offset_s = wall - now
        if self._inbox.horizon < 0:
            # What was written to an earlier life of this node is not for this one.
            self._inbox.horizon = int((wall - (now - self._started_at)) * 1000)

    def send(
        self,
        to: NodeId,
        message: Message,
        now: float,
        until: float,
        *,
        back_over: Link | None = None,
        is_word: bool = False,
    ) -> list[Effect] | None:
        """Bring ``message`` to a member, unless it takes longer than ``until``.

        ``None`` if too many letters are on their way. One that answers goes ``back_over`` the link
        that its question came over, at first; for one that ``is_word`` see ``Outbox.write``.
        """
        life, frame = self._inbox.life_of(to), encode_message(message)
        letter = self._outbox.write(to, frame, now, until, life, is_word=is_word)
        return None if letter is None else self._sent(letter, now, back_over=back_over)

    def read(self, arrived: Arrived, now: float) -> Reading:
        """An envelope came in; whether what it held is to be heard, as said by its source."""
        routed, writer = arrived.routed, arrived.source
        seal = routed.seal
        if seal is None or not self._is_timely(seal, now):
            return self._drop()
        verdict = self._judge(writer, seal)
        if verdict is Verdict.READ:
            self._take(writer, seal.number, now)
            return Reading.DROPPED
        if verdict is Verdict.STALE or not self._is_genuine(arrived, seal, now):
            return self._drop()
        self._outbox.taken(writer, seal.taken)
        if not seal.number:
            return Reading.DROPPED
        self._inbox.read(writer, seal.life, seal.number, seal.stamp_ms)
        self._take(writer, seal.number, now)
        return Reading.OF_FORMER_LIFE if self._is_of_former_life(seal, now) else Reading.READ

    def drop(self, member: NodeId) -> None:
        """That member is gone."""
        self._outbox.drop(member)
        self._taken.pop(member, None)

    def advance(self, now: float) -> list[Effect]:
        """Send again what was not taken, and say what was."""
        effects: list[Effect] = []
        for letter in self._outbox.take_due(now):
            self._counters.letters_sent_again += 1
            effects += self._sent(letter, now, is_again=letter.tries % 2 == 0)
        if self._say_at <= now:
            for writer in tuple(self._taken):
                routed = self._envelope(writer, b"", now)
                effects += self._relay.post(routed, writer) if routed is not None else []
            # What found no room is said by the next one.
            self._say_at = now + SAY_TAKEN_S if self._taken else math.inf
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min(self._outbox.next_deadline(), self._say_at)

    def _sent(
        self, letter: Letter, now: float, *, is_again: bool = False, back_over: Link | None = None
    ) -> list[Effect]:
        routed = self._envelope(letter.to, letter.frame, now, letter)
        if routed is None:
            return []
        return self._relay.post(routed, letter.to, is_again=is_again, back_over=back_over)

    def _envelope(
        self, to: NodeId, frame: bytes, now: float, letter: Letter | None = None
    ) -> Routed | None:
        """A sealed envelope, with what was taken of the letters of its reader."""
        if self.seal is None:
            return None
        waiting = self._taken.pop(to, [])
        room = MAX_TAKEN if len(frame) <= _LARGE else 0
        taken, left = tuple(waiting[:room]), waiting[room:]
        if left:
            self._taken[to] = left
        stamp = max(0, int((now + self._wall_offset_s) * 1000))
        number, reader_life, age_ms = 0, 0, 0
        if letter is not None:
            number, reader_life = letter.number, letter.reader_life
            age_ms = max(0, int((now - letter.written_at) * 1000))
        said = self._life, number, stamp, age_ms, taken
        draft = Seal(*said, reader_life=reader_life)
        text = sealed_text(Routed(to, self._me, MAX_HOPS, frame), draft)
        sealed = Seal(*said, *self.seal.sign(text), reader_life)
        return Routed(to, self._me, MAX_HOPS, frame, sealed)

    def _judge(self, writer: NodeId, seal: Seal) -> Verdict:
        if not seal.number:
            return Verdict.NEW
        return self._inbox.judge(writer, seal.life, seal.number, seal.stamp_ms)

    def _is_of_former_life(self, seal: Seal, now: float) -> bool:
        """Whether a copy of it may have come before this node started."""
        if not seal.age_ms or seal.reader_life == self._life:
            # It is the first copy, or was written when this life was known already.
            return False
        return seal.age_ms / 1000 + _TRANSIT_S > now - self._started_at

    def _is_timely(self, seal: Seal, now: float) -> bool:
        return abs(seal.stamp_ms / 1000 - self._wall_offset_s - now) <= CLOCK_SKEW_S

    def _is_genuine(self, arrived: Arrived, seal: Seal, now: float) -> bool:
        if self.seal is None or len(seal.taken) > MAX_TAKEN:
            return False
        if not self._allowance.take(arrived.link.peer.node_id, now):
            return False
        try:
            text = sealed_text(arrived.routed, seal)
        except struct.error:
            return False
        return self.seal.is_genuine(arrived.source, seal.public_key, seal.signature, text)

    def _take(self, writer: NodeId, number: int, now: float) -> None:
        """Say soon that this letter was taken; one that is forgotten comes again."""
        waiting = self._taken.setdefault(writer, [])
        if len(waiting) < 4 * MAX_TAKEN:
            waiting.append(number)
        self._say_at = min(self._say_at, now + SAY_TAKEN_S)

    def _drop(self) -> Reading:
        self._counters.envelopes_dropped += 1
        return Reading.DROPPED
