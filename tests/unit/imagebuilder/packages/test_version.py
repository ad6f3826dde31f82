"""The order of versions: pkg's own examples, and the laws of an order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.version import Version, compare

PIECES = [
    *("0", "1", "2", "10", ".", "+", "*", "a", "b"),
    *("rc", "pre", "alpha", "beta", "pl", "snap", "dev"),
]
PORT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
VERSIONS = st.builds(
    lambda port, revision, epoch: (
        port + (f"_{revision}" if revision else "") + (f",{epoch}" if epoch else "")
    ),
    PORT,
    st.integers(0, 3),
    st.integers(0, 2),
)

# Each is older than the next.
ASCENDING = [
    ("1", "2"),
    ("2", "1,1"),
    ("1.5", "1.5.1"),
    ("1.pl1", "1.alpha1"),
    ("1.alpha1", "1.beta1"),
    ("1.beta1", "1.pre1"),
    ("1.pre1", "1.rc1"),
    ("1.rc1", "1"),
    ("1.pl1", "1.snap1"),
    ("1.alpha1", "1.snap1"),
    ("1.9", "1.10"),
    ("1.0", "1.0_1"),
    ("1.0_9", "1.0_10"),
    ("1.0_9", "1.0.1"),
    ("9.9_9", "0.1,1"),
    ("10", "10a"),
    ("10a", "10b"),
    ("10a", "10a0"),
    ("10a1", "10a2"),
    ("2.*", "2.pl"),
    ("10.a", "10"),
    ("10alpha", "10"),
    ("2.*", "2pl1"),
    ("2pl1", "2alpha3"),
    ("2alpha3", "2.9f7"),
    ("2.9f7", "3.*"),
    ("1.0.1:2003.09.16", "1.0.2"),
    ("3.12.9", "3.12.10_1"),
    ("1.2", "1.2+3"),
    ("1.2+3", "1.2.1"),
]
EQUAL = [
    ("1", "1.0"),
    ("1.0", "1.0.0"),
    ("10..1", "10.1"),
    ("1.D2", "1.dev2"),
    ("1.0", "1.0_0,0"),
    ("1A", "1a"),
]


@pytest.mark.parametrize(("older", "newer"), ASCENDING)
def test_older_comes_before_newer(older: str, newer: str) -> None:
    assert compare(Version(older), Version(newer)) == -1
    assert compare(Version(newer), Version(older)) == 1
    assert Version(older) < Version(newer) <= Version(newer)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_is_missing_counts_as_zero(one: str, other: str) -> None:
    assert Version(one) == Version(other)
    assert hash(Version(one)) == hash(Version(other))


@given(VERSIONS, VERSIONS)
def test_order_is_antisymmetric(one: str, other: str) -> None:
    assert compare(Version(one), Version(other)) == -compare(Version(other), Version(one))


@given(VERSIONS, VERSIONS, VERSIONS)
def test_order_is_transitive(one: str, two: str, three: str) -> None:
    low, middle, high = sorted(map(Version, (one, two, three)))
    assert low <= middle <= high
    assert low <= high


@given(PORT, st.integers(0, 9), st.integers(0, 9))
def test_revision_decides_only_between_equal_ports(port: str, one: int, other: int) -> None:
    versions = Version(f"{port}_{one}"), Version(f"{port}_{other}")
    assert compare(*versions) == (one > other) - (one < other)


@given(VERSIONS, VERSIONS)
def test_epoch_decides_before_all_else(one: str, other: str) -> None:
    older = Version(one.partition(",")[0] + ",4")
    assert older < Version(other.partition(",")[0] + ",5")


@given(st.text(max_size=300))
def test_any_text_is_a_version(text: str) -> None:
    assert Version(text) == Version(text)
