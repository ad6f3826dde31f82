"""Unproved datagrams are bounded, proved ones counted, and who is known gets room first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.admission import (
    GRACE_S,
    KNOWN_GRACE_S,
    MAX_KNOWN_SOURCES,
    MAX_WATCHED_SOURCES,
    Admission,
    Bucket,
    Verdict,
    source_of,
)
from maculaos.settings import LimitSettings

HOME, AWAY = "10.0.0.1", "10.0.0.2"


class Door:
    """An ``Admission`` and the links that it let in, as the endpoint would keep them."""

    def __init__(self, **limits: int) -> None:
        self.limits = LimitSettings(**limits)
        self.core = Admission(self.limits, 0.0)
        self.links: dict[int, str] = {}
        self.now = 0.0
        self._next = 0

    def knock(self, source: str, *, is_proved: bool = False) -> str:
        """What happens to a first datagram, carried out: the verdict, or why it was refused."""
        decision = self.core.judge(source, self.now, links=len(self.links), is_proved=is_proved)
        if decision.evicted is not None:
            self.end(decision.evicted)
        if decision.verdict is Verdict.ADMIT:
            self._next += 1
            self.links[self._next] = source
            self.core.opened(self._next, source, self.now, is_proved=is_proved)
        return decision.cause or decision.verdict.value

    def link(self, source: str) -> int:
        """A link with ``source`` that is up."""
        self._next += 1
        self.links[self._next] = source
        self.core.established(self._next, source)
        return self._next

    def end(self, number: int) -> None:
        self.core.ended(number)
        del self.links[number]


def test_unproved_datagrams_earn_a_retry_once_many_handshakes_are_pending() -> None:
    door = Door(pending_handshakes=8)
    assert [door.knock(f"10.0.1.{n}") for n in range(6)] == ["admit"] * 4 + ["retry"] * 2


def test_unproved_datagrams_earn_a_retry_above_the_rate() -> None:
    door = Door(handshakes_per_s=2, pending_handshakes=1000)
    assert [door.knock(f"10.0.1.{n}") for n in range(3)] == ["admit", "admit", "retry"]
    door.now = 0.5
    assert [door.knock(f"10.0.2.{n}") for n in range(2)] == ["admit", "retry"]


def test_unproved_datagrams_of_one_source_earn_a_retry_for_that_source_only() -> None:
    door = Door(pending_per_source=2, pending_handshakes=1000)
    assert [door.knock(HOME) for _ in range(3)] == ["admit", "admit", "retry"]
    assert door.knock(AWAY) == "admit"


def test_a_spoofer_cannot_use_up_the_room_of_another_source() -> None:
    door = Door(pending_per_source=2, links_per_source=2, pending_handshakes=8)
    assert [door.knock(HOME) for _ in range(100)].count("retry") == 98
    assert door.knock(HOME, is_proved=True) == "admit"


def test_links_of_one_source_are_capped() -> None:
    door = Door(links_per_source=2)
    door.link(HOME)
    number = door.link(HOME)
    assert door.knock(HOME, is_proved=True) == "too many links of one source"
    assert door.knock(AWAY, is_proved=True) == "admit"
    door.end(number)
    assert door.knock(HOME, is_proved=True) == "admit"


def test_who_has_all_its_links_is_asked_to_prove_its_address_and_refused_then() -> None:
    door = Door(links_per_source=2)
    for _ in range(2):
        assert door.knock(HOME) == "admit"
        door.link(HOME)
    assert door.knock(HOME) == "retry"
    assert door.knock(HOME, is_proved=True) == "too many links of one source"
    assert door.knock(AWAY) == "admit"


def test_pending_handshakes_of_one_source_make_room_among_themselves() -> None:
    door = Door(pending_per_source=2)
    door.knock(AWAY, is_proved=True)
    assert [door.knock(HOME, is_proved=True) for _ in range(2)] == ["admit"] * 2
    # Those that have just begun stay.
    assert door.knock(HOME, is_proved=True) == "no room now"
    door.now = GRACE_S
    assert [door.knock(HOME, is_proved=True) for _ in range(2)] == ["admit"] * 2
    assert list(door.links) == [1, 4, 5]


def test_proved_handshakes_of_one_source_are_limited_in_rate() -> None:
    door = Door(handshakes_per_s=4)
    door.link(HOME)
    verdicts = [door.knock(HOME, is_proved=True) for _ in range(6)]
    assert verdicts == ["admit"] * 4 + ["too many handshakes of one source"] * 2
    door.now = 1.0
    assert [door.knock(HOME, is_proved=True) for _ in range(3)].count("admit") == 2


def test_strangers_are_limited_in_rate_and_known_sources_pass_them() -> None:
    door = Door(handshakes_per_s=4)
    door.link(HOME)
    verdicts = [door.knock(f"10.1.0.{n}", is_proved=True) for n in range(6)]
    assert verdicts == ["admit"] * 4 + ["too many handshakes of strangers"] * 2
    assert door.knock(HOME, is_proved=True) == "admit"


def test_what_proved_nothing_makes_room_first() -> None:
    door = Door(pending_handshakes=4, pending_per_source=10)
    for is_proved in (True, False, True, True):
        assert door.knock(HOME, is_proved=is_proved) == "admit"
    assert door.knock(AWAY, is_proved=True) == "admit"
    assert list(door.links) == [1, 3, 4, 5]


def test_a_known_source_takes_the_place_of_a_stranger_and_never_the_other_way() -> None:
    door = Door(pending_handshakes=1)
    door.end(door.link(HOME))
    assert door.knock(AWAY, is_proved=True) == "admit"
    assert door.knock(HOME, is_proved=True) == "admit"
    assert list(door.links.values()) == [HOME]
    door.now = KNOWN_GRACE_S
    assert door.knock(AWAY, is_proved=True) == "no room now"
    assert list(door.links) == [3]
    assert door.knock(HOME, is_proved=True) == "admit"
    assert list(door.links) == [4]


def test_full_of_links_nobody_comes_in_but_in_place_of_a_handshake() -> None:
    door = Door(links=2)
    door.link(HOME)
    assert door.knock(AWAY) == "admit"
    assert door.knock(HOME) == "retry"
    assert door.knock(HOME, is_proved=True) == "admit"
    door.link(HOME)
    door.end(3)
    assert door.knock(HOME) == "too many links"


def test_all_that_is_remembered_is_bounded() -> None:
    door = Door(links_per_source=1)
    for n in range(MAX_KNOWN_SOURCES + MAX_WATCHED_SOURCES):
        source = source_of(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        door.core.judge(source, float(n), links=0, is_proved=True)
        door.end(door.link(source))
    assert len(door.core._known) == MAX_KNOWN_SOURCES
    assert len(door.core._rates) == MAX_WATCHED_SOURCES
    assert not door.core._linked_of
    assert not door.core.is_known("10.0.0.0")


def test_a_source_is_an_ipv4_address_or_an_ipv6_site() -> None:
    assert source_of("192.0.2.7") == source_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8:1:2::3") == source_of("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::3") != source_of("2001:db8:1:2::3")
    assert source_of("fe80::1%lo0") == "fe80::/64"


@given(st.lists(st.floats(0.0, 5.0), max_size=50))
def test_a_bucket_gives_no_more_than_its_burst_and_its_rate(waits: list[float]) -> None:
    bucket, now, taken = Bucket(2.0, 3.0, 0.0), 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
        assert taken <= 3.0 + 2.0 * now + 1e-6


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["new", "proved", "up", "end"])),
        max_size=200,
    )
)
def test_whatever_comes_no_bound_is_passed(steps: list[tuple[str, str]]) -> None:
    door = Door(links=6, pending_handshakes=4, pending_per_source=2, links_per_source=3)
    for n, (source, step) in enumerate(steps):
        door.now = n / 10
        pending = list(door.core._pending)
        if step == "up" and pending:
            number = pending[n % len(pending)]
            door.core.established(number, door.links[number])
        elif step == "end" and door.links:
            door.end(next(iter(door.links)))
        elif step in ("new", "proved"):
            door.knock(source, is_proved=step == "proved")
        assert door.core.pending <= 4
        assert len(door.links) <= 6
        assert all(count > 0 for count in door.core._pending_of.values())
        assert door.core._pending_of.total() + door.core._linked_of.total() == len(door.links)
