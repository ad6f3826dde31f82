"""Laws of agreement: who differs for a while is asked, seldom, and in the end all know the same."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from chat.agreement import INTERVAL_S, MAX_DIFFERENCES, MAX_PATIENCE_S, PATIENCE_S, Agreement
from chat.house import House, Me, Question
from chat.roster import BEAT_INTERVAL_S, Member

if TYPE_CHECKING:
    from chat.room import Room


def test_a_difference_counts_once_it_lasts() -> None:
    made = Agreement()
    assert not made.compare("a", "r", 1, 2, 0)
    assert not made.compare("a", "r", 1, 2, PATIENCE_S - 0.1)
    # A word came: watched anew.
    assert not made.compare("a", "r", 1, 3, PATIENCE_S)
    assert made.compare("a", "r", 1, 3, 2 * PATIENCE_S)


def test_whoever_knows_the_same_or_nothing_is_not_asked() -> None:
    made = Agreement()
    for theirs in (0, 2):
        assert not any(made.compare("a", "r", theirs, 2, now) for now in range(100))


def test_a_room_is_asked_about_seldom_however_many_differ() -> None:
    made = Agreement()
    asked = []
    for tick in range(400):
        now = tick / 10
        asked += [now for seat in "abcdef" if made.compare(seat, "r", 1, 2, now)]
    assert all(later - now >= INTERVAL_S for now, later in itertools.pairwise(asked))


def test_a_difference_that_stays_is_asked_about_ever_more_seldom() -> None:
    made = Agreement()
    asked = [now for now in range(1000) if made.compare("a", "r", 1, 2, now)]
    gaps = [later - now for now, later in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == MAX_PATIENCE_S


def test_differences_are_bounded_and_forgotten_with_their_room() -> None:
    made = Agreement()
    for number in range(MAX_DIFFERENCES + 1):
        made.compare(str(number), "r", 1, 2, 0)
    assert not made.compare("0", "r", 1, 2, 9)  # pushed out, and watched anew
    assert made.compare("5", "r", 1, 2, 9)
    made.forget_room("r")
    assert not made.compare("7", "r", 1, 2, 99)


class World:
    """People in one room, a network that loses most of what is said, and time."""

    def __init__(self, people: int, seed: int, loss: float) -> None:
        self.random = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.houses = [House(Me(f"{n:016x}", f"p{n}", n)) for n in range(people)]
        for house in self.houses:
            house.enter("lobby")

    def room_of(self, house: House) -> Room:
        return house.rooms["#lobby"]

    def node_of(self, house: House) -> str:
        return house.me.seat * 4

    def say(self, house: House) -> None:
        message = house.compose("#lobby", "something", self.now_ms)
        for other in self.others(house):
            other.hear("lobby", message, self.node_of(house), self.now_ms)

    def beat(self) -> None:
        """One round of beats, and what is asked because of them."""
        self.now += BEAT_INTERVAL_S
        for house in self.houses:
            beat = house.beat()
            for other in self.others(house):
                asked = other.hear_beat(beat, self.node_of(house), self.now, self.now_ms)
                self.answer(other, asked)

    def answer(self, house: House, asked: list[Question]) -> None:
        for question in asked:
            told = self.room_of(self.house_of(question.member)).transcript.last()
            if self.random.random() >= self.loss:
                house.learn(question.room, told, self.now_ms)

    def house_of(self, member: Member) -> House:
        return next(house for house in self.houses if house.me.seat == member.seat)

    def others(self, house: House) -> list[House]:
        """Whom what ``house`` says reaches."""
        reached = [other for other in self.houses if other is not house]
        return [other for other in reached if self.random.random() >= self.loss]

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 2**32), st.floats(0, 0.6))
def test_in_the_end_all_know_the_same_whatever_is_lost(people: int, seed: int, loss: float) -> None:
    world = World(people, seed, loss)
    for _ in range(10):
        world.beat()
        for house in world.houses:
            if world.random.random() < 0.5:
                world.say(house)
    for _ in range(300):
        world.beat()
    talks = {tuple(m.identity for m in world.room_of(h).transcript.messages) for h in world.houses}
    assert len(talks) == 1
