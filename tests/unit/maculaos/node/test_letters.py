"""Letters: read once, only from whom they say, and by the life that they were written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import Raw

from bare_node import call
from letter_parts import WALL, letters_of, only_routed
from maculaos.effects import Send
from maculaos.node.letters import CLOCK_SKEW_S, SAY_TAKEN_S, Letters, Reading
from maculaos.node.relay import Arrived
from maculaos.wire.messages import RpcCall, encode_message
from maculaos.wire.seals import MAX_TAKEN
from node_parts import link_to, names, node_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.wire.table import Routed, Seal
from maculaos.wire.values import MAX_VALUE_SIZE

CALL = call()


def arrived(routed: Routed, message: object = CALL) -> Arrived:
    """It comes to its reader, over m5."""
    source = node_id(next(name for name in names(10) if node_id(name) == routed.source))
    return Arrived(source, message, link_to("m5"), routed)  # type: ignore[arg-type]


def written(writer: Letters, now: float = 1.0, until: float = 60.0) -> Routed:
    """A letter to m9."""
    return only_routed(writer.send(node_id("m9"), CALL, now, until))


def test_letter_is_read_once_however_often_it_comes() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    letter = written(writer)
    assert letter.frame == encode_message(CALL)
    assert reader.read(arrived(letter), 1.1) is Reading.READ
    assert reader.read(arrived(letter), 1.2) is Reading.DROPPED
    again = only_routed(writer.advance(1.5))
    assert again.frame == letter.frame
    assert again != letter
    assert reader.read(arrived(again), 1.6) is Reading.DROPPED


def test_letter_is_sent_again_until_its_reader_says_that_it_took_it() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    reader.read(arrived(written(writer)), 1.1)
    assert reader.next_deadline() == pytest.approx(1.1 + SAY_TAKEN_S)
    taken = only_routed(reader.advance(1.1 + SAY_TAKEN_S))
    assert taken.frame == b""
    assert writer.read(arrived(taken, None), 1.3) is Reading.DROPPED
    assert len(writer) == 0
    assert writer.advance(10.0) == []


def test_answer_says_along_that_its_question_was_taken() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    reader.read(arrived(written(writer)), 1.1)
    answer = only_routed(reader.send(node_id("m0"), CALL, 1.15, 60.0))
    assert writer.read(arrived(answer), 1.2) is Reading.READ
    assert len(writer) == 0


def seal_of(letter: Routed) -> Seal:
    """The seal of a letter."""
    assert letter.seal is not None
    return letter.seal


def with_seal(letter: Routed, **changes: object) -> Routed:
    """The same letter with something else in its seal."""
    return msgspec.structs.replace(letter, seal=msgspec.structs.replace(seal_of(letter), **changes))


FORGERIES: list[Callable[[Routed], Routed]] = [
    lambda letter: msgspec.structs.replace(letter, source=node_id("m3")),
    lambda letter: msgspec.structs.replace(letter, target=node_id("m8")),
    lambda letter: msgspec.structs.replace(letter, frame=letter.frame + b"x"),
    lambda letter: with_seal(letter, number=seal_of(letter).number + 1),
    lambda letter: with_seal(letter, life=seal_of(letter).life + 1),
    lambda letter: with_seal(letter, stamp_ms=seal_of(letter).stamp_ms + 1),
    lambda letter: with_seal(letter, age_ms=1),
    lambda letter: with_seal(letter, taken=(5,)),
    lambda letter: with_seal(letter, reader_life=7),
    lambda letter: with_seal(letter, number=-1),
    lambda letter: with_seal(letter, public_key=node_id("m3")),
    lambda letter: with_seal(letter, signature=b""),
    lambda letter: msgspec.structs.replace(letter, seal=None),
]


@pytest.mark.parametrize("forge", range(len(FORGERIES)))
def test_nothing_of_a_letter_can_be_changed_but_its_hops(forge: int) -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    letter = written(writer)
    forged = FORGERIES[forge](letter)
    assert reader.read(arrived(forged), 1.1) is Reading.DROPPED
    onward = msgspec.structs.replace(letter, hops=3)
    assert reader.read(arrived(onward), 1.1) is Reading.READ


def test_letter_of_long_ago_or_of_the_future_is_not_read() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    letter = written(writer)
    assert reader.read(arrived(letter), 1.0 + CLOCK_SKEW_S + 1) is Reading.DROPPED
    writer.set_wall_clock(WALL + CLOCK_SKEW_S + 10, 0.0)
    assert reader.read(arrived(written(writer)), 1.0) is Reading.DROPPED


def test_letter_that_was_kept_is_not_read_by_the_next_life_of_its_reader() -> None:
    writer = letters_of("m0", "m1")
    letter = written(writer, now=1.0)
    again = letters_of("m9", "m5", now=2.0)
    assert again.read(arrived(letter), 2.1) is Reading.DROPPED


def test_letter_that_the_former_life_may_have_read_says_so() -> None:
    writer = letters_of("m0", "m1")
    written(writer, now=1.0)
    reader = letters_of("m9", "m5", now=1.2)
    late = only_routed(writer.advance(1.5))
    assert reader.read(arrived(late), 1.6) is Reading.OF_FORMER_LIFE
    long_there = letters_of("m9", "m5", now=0.0)
    assert long_there.read(arrived(late), 4.0) is Reading.READ


def test_letter_that_was_written_to_this_life_is_read_however_late_and_by_no_other() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5", now=1.0)
    writer.read(arrived(only_routed(reader.send(node_id("m0"), CALL, 1.1, 60.0))), 1.2)
    written(writer, now=1.3)
    late = only_routed(writer.advance(1.8))
    assert seal_of(late).age_ms > 0
    assert reader.read(arrived(late), 1.9) is Reading.READ
    next_life = letters_of("m9", "m5", now=1.5, seed=2)
    assert next_life.read(arrived(late), 1.9) is Reading.OF_FORMER_LIFE


def test_letter_to_a_life_that_is_over_is_read_if_it_was_written_after_that() -> None:
    writer, former = letters_of("m0", "m1"), letters_of("m9", "m5")
    writer.read(arrived(only_routed(former.send(node_id("m0"), CALL, 1.1, 60.0))), 1.2)
    later = letters_of("m9", "m5", now=2.0, seed=2)
    written(writer, now=8.0)
    late = only_routed(writer.advance(8.5))
    assert later.read(arrived(late), 8.6) is Reading.READ


def test_next_life_of_a_writer_is_read_and_its_former_one_is_not_any_more() -> None:
    former, later = letters_of("m0", "m1"), letters_of("m0", "m1", seed=2)
    reader = letters_of("m9", "m5")
    kept = written(former, now=1.0)
    assert reader.read(arrived(written(former, now=1.1)), 1.2) is Reading.READ
    assert reader.read(arrived(written(later, now=2.0)), 2.1) is Reading.READ
    assert reader.read(arrived(kept), 2.2) is Reading.DROPPED


def test_without_a_seal_nothing_is_sent_and_nothing_is_believed() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    reader.seal = None
    assert reader.read(arrived(written(writer)), 1.1) is Reading.DROPPED
    assert reader.send(node_id("m0"), CALL, 1.0, 2.0) == []


def test_seals_of_one_neighbour_that_are_looked_at_in_a_second_are_bounded() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    forged = FORGERIES[2](written(writer))
    letter = written(writer)
    for _ in range(2000):
        reader.read(arrived(forged), 1.1)
    assert reader.read(arrived(letter), 1.2) is Reading.DROPPED
    assert reader.read(arrived(letter), 2.0) is Reading.READ


def test_letter_that_was_not_taken_goes_another_way() -> None:
    writer = letters_of("m0", "m1", "m2", "m3")
    links = []
    for effects in (writer.send(node_id("m9"), CALL, 1.0, 60.0), writer.advance(1.5)):
        assert effects is not None
        links += [each.link for each in effects if isinstance(each, Send)]
    assert len(set(links)) == 2


def test_life_and_numbers_differ_at_every_start() -> None:
    one, two = (written(letters_of("m0", "m1", seed=seed)) for seed in (1, 2))
    assert one.seal is not None
    assert two.seal is not None
    assert one.seal.life != two.seal.life
    assert one.seal.number != two.seal.number


def test_largest_value_fits_its_envelope_whatever_was_taken() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    for _ in range(300):
        reader.read(arrived(written(writer)), 1.1)
    largest = RpcCall(1 << 40, "m" * 255, 1000, bytes(32), Raw(bytes(MAX_VALUE_SIZE)), 3, 2, 9999)
    routed = only_routed(reader.send(node_id("m0"), largest, 1.2, 60.0))
    encode_message(routed)
    alone = only_routed(reader.advance(1.3))
    assert seal_of(alone).taken


def test_more_than_one_envelope_can_say_was_taken_is_said_by_the_next() -> None:
    writer, reader = letters_of("m0", "m1"), letters_of("m9", "m5")
    for _ in range(MAX_TAKEN + 10):
        reader.read(arrived(written(writer)), 1.1)
    for now, left in ((1.3, 10), (1.5, 0)):
        writer.read(arrived(only_routed(reader.advance(now)), None), now)
        assert len(writer) == left
