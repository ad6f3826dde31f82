"""The closure: everything that is needed, nothing else, in an order to install."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.catalogue import Catalogue, Dependency, Package, catalogue_of
from imagebuilder.packages.solve import Unsolvable, Wanted, solve


def package(name: str, *deps: str, **more: object) -> Package:
    said: dict[str, object] = {
        "name": name,
        "version": "1.0",
        "origin": f"misc/{name}",
        "sha256": "a" * 64,
        "path": f"All/{name}.pkg",
        "deps": {dep: Dependency(f"misc/{dep}") for dep in deps},
        **more,
    }
    return Package(**said)  # type: ignore[arg-type]  # the test says the fields


def catalogue(*packages: Package) -> Catalogue:
    return catalogue_of(packages, "test")


def names(found: Catalogue, *wanted: str, flavours: tuple[str, ...] = ()) -> list[str]:
    return [p.name for p in solve(found, [Wanted(one) for one in wanted], flavours).packages]


GRAPHS = st.dictionaries(
    st.integers(0, 9), st.sets(st.integers(0, 9), max_size=4), min_size=10, max_size=10
)


def reachable(graph: dict[int, set[int]], start: int) -> set[int]:
    seen, todo = set[int](), [start]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += graph[one]
    return seen


@given(GRAPHS)
def test_closure_is_all_that_can_be_reached_and_no_more(graph: dict[int, set[int]]) -> None:
    found = catalogue(*(package(f"p{n}", *(f"p{d}" for d in graph[n])) for n in graph))
    assert set(names(found, "p0")) == {f"p{n}" for n in reachable(graph, 0)}


@given(GRAPHS)
def test_each_comes_after_what_it_needs_outside_of_cycles(graph: dict[int, set[int]]) -> None:
    found = catalogue(*(package(f"p{n}", *(f"p{d}" for d in graph[n])) for n in graph))
    order = names(found, *(f"p{n}" for n in graph))
    for one, deps in graph.items():
        for dep in deps:
            if one not in reachable(graph, dep):
                assert order.index(f"p{dep}") < order.index(f"p{one}")


@given(GRAPHS, st.permutations(range(10)))
def test_order_depends_on_content_only(graph: dict[int, set[int]], order: list[int]) -> None:
    packages = {n: package(f"p{n}", *(f"p{d}" for d in graph[n])) for n in graph}
    straight = names(catalogue(*packages.values()), "p0", "p5")
    assert names(catalogue(*(packages[n] for n in order)), "p5", "p0") == straight


def test_missing_names_itself_and_who_wants_it() -> None:
    found = catalogue(package("tool", "gone", "lost"))
    with pytest.raises(Unsolvable) as caught:
        names(found, "tool", "absent")
    text = str(caught.value)
    assert "gone (misc/gone), which tool needs" in text
    assert "lost (misc/lost), which tool needs" in text
    assert "absent, which the list of packages asks for" in text


def test_wanted_by_origin_and_flavour() -> None:
    found = catalogue(
        package("py311-x", origin="devel/py-x"), package("py312-x", origin="devel/py-x")
    )
    assert names(found, "devel/py-x@py311") == ["py311-x"]
    assert names(found, "devel/py-x", flavours=("py312",)) == ["py312-x"]
    with pytest.raises(Unsolvable, match="choose of py311-x, py312-x"):
        names(found, "devel/py-x")


def test_flavour_may_be_an_annotation() -> None:
    found = catalogue(
        package("git", origin="devel/git"),
        package("git-tiny", origin="devel/git", annotations={"flavor": "tiny"}),
    )
    assert names(found, "devel/git@tiny") == ["git-tiny"]


def test_renamed_dependency_is_found_by_origin_in_the_flavour_of_who_wants_it() -> None:
    wants = {"py312-old": Dependency("devel/py-x")}
    found = catalogue(
        package("py312-tool", deps=wants),
        package("py311-x", origin="devel/py-x"),
        package("py312-x", origin="devel/py-x"),
    )
    assert names(found, "py312-tool") == ["py312-x", "py312-tool"]


def test_any_alternative_serves() -> None:
    deps = {"db": [Dependency("databases/db5"), Dependency("databases/db18")]}
    found = catalogue(package("tool", deps=deps), package("db18", origin="databases/db18"))
    assert names(found, "tool") == ["db18", "tool"]


def test_too_old_is_refused_with_both_versions() -> None:
    found = catalogue(package("tool", version="1.9"))
    assert solve(found, [Wanted("tool", "1.9")]).packages
    with pytest.raises(Unsolvable, match=r"tool 1\.10 or newer \(it has 1\.9\)"):
        solve(found, [Wanted("tool", "1.10")])


def test_libraries_that_no_package_provides_are_told_with_who_needs_them() -> None:
    found = catalogue(
        package("a", "b", shlibs_required=["libb.so.1", "libc.so.7"]),
        package("b", shlibs_provided=["libb.so.1"], shlibs_required=["libc.so.7"]),
    )
    assert solve(found, [Wanted("a")]).libraries == {"libc.so.7": ("a", "b")}


def test_long_chain_needs_no_deep_stack() -> None:
    chain = [package(f"p{n}", f"p{n + 1}") for n in range(4000)]
    assert len(names(catalogue(*chain, package("p4000")), "p0")) == 4001
