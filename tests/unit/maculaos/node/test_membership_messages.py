"""Membership between nodes: how it travels, and what no honest peer says."""

from __future__ import annotations

import pytest

from bare_node import ADDRESS, closed, dialled, identity, linked_node, sent
from maculaos.effects import Carriage, Send
from maculaos.errors import RemoteProtocolError
from maculaos.identity import NodeId
from maculaos.node.sayings import from_wire, to_wire
from maculaos.swim.rumour import NOBODY, Health, Rumour
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import (
    Digest,
    Heartbeat,
    Message,
    Nack,
    Ping,
    PingRequest,
    Pong,
    decode_message,
    encode_message,
)
from maculaos.wire.messages import Rumour as Saying
from maculaos.wire.registry import ErrorCode
from maculaos.wire.table import Routed

SAYING = Saying(bytes(32), "x", ("10.0.0.1:1",), 3, 1, b"meta", b"a" * 32)


def test_rumours_come_back_as_they_were() -> None:
    rumour = Rumour(3, Health.SUSPECT, ("a:1",), "x", NodeId(bytes(32)), b"m", NodeId(b"a" * 32))
    assert from_wire(to_wire((rumour,)), 1) == (rumour,)


def test_good_news_has_no_accuser() -> None:
    (rumour,) = from_wire((Saying(bytes(32), "x", (), 3, 0, b"", b"a" * 32),), 1)
    assert rumour.accuser == NOBODY


def test_a_rumour_of_an_older_peer_has_no_metadata() -> None:
    (rumour,) = from_wire((Saying(bytes(32), "x", (), 3, 1),), 1)
    assert (rumour.metadata, rumour.accuser) == (b"", NOBODY)


@pytest.mark.parametrize(
    "saying",
    [
        Saying(bytes(32), "x", (), 0, 0, bytes(513)),
        Saying(bytes(32), "x", (), 0, 1, b"", b"short"),
    ],
)
def test_absurd_metadata_and_accusers_are_refused(saying: Saying) -> None:
    with pytest.raises(RemoteProtocolError):
        from_wire((saying,), 1)


@pytest.mark.parametrize(
    "message",
    [
        PingRequest(1, b"short"),
        Digest(1, 2, b"short"),
        Digest(-1, 2),
        Digest(1, -2),
        Digest(1, 1 << 64),
        Heartbeat((), True, b"\1\1"),
        Ping(1, (SAYING,) * 33),
        Pong(1, (SAYING,) * 33),
    ],
)
def test_what_no_honest_peer_says_costs_the_link(message: Message) -> None:
    node = linked_node("b", "c")
    assert closed(node.receive(1, message, 0.0)) == [(1, ErrorCode.MALFORMED)]


def test_a_ping_request_is_carried_out_and_its_answer_relayed() -> None:
    node = linked_node("b", "c")
    ((link, ping),) = sent(node.receive(1, PingRequest(9, identity("c").node_id), 0.0), Ping)
    assert link == 2
    assert isinstance(ping, Ping)
    assert sent(node.receive(2, Pong(ping.sequence), 0.1), Pong) == [(1, Pong(9))]
    assert sent(node.receive(1, PingRequest(10, bytes(32)), 0.2), Nack) == [(1, Nack(10))]


def test_probes_travel_in_datagrams_and_states_on_the_stream() -> None:
    node = linked_node("b", "c")
    effects = [
        *node.receive(1, Ping(1), 0.0),
        *node.receive(1, Heartbeat((), wants_reply=True), 0.0),
    ]
    carried = {type(each.message): each.carriage for each in effects if isinstance(each, Send)}
    assert carried == {Pong: Carriage.DATAGRAM, Heartbeat: Carriage.STREAM}


@pytest.mark.parametrize("raises_doubt", [True, False])
def test_member_out_of_reach_is_asked_about_unless_it_said_that_it_has_no_room(
    raises_doubt: bool,
) -> None:
    node = linked_node("b")
    about = Saying(identity("c").node_id, "c", (ADDRESS["c"],), 0, 0)
    node.receive(1, Heartbeat((about,)), 0.0)
    while not dialled(node.advance(node.next_deadline())):
        assert node.next_deadline() < 5.0
    effects = node.dial_failed(ADDRESS["c"], "why", 5.0, raises_doubt=raises_doubt)
    while (now := node.next_deadline()) < 8.0:
        effects += node.advance(now)
        for link, ping in sent(effects, Ping):
            assert isinstance(ping, Ping)
            node.receive(link, Pong(ping.sequence), now)
    requests = [each for _, each in sent(effects, PingRequest) if isinstance(each, PingRequest)]
    assert any(each.target == about.node_id for each in requests) == raises_doubt


def test_probe_in_an_envelope_is_answered_over_the_link_it_came_in_on() -> None:
    node = linked_node("b", "c")
    about = Saying(identity("d").node_id, "d", (ADDRESS["d"],), 0, 0)
    node.receive(1, Heartbeat((about,)), 0.0)
    me, asker = identity("a").node_id, identity("d").node_id
    effects = node.receive(2, Routed(me, asker, 3, encode_message(Ping(9))), 0.1)
    ((link, answer),) = sent(effects, Routed)
    assert isinstance(answer, Routed)
    assert (link, answer.target, answer.source) == (2, asker, me)
    assert answer.frame == encode_message(Pong(9))


def test_helper_without_link_to_the_target_asks_it_in_an_envelope_and_tells_the_answer() -> None:
    helper = linked_node("b", "c")
    me, target = identity("a").node_id, identity("d").node_id
    helper.receive(1, Heartbeat((Saying(target, "d", (ADDRESS["d"],), 0, 0),)), 0.0)
    ((_, asked),) = sent(helper.receive(1, PingRequest(5, target), 0.1), Routed)
    assert isinstance(asked, Routed)
    (frame,) = FrameReader().feed(asked.frame)
    ping = decode_message(frame)
    assert isinstance(ping, Ping)
    answer = Routed(me, target, 3, encode_message(Pong(ping.sequence)))
    assert sent(helper.receive(2, answer, 0.2), Pong) == [(1, Pong(5))]
