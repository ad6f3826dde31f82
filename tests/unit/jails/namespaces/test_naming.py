"""Names on the host: derived, short enough, apart for each root, and readable back."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces.ip import LONGEST_NAME
from jails.namespaces.naming import Naming

JAILS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
HERE, THERE = Naming(Path("/var/here")), Naming(Path("/var/there"))


@given(JAILS)
def test_a_name_leads_back_to_its_jail_under_its_root_only(jail: str) -> None:
    place = HERE.of(jail).place
    assert HERE.jail_of(place) == jail
    assert THERE.jail_of(place) is None


@given(JAILS, JAILS)
def test_two_jails_have_nothing_in_common(one: str, other: str) -> None:
    first, second = HERE.of(one), HERE.of(other)
    assert (first == second) == (one == other)
    assert len(first.interfaces.host_interface) <= LONGEST_NAME
    assert first.interfaces.host_interface != THERE.of(one).interfaces.host_interface


def test_names_of_others_are_not_ours() -> None:
    prefix = HERE.of("x").place[:-1]
    for name in ("", "docker0", prefix, f"{prefix}UPPER", f"{prefix}a/b"):
        assert HERE.jail_of(name) is None
