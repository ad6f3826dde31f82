"""A member of the realm that lies and floods: nothing grows without bound, the node goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bare_node import (
    HI,
    ask,
    call,
    closed,
    counter,
    dialled,
    identity,
    linked_node,
    met,
    sent,
    told,
)
from maculaos.kademlia.methods import method_key
from maculaos.node.entries import record_to_wire
from maculaos.wire.events import TARGET_SIZE, Events, Interest, Watch, Wish
from maculaos.wire.messages import (
    Heartbeat,
    Message,
    Ping,
    Pong,
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
    Rumour,
    encode_message,
)
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.table import Contact, FindNode, FindValue, Nodes, Routed, Values
from maculaos.wire.values import decode_value, encode_value
from node_parts import record_by

if TYPE_CHECKING:
    from maculaos.node import Node

FAKES = 10_000
MEMBERS = 500


def fake(number: int) -> Rumour:
    """A member that there is not."""
    return Rumour(number.to_bytes(32), f"fake{number}", (f"10.9.9.9:{number % 60_000 + 1}",), 0, 0)


def announce(node: Node, count: int, now: float) -> None:
    """Neighbour 1 tells of so many fakes, in frames as large as it may send."""
    for start in range(0, count, MEMBERS):
        fakes = tuple(map(fake, range(start, min(count, start + MEMBERS))))
        node.receive(1, Heartbeat(fakes), now)


def run(node: Node, since: float, until: float) -> list[str]:
    """Let time pass while no dial is answered; links answer probes; return what was dialled."""
    addresses: list[str] = []
    now = since
    while (now := max(now, node.next_deadline())) <= until:
        waiting = node.advance(now)
        while waiting:
            new = dialled(waiting)
            addresses += new
            probes = sent(waiting, Ping)
            waiting = [each for one in new for each in node.dial_failed(one, "nobody", now)]
            for link, probe in probes:
                assert isinstance(probe, Ping)
                waiting += node.receive(link, Pong(probe.sequence), now)
    return addresses


def sizes(node: Node) -> tuple[int, ...]:
    """How much the node holds: members, links, contacts, records, searches, questions."""
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    members, links, table = stats["members"], stats["links"], stats["table"]
    assert isinstance(members, dict)
    assert isinstance(table, dict)
    held = [sum(int(str(each)) for each in members.values()), int(str(links))]
    held += [int(str(table[name])) for name in ("contacts", "records", "lookups", "waiting")]
    return tuple(held)


def test_ten_thousand_fake_members_fill_a_bounded_table_and_cost_no_honest_link() -> None:
    node = linked_node("b", "c", members=MEMBERS)
    announce(node, FAKES, 1.0)
    members, links, contacts, *_ = sizes(node)
    assert members <= MEMBERS + 1
    assert links == 2
    assert contacts <= MEMBERS
    assert sent(node.receive(2, Ping(5), 1.0), Pong)
    tried = run(node, since=1.0, until=31.0)
    # Wanted are few, and a dial that failed waits longer and longer.
    assert 0 < len(tried) < 600
    assert sizes(node)[1] == 2
    assert sent(node.receive(2, Ping(6), 31.0), Pong)


def test_honest_member_that_links_is_taken_in_however_full_of_fakes_the_table_is() -> None:
    node = linked_node("b", members=MEMBERS)
    announce(node, FAKES, 1.0)
    node.link_up(9, identity("c"), met("c", is_outbound=False), 2.0)
    names = ask(node, "macula.members")
    assert isinstance(names, list)
    assert any(isinstance(each, dict) and each["name"] == "c" for each in names)


def test_flood_of_events_is_taken_so_often_a_second_and_others_are_heard_still() -> None:
    node = linked_node("b", "c", "d")
    node.receive_from_client(1, Watch(0, 1, "news", 1_000_000), 0.0)
    targets = identity("a").node_id[:TARGET_SIZE] + identity("d").node_id[:TARGET_SIZE]
    copies = delivered = 0
    for number in range(21_000):
        run = Events("news", identity("x").node_id, number, (HI,), targets, 9)
        effects = node.receive(1, run, 7.0)
        copies += len(sent(effects, Events))
        delivered += len(told(effects))
    assert (delivered, copies) == (20_000, 20_000)
    honest = Events("news", identity("c").node_id, 1, (HI,))
    assert len(told(node.receive(2, honest, 7.0))) == 1


def test_flood_of_words_about_interest_leaves_no_more_behind_than_its_bound() -> None:
    node = linked_node("b", subscriptions=50, members=20)
    for number in range(500):
        nobody = number.to_bytes(32)
        wishes = tuple(Wish(f"t{number}.{each}") for each in range(10))
        node.receive(1, Interest(nobody, 1, 1, wishes), number / 100)
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    held = stats["interest"]
    assert isinstance(held, int)
    assert held <= 100


@pytest.mark.parametrize("target", ["a", "c", "nobody"])
def test_flood_of_envelopes_from_all_kinds_of_sources_leaves_nothing_behind(target: str) -> None:
    node = linked_node("b", "c")
    before = sizes(node)
    for number in range(6_000):
        source = number.to_bytes(32)
        frame = encode_message(FindNode(number, source))
        node.receive(1, Routed(identity(target).node_id, source, 3, frame), 1.0)
    assert sizes(node) == before
    assert sent(node.receive(2, Ping(5), 1.0), Pong)


def test_neighbour_that_says_rubbish_to_a_search_loses_its_link_and_the_search_ends() -> None:
    node = linked_node("b", "c")
    wish = encode_value({"node": identity("c").node_id.hex()})
    effects = node.receive_from_client(1, RpcCall(1, "macula.find", 1000, b"", wish), 0.0)
    rubbish = (Contact(b"short", ()),)
    cut, answers = [], told(effects)
    while questions := sent(effects, FindNode):
        effects = []
        for link, question in questions:
            assert isinstance(question, FindNode)
            answer = Nodes(question.request, rubbish if link == 1 else ())
            effects += node.receive(link, answer, 0.1)
        cut += closed(effects)
        answers += told(effects)
    assert [link for link, _ in cut] == [1]
    now = 0.1
    while not answers:
        now = node.next_deadline()
        assert now < 10.0
        answers = told(node.advance(now))
    ((_, found),) = answers
    assert isinstance(found, RpcResult)
    nodes = decode_value(found.payload)
    assert isinstance(nodes, dict)
    names = nodes["nodes"]
    assert isinstance(names, list)
    assert [each["name"] for each in names if isinstance(each, dict)] == ["c"]


def test_two_neighbours_that_fill_the_table_of_methods_keep_nobody_from_being_found() -> None:
    node = linked_node("b", "c", subscriptions=10)
    announce(node, 1, 0.0)  # somebody is not linked: methods are looked for in the table
    for link in (1, 2):
        node.receive(link, RpcRegister(tuple(f"x{link}.{each}" for each in range(10))), 0.0)
    provider = record_to_wire(record_by("c", method_key("add")))
    effects, now = node.receive_from_client(1, call(deadline_ms=9000), 0.0), 0.0
    for link, question in sent(effects, FindValue):
        assert isinstance(question, FindValue)
        effects += node.receive(link, Values(question.request, (provider,), ()), 0.0)
    while not (calls := sent(effects, RpcCall)):
        now = node.next_deadline()
        assert now < 9.0
        effects = node.advance(now)
    assert [link for link, _ in calls] == [2]


@pytest.mark.parametrize("method", ["bad name", "", "a..b", "x" * 300])
def test_what_is_no_method_is_looked_for_nowhere(method: str) -> None:
    node = linked_node("b", "c")
    announce(node, 1, 0.0)
    effects = node.receive_from_client(1, call(method=method), 0.0)
    ((_, refused),) = told(effects)
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.NO_PROVIDER
    assert sent(effects, FindValue) == []


def test_call_whose_provider_is_not_found_ends_at_its_deadline() -> None:
    node = linked_node("b", "c")
    announce(node, 1, 0.0)
    assert told(node.receive_from_client(1, call(deadline_ms=300), 0.0)) == []
    heard: list[tuple[int, Message]] = []
    now = 0.0
    while not heard:
        now = node.next_deadline()
        heard = told(node.advance(now))
    assert now == pytest.approx(0.3)
    ((client, refused),) = heard
    assert client == 1
    assert isinstance(refused, RpcError)
    assert (refused.call, refused.code) == (7, RpcErrorCode.DEADLINE_EXCEEDED)
    assert counter(node, "calls_failed") == 1
