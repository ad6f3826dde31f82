"""What the node answers itself: members, stats, version, topology, join."""

from __future__ import annotations

from msgspec import Raw

from bare_node import ADDRESS, ask, dialled, identity, linked_node, told
from maculaos.node.answers import found
from maculaos.swim.rumour import Health
from maculaos.wire.messages import Heartbeat, RpcCall, RpcError, Rumour
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import Value, encode_value
from node_parts import cores_of, found_by, rumour


def test_members_list_this_node_first_and_tell_who_is_linked() -> None:
    node = linked_node("b")
    node.receive(1, Heartbeat((Rumour(identity("c").node_id, "c", (ADDRESS["c"],), 2, 0),)), 0.0)
    listed = ask(node, "macula.members")
    assert isinstance(listed, list)
    shown = [
        (each["name"], each["is_self"], each["linked"], each["health"], each["incarnation"])
        for each in listed
        if isinstance(each, dict)
    ]
    assert shown == [
        ("a", True, False, "alive", 0),
        ("b", False, True, "alive", 0),
        ("c", False, False, "alive", 2),
    ]


def test_stats_version_and_topology_are_answered() -> None:
    node = linked_node("b")
    stats, version, topology = (
        ask(node, f"macula.{name}") for name in ("stats", "version", "topology")
    )
    assert isinstance(stats, dict)
    assert isinstance(version, dict)
    assert isinstance(topology, dict)
    assert stats["links"] == stats["clients"] == 1
    assert stats["members"] == {"alive": 2, "suspect": 0, "dead": 0, "left": 0}
    assert version["software"] == "test 1.0"
    assert [each["name"] for each in topology["neighbours"]] == ["b"]  # type: ignore[union-attr, index, call-overload]


def test_join_dials_and_bad_addresses_are_refused() -> None:
    node = linked_node()
    wish = encode_value({"address": ADDRESS["b"]})
    effects = node.receive_from_client(1, RpcCall(1, "macula.join", 1000, b"", wish), 0.0)
    assert dialled(effects) == [ADDRESS["b"]]
    wishes: tuple[Value, ...] = ({"address": "nonsense"}, {"address": 7}, None)
    for bad in wishes:
        join = RpcCall(1, "macula.join", 1000, b"", encode_value(bad))
        ((_, answer),) = told(node.receive_from_client(1, join, 0.0))
        assert isinstance(answer, RpcError)
        assert answer.code == RpcErrorCode.INVALID_REQUEST
    torn = RpcCall(1, "macula.join", 1000, b"", Raw(b"\xc1"))
    ((_, answer),) = told(node.receive_from_client(1, torn, 0.0))
    assert isinstance(answer, RpcError)


def test_who_is_known_to_be_gone_is_not_told_as_found() -> None:
    cores = cores_of(linked=("m1", "m2"))
    result = found_by(1, bytes(32), "m1", "m2", "stranger")
    cores.membership.hear((rumour("m2", Health.DEAD),), 1.0)
    told = found(result, cores.membership)
    assert isinstance(told, dict)
    nodes = told["nodes"]
    assert isinstance(nodes, list)
    assert [each["name"] for each in nodes if isinstance(each, dict)] == ["m1", None]
