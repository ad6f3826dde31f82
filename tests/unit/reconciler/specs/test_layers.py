"""The merge law, and that every value keeps the place that it came from."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maculaos.documents import Plain, plant
from reconciler.specs.layers import OWN_KEYS, Layer, merged, strays

names = st.sampled_from(["a", "b", "c"])
values = st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2)
# In all of them the same keys are mappings: m1 and m2.
flat = st.dictionaries(names, values, max_size=3)
agreeing = st.fixed_dictionaries({}, optional={"x": values, "m1": flat, "m2": flat})
anything = st.dictionaries(
    names,
    st.recursive(values | st.none(), lambda inner: st.dictionaries(names, inner, max_size=3)),
    max_size=3,
)


def layer(path: str, value: Any) -> Layer:
    return Layer(path, plant(json.dumps(value).encode(), path))


def laid(*values: Any) -> Plain:
    return merged([layer(f"{at}.yaml", value) for at, value in enumerate(values)]).value


def law(below: Any, above: Any) -> Any:
    """The law again, in the simplest words."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    result = dict(below)
    for key, value in above.items():
        if value is None and key in result:
            del result[key]
        else:
            result[key] = law(result[key], value) if key in result else value
    return result


@given(anything, anything)
def test_mappings_merge_and_all_else_replaces_and_nothing_removes(one: Any, other: Any) -> None:
    assert laid(one, other) == law(one, other)


@given(agreeing, agreeing, agreeing)
def test_grouping_does_not_matter_where_layers_agree(one: Any, other: Any, third: Any) -> None:
    assert laid(laid(one, other), third) == laid(one, laid(other, third)) == laid(one, other, third)


@given(anything)
def test_layer_over_itself_and_over_nothing_is_itself(one: Any) -> None:
    assert laid(one) == one
    if "null" not in json.dumps(one):
        assert laid(one, one) == one


@given(st.lists(anything, min_size=1, max_size=3))
def test_every_value_has_a_place_in_the_file_it_came_from(layers: list[Any]) -> None:
    made = [layer(f"{at}.yaml", value) for at, value in enumerate(layers)]
    tree = merged(made)
    places = set(_places(tree.value, ()))
    assert set(tree.values) == places == set(tree.origins)
    for place in places:
        (source,) = [one for one in made if one.path == tree.origins[place]]
        assert tree.values[place] == source.tree.values[place]


def _places(value: Any, place: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    listed = enumerate(value) if isinstance(value, list) else ()
    held = value.items() if isinstance(value, dict) else listed
    return [place, *(where for key, one in held for where in _places(one, (*place, key)))]


def test_layers_are_not_changed_by_what_is_laid_over_them() -> None:
    below = layer("0.yaml", {"m": {"a": [1]}})
    merged([below, layer("1.yaml", {"m": {"a": [2], "b": 3}})])
    assert below.tree.value == {"m": {"a": [1]}}


def test_what_only_a_spec_may_say_is_a_problem_of_the_layer() -> None:
    told = strays(layer("p.yaml", dict.fromkeys(OWN_KEYS, 1)))
    assert len(told) == len(OWN_KEYS)
    (told_of_list,) = strays(layer("p.yaml", [1]))
    assert "mapping" in told_of_list.what
