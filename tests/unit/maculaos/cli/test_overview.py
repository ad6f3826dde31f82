"""Overviews: rates follow from two samples, restarts and strange nodes do no harm."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maculaos.cli.overview import Sample, between


def stats(uptime_s: float, published: int, *links: dict[str, Any]) -> dict[str, Any]:
    return {
        "uptime_s": uptime_s,
        "members": {"alive": 3, "dead": 1},
        "links": len(links),
        "counters": {"events_published": published, "events_in": 5},
        "shell": {"links": list(links), "sends_dropped": 0},
    }


def link(number: int, name: str, out: int, into: int) -> dict[str, Any]:
    return {"number": number, "name": name, "bytes_out": out, "bytes_in": into, "rtt_ms": 0.5}


def test_rates_are_what_grew_in_each_second() -> None:
    before = Sample(10.0, stats(100, 50, link(1, "n2", 1000, 0)))
    after = Sample(12.0, stats(102, 90, link(1, "n2", 3000, 500)))
    found = between(before, after)
    assert found.rates["events_published"] == 20
    assert found.rates["events_in"] == 0
    assert [(each.out_per_s, each.in_per_s) for each in found.links] == [(1000, 250)]


def test_a_new_link_to_the_same_node_starts_from_zero() -> None:
    before = Sample(0.0, stats(100, 0, link(1, "n2", 9000, 9000)))
    after = Sample(1.0, stats(101, 0, link(2, "n2", 100, 0)))
    assert between(before, after).links[0].out_per_s == 100


def test_a_restarted_node_counts_from_its_start() -> None:
    found = between(Sample(0.0, stats(100, 5000)), Sample(10.0, stats(4, 80)))
    assert found.rates["events_published"] == 20


def test_the_busiest_link_comes_first() -> None:
    quiet, busy = link(1, "a", 10, 0), link(2, "b", 0, 9000)
    found = between(Sample(0.0, {}), Sample(1.0, stats(1, 0, quiet, busy)))
    assert [each.name for each in found.links] == ["b", "a"]


def test_only_what_grows_is_shown_beside_the_usual() -> None:
    after = stats(2, 7)
    after["counters"] |= {"strange": 4, "quiet": 0}
    assert between(Sample(0.0, stats(1, 0)), Sample(1.0, after)).others == {"strange": 4}


words = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)
KEYS = ("uptime_s", "members", "counters", "shell", "links", "queues", "events_in", "number")


@given(
    st.dictionaries(st.sampled_from(KEYS), words | st.dictionaries(st.sampled_from(KEYS), words))
)
def test_whatever_a_node_answers_is_no_error(answered: dict[str, Any]) -> None:
    between(Sample(0.0, {}), Sample(1.0, answered)).to_dict()
    between(Sample(0.0, answered), Sample(1.0, stats(1, 1))).to_dict()
