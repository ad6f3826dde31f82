"""Calls that come in letters: who calls is who sealed them, and time and shares are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bare_node import HI, told
from far_parts import brought, held_by, provider_of, streamed_from, written
from letter_parts import letters_of, only_routed
from maculaos.effects import Send
from maculaos.kademlia.requests import ValueFound
from maculaos.node.relay import Arrived
from maculaos.wire.messages import Message, RpcCall, RpcCredit, RpcError, RpcResult
from maculaos.wire.registry import Answering, RpcErrorCode
from node_parts import names, node_id

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node.cores import Cores
    from maculaos.wire.table import Routed


def called(number: int = 1, deadline_ms: int = 1000, caller: bytes = b"") -> RpcCall:
    """A call of add."""
    return RpcCall(number, "add", deadline_ms, caller, HI)


def test_caller_is_who_sealed_the_letter_whatever_the_call_says() -> None:
    cores, call = provider_of(), called(caller=node_id("m1"))
    effects = brought(cores, written(letters_of("m9", "m0"), call, 10.0), call, 10.0)
    ((client, handed),) = told(effects)
    assert client == 2
    assert isinstance(handed, RpcCall)
    assert handed.caller == node_id("m9")


def test_call_that_was_sent_again_has_the_time_that_is_left() -> None:
    cores, writer, call = provider_of(), letters_of("m9", "m0"), called(deadline_ms=1000)
    written(writer, call, 10.0)
    ((_, handed),) = told(brought(cores, only_routed(writer.advance(10.5)), call, 10.6))
    assert isinstance(handed, RpcCall)
    assert handed.deadline_ms == 500


def test_answer_goes_back_in_a_letter_and_what_only_looks_like_one_is_counted() -> None:
    cores, writer, call = provider_of(), letters_of("m9", "m0"), called()
    ((_, handed),) = told(brought(cores, written(writer, call, 10.0), call, 10.0))
    assert isinstance(handed, RpcCall)
    effects = cores.calls.answer(2 << 1 | 1, RpcResult(handed.call, HI), 10.1)
    answer = only_routed(effects)
    assert (answer.target, held_by(answer)) == (node_id("m9"), RpcResult(1, HI))


def test_letter_that_comes_twice_is_run_once() -> None:
    cores, call = provider_of(), called()
    letter = written(letters_of("m9", "m0"), call, 10.0)
    assert len(told(brought(cores, letter, call, 10.0))) == 1
    assert brought(cores, letter, call, 10.1, link=2) == []


def test_call_that_the_former_life_may_have_run_is_refused() -> None:
    cores, writer, call = provider_of(), letters_of("m9", "m0"), called(deadline_ms=60_000)
    written(writer, call, 0.1)
    late = only_routed(writer.advance(1.0))
    refused = only_routed(brought(cores, late, call, 1.1))
    error = held_by(refused)
    assert isinstance(error, RpcError)
    assert (error.call, error.code) == (1, RpcErrorCode.PROVIDER_LOST)


def test_cast_that_the_former_life_may_have_run_is_not_answered() -> None:
    cores, writer = provider_of(), letters_of("m9", "m0")
    call = RpcCall(1, "add", 60_000, b"", HI, answering=Answering.NONE)
    written(writer, call, 0.1)
    late = only_routed(writer.advance(1.0))
    assert brought(cores, late, call, 1.1) == []


def sought(number: int, method: str = "unknown", answering: int = Answering.ONE) -> RpcCall:
    """A call of what nobody is known to answer."""
    return RpcCall(number, method, 60_000, b"", HI, 0, answering)


def test_number_of_a_call_whose_provider_is_looked_for_is_not_used_again() -> None:
    cores = provider_of()
    assert cores.calls.call(2, sought(7), 10.0) == []
    assert cores.calls.call(3, sought(7), 10.0) == []
    ((client, refused),) = told(cores.calls.call(2, sought(7, "other"), 10.0))
    assert client == 2
    assert isinstance(refused, RpcError)
    assert (refused.call, refused.code) == (7, RpcErrorCode.INVALID_REQUEST)


def test_cast_whose_provider_is_looked_for_uses_no_number() -> None:
    cores = provider_of()
    assert cores.calls.call(2, sought(7, answering=Answering.NONE), 10.0) == []
    assert cores.calls.call(2, sought(7), 10.0) == []


def test_calls_whose_provider_is_looked_for_are_among_those_that_wait() -> None:
    cores = provider_of()
    cores.calls.call(2, sought(7), 10.0)
    asks_over_link(cores, number=8)
    assert cores.calls.waiting == 2


def test_call_that_could_not_be_looked_for_is_overloaded_and_not_without_provider() -> None:
    cores = provider_of(pending_calls=10_000)
    for number in range(300):
        cores.calls.call(2, sought(number, f"unknown.{number}"), 10.0)
    cores.directory.carry(10.0)
    refused = [
        message
        for result in cores.directory.take_results()
        if isinstance(result, ValueFound)
        for _, message in told(cores.calls.found(result, 10.0))
    ]
    codes = [message.code for message in refused if isinstance(message, RpcError)]
    assert codes == [RpcErrorCode.OVERLOADED] * cores.directory.kademlia.counters.lookups_refused
    assert codes


def test_stream_of_which_a_part_overtook_others_is_put_to_nobody_else() -> None:
    cores, writer = provider_of(), letters_of("m5", "m1")
    handed = streamed_from(cores, "m5", number=7)
    cores.calls.offers.register(3, ("sub",), 0)
    overtaking = RpcResult(handed.call, HI, more=True, index=2)
    busy = RpcError(handed.call, RpcErrorCode.OVERLOADED, "busy", index=3)
    for message in (overtaking, busy):
        letter = only_routed(writer.send(node_id("me"), message, 10.1, 70.0))
        assert brought(cores, letter, message, 10.1, link=2) == []
    first = RpcResult(handed.call, HI, more=True, index=1)
    letter = only_routed(writer.send(node_id("me"), first, 10.1, 70.0))
    heard = [message for _, message in told(brought(cores, letter, first, 10.1, link=2))]
    part = RpcResult(7, HI, more=True)
    assert heard == [part, part, RpcError(7, RpcErrorCode.OVERLOADED, "busy")]


def test_neighbour_brings_calls_for_half_of_what_may_wait_and_others_bring_more() -> None:
    cores = provider_of(pending_calls=6)
    writers = [letters_of(name, "m0", seed=number) for number, name in enumerate(names(10)[2:])]
    outcomes = []
    for number, writer in enumerate(writers[:5]):
        call = called(number)
        link = 2 if number == 4 else 1
        effects = brought(cores, written(writer, call, 10.0), call, 10.0, link)
        outcomes.append(bool(told(effects)))
    assert outcomes == [True, True, True, False, True]


def test_member_that_is_gone_waits_for_nothing_and_its_provider_hears_so() -> None:
    cores, call = provider_of(), called()
    brought(cores, written(letters_of("m9", "m0"), call, 10.0), call, 10.0)
    assert len(cores.calls.pending) == 1
    effects = cores.calls.member_gone(node_id("m9"), 10.1)
    assert [client for client, _ in told(effects)] == [2]
    assert len(cores.calls.pending) == 0


def test_refusal_of_an_absurd_deadline_is_not_kept_for_ages() -> None:
    cores, call = provider_of(), called(deadline_ms=1 << 62)
    refused = only_routed(brought(cores, written(letters_of("m9", "m0"), call, 10.0), call, 10.0))
    error = held_by(refused)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.INVALID_REQUEST
    for tenths in range(100, 300):
        cores.calls.advance(tenths / 10)
    assert len(cores.paths.letters) == 0


def asks_over_link(cores: Cores, number: int = 7) -> RpcCall:
    """Client 2 calls sub, which m0 answers over link 1; the call as it is sent."""
    cores.calls.offers.peers.add(1, ("sub",))
    effects = cores.calls.call(2, RpcCall(number, "sub", 9000, b"", HI), 10.0)
    (effect,) = effects
    assert isinstance(effect, Send)
    assert isinstance(effect.message, RpcCall)
    return effect.message


def cut(cores: Cores, now: float, *, is_lost: bool) -> list[Effect]:
    """Link 1 to m0 goes away."""
    link = cores.links.get(1)
    assert link is not None
    cores.links.remove(link)
    return cores.calls.link_down(1, now, None if is_lost else node_id("m0"))


def letter_from(name: str, message: Message, now: float) -> tuple[Routed, Message]:
    """A letter of that member to ``me``."""
    writer = letters_of(name, "m1")
    return only_routed(writer.send(node_id("me"), message, now, now + 60.0)), message


def hear(cores: Cores, letter: tuple[Routed, Message], now: float) -> list[Effect]:
    """That letter comes in over the link to m1."""
    over = cores.links.get(2)
    assert over is not None
    routed, message = letter
    return cores.calls.read(Arrived(node_id("m0"), message, over, routed), now)


def test_call_goes_on_over_a_path_when_its_link_is_not_needed_any_more() -> None:
    cores = provider_of()
    call = asks_over_link(cores)
    assert cut(cores, 10.5, is_lost=False) == []
    answered = hear(cores, letter_from("m0", RpcResult(call.call, HI), 11.0), 11.0)
    assert told(answered) == [(2, RpcResult(7, HI))]


def test_call_ends_when_its_link_is_lost() -> None:
    cores = provider_of()
    asks_over_link(cores)
    ((client, error),) = told(cut(cores, 10.5, is_lost=True))
    assert client == 2
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.PROVIDER_LOST


def test_call_whose_link_went_away_is_asked_after_once() -> None:
    cores = provider_of()
    call = asks_over_link(cores)
    cut(cores, 10.5, is_lost=False)
    assert cores.calls.next_deadline() == 11.5
    asked = only_routed(cores.calls.advance(11.5))
    assert held_by(asked) == RpcCredit(call.call, 0)
    lost = RpcError(call.call, RpcErrorCode.PROVIDER_LOST, "lost")
    ((_, error),) = told(hear(cores, letter_from("m0", lost, 12.0), 12.0))
    assert error == RpcError(7, RpcErrorCode.PROVIDER_LOST, "lost")


def test_who_is_asked_after_a_call_that_it_does_not_have_says_so() -> None:
    cores = provider_of()
    refused = only_routed(hear(cores, letter_from("m0", RpcCredit(5, 0), 10.0), 10.0))
    error = held_by(refused)
    assert isinstance(error, RpcError)
    assert (error.call, error.code) == (5, RpcErrorCode.PROVIDER_LOST)


@pytest.mark.parametrize("knows_already", [True, False])
def test_who_is_asked_after_a_call_that_it_has_says_nothing(knows_already: bool) -> None:
    cores = provider_of()
    link = cores.links.get(1)
    assert link is not None
    ((_, handed),) = told(cores.calls.receive(link, called(5, 60_000), 10.0))
    assert isinstance(handed, RpcCall)
    if knows_already:
        cut(cores, 10.5, is_lost=False)
    assert hear(cores, letter_from("m0", RpcCredit(5, 0), 11.0), 11.0) == []
    # Who asks has no such link any more: an answer over it would be lost.
    effects = cores.calls.answer(2 << 1 | 1, RpcResult(handed.call, HI), 12.0)
    assert held_by(only_routed(effects)) == RpcResult(5, HI)


def test_calls_both_ways_leave_a_link_whose_end_was_not_heard() -> None:
    cores = provider_of()
    link = cores.links.get(1)
    assert link is not None
    cores.calls.receive(link, called(5, 60_000), 10.0)
    own = asks_over_link(cores)
    hear(cores, letter_from("m0", RpcCredit(5, 0), 11.0), 11.0)
    _, asked = cores.calls.advance(12.0)
    assert held_by(only_routed([asked])) == RpcCredit(own.call, 0)
