"""The guard: it refuses all that no jail asked for, and is read back as it was written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces import guard, nft
from jails.namespaces.guard import Guard, Wishes

JAIL = ("br0", "10.77.1.11")
WISHES = Wishes(frozenset({JAIL}), frozenset({"br0", "eth0"}))
NAMES = st.sampled_from(["br0", "br1", "eth0", "wlan0"])


def rules(wanted: Guard, family: str = nft.IPV4) -> list[list[dict[str, Any]]]:
    said = json.loads(guard.commands(family, wanted))["nftables"]
    return [each["add"]["rule"]["expr"] for each in said if "rule" in each.get("add", {})]


def sets(wanted: Guard, family: str = nft.IPV4) -> tuple[nft.Elements, ...]:
    """What nft(8) would list of it."""
    said = json.loads(guard.commands(family, wanted))["nftables"]
    made = [each["add"] for each in said if "set" in each.get("add", {})]
    return nft.parse_sets(json.dumps({"nftables": made}))


def test_without_a_jail_or_anything_opened_there_is_no_guard() -> None:
    opened = frozenset({"eth0"})
    assert guard.wanted_guard(WISHES, opened) == Guard(opened, frozenset({JAIL}))
    assert guard.wanted_guard(WISHES, frozenset()) == guard.NOTHING
    nobody = Wishes(frozenset(), frozenset())
    assert guard.wanted_guard(nobody, opened) == guard.NOTHING


@given(
    st.frozensets(NAMES),
    st.frozensets(st.tuples(NAMES, st.sampled_from(["10.77.1.11", "10.77.1.12"]))),
)
def test_what_is_written_is_read_back(
    opened: frozenset[str], jails: frozenset[tuple[str, str]]
) -> None:
    written = Guard(opened, jails)
    assert guard.read_guard(nft.IPV4, sets(written)) == written
    assert guard.read_guard(nft.IPV6, sets(written)) == guard.NOTHING


def test_wishes_are_those_of_the_tables_of_jails_and_of_nobody_else() -> None:
    def table(name: str) -> list[nft.Elements]:
        return [
            nft.Elements(nft.IPV4, name, nft.JAILS, frozenset({JAIL})),
            nft.Elements(nft.IPV4, name, nft.THROUGH, frozenset({("eth0",)})),
        ]

    ours = guard.read_wishes(nft.IPV4, table("macula-0123abcd-n1"))
    assert ours == Wishes(frozenset({JAIL}), frozenset({"eth0"}))
    for other in ("filter", guard.TABLE):
        assert guard.read_wishes(nft.IPV4, table(other)) == Wishes(frozenset(), frozenset())


def test_the_last_rule_refuses_and_only_those_before_it_let_through() -> None:
    found = rules(Guard(frozenset({"eth0"}), frozenset({JAIL})))
    assert [rule[-1] for rule in found] == [{"accept": None}] * 5 + [{"drop": None}]
    assert len(found[-1]) == 1


def test_one_switch_for_all_means_that_all_is_looked_at() -> None:
    every = rules(Guard(frozenset({guard.ALL}), frozenset({JAIL})), nft.IPV6)
    one = rules(Guard(frozenset({"eth0"}), frozenset({JAIL})), nft.IPV6)
    assert every == one[1:]
