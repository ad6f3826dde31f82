"""Instances of an app: every name fits, names one of them, and never another app's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.runtime import is_jail_name
from maculaos.identity import NAME_PATTERN
from reconciler.names import app_jail, node_jail
from reconciler.rollouts.instances import FIRST, Colour, Instance, instance_jail, instance_of
from reconciler.values import LONGEST_NAME

apps = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= LONGEST_NAME)
instances = st.builds(Instance, st.sampled_from(Colour), st.integers(1, 100))


@given(apps, instances)
def test_a_jail_says_which_instance_of_which_app_it_is(app: str, instance: Instance) -> None:
    jail = instance_jail(app, instance)
    assert is_jail_name(jail)
    assert instance_of(jail) == (app, instance)


@given(apps, instances, apps, instances)
def test_no_two_instances_share_a_jail(
    app: str, instance: Instance, other: str, second: Instance
) -> None:
    is_same = (app, instance) == (other, second)
    assert (instance_jail(app, instance) == instance_jail(other, second)) == is_same


@given(apps)
def test_the_first_instance_keeps_the_name_it_always_had(app: str) -> None:
    assert instance_jail(app, FIRST) == app_jail(app)


@given(apps)
def test_the_jail_of_a_node_is_no_app(node: str) -> None:
    assert instance_of(node_jail(node)) is None


@given(st.text(alphabet="acgp0123456789-n", max_size=33))
def test_whatever_is_read_as_an_instance_is_named_so(jail: str) -> None:
    found = instance_of(jail)
    assert found is None or instance_jail(*found) == jail


def test_the_longest_name_of_all_fits_exactly() -> None:
    jail = instance_jail("x" * LONGEST_NAME, Instance(Colour.GREEN, 100))
    assert jail == "g100-" + "x" * LONGEST_NAME
    assert len(jail) == 32


@pytest.mark.parametrize("name", ["a1-shop", "a0-shop", "a02-shop", "a101-shop", "c1-", "x1-shop"])
def test_a_name_that_nothing_is_given_is_no_instance(name: str) -> None:
    assert instance_of(name) is None


@pytest.mark.parametrize("index", [0, 101])
def test_an_instance_beyond_the_bounds_has_no_jail(index: int) -> None:
    with pytest.raises(ValueError, match="only 1 to 100"):
        instance_jail("shop", Instance(Colour.BLUE, index))
