"""The SBOM: SPDX 2.3's rules that matter, and the same bytes for the same content."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages import sbom
from imagebuilder.packages.catalogue import Package
from maculaos.errors import UsageError

IMAGE = sbom.Image(name="maculaos", version="0.1.0", created_s=1_800_000_000)
COMPONENTS = st.lists(
    st.builds(
        sbom.Component,
        kind=st.sampled_from(["set", "package", "wheel"]),
        name=st.text("abc-+_.é ", min_size=1, max_size=8),
        version=st.text("0123456789.,_+", min_size=1, max_size=8),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        licence=st.sampled_from([sbom.UNKNOWN, "MIT", "MIT OR Apache-2.0"]),
        purl=st.just("") | st.just("pkg:generic/x@1"),
    ),
    max_size=6,
    unique_by=lambda component: component.spdx_id,
)


def check(text: str) -> dict[str, Any]:
    """The rules of the SPDX 2.3 specification, clauses 6, 7 and 11."""
    said: dict[str, Any] = json.loads(text)
    assert said["spdxVersion"] == "SPDX-2.3"
    assert said["dataLicense"] == "CC0-1.0"
    assert said["SPDXID"] == "SPDXRef-DOCUMENT"
    assert re.fullmatch(r"https://[^#\s]+", said["documentNamespace"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["creationInfo"]["created"])
    assert all(who.startswith("Tool: ") for who in said["creationInfo"]["creators"])
    ids = [said["SPDXID"], *(package["SPDXID"] for package in said["packages"])]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one) for one in ids)
    for package in said["packages"]:
        assert {"name", "downloadLocation", "filesAnalyzed"} <= package.keys()
        assert package["filesAnalyzed"] is False
        for checksum in package.get("checksums", []):
            assert checksum["algorithm"] == "SHA256"
            assert re.fullmatch(r"[0-9a-f]{64}", checksum["checksumValue"])
    for relation in said["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= set(ids)
        assert relation["relationshipType"] in {"DESCRIBES", "CONTAINS"}
    contained = {r["relatedSpdxElement"] for r in said["relationships"]}
    assert contained == set(ids) - {said["SPDXID"]}, "every package hangs on the image"
    return said


@given(COMPONENTS)
def test_document_keeps_the_rules(components: list[sbom.Component]) -> None:
    said = check(sbom.document(IMAGE, components))
    assert len(said["packages"]) == len(components) + 1


@given(COMPONENTS, st.randoms(use_true_random=False))
def test_order_of_components_does_not_matter(components: list[sbom.Component], random: Any) -> None:
    shuffled = list(components)
    random.shuffle(shuffled)
    assert sbom.document(IMAGE, components) == sbom.document(IMAGE, shuffled)


def test_time_is_the_commits() -> None:
    assert '"created": "2027-01-15T08:00:00Z"' in sbom.document(IMAGE, [])


def test_other_content_has_another_namespace() -> None:
    one = sbom.document(IMAGE, [sbom.of_wheel("a", "1", "a" * 64)])
    other = sbom.document(IMAGE, [sbom.of_wheel("a", "1", "b" * 64)])
    assert json.loads(one)["documentNamespace"] != json.loads(other)["documentNamespace"]


def test_package_says_where_it_came_from_and_what_it_is() -> None:
    package = Package(
        name="git-tiny",
        version="2.51.0,1",
        origin="devel/git",
        sha256="a" * 64,
        path="All/git-tiny-2.51.0.pkg",
        licenses=["GPLv2"],
        licenselogic="single",
        www="https://git-scm.com/ https://example.org/",
    )
    component = sbom.of_package(package, "https://pkg.example.org/q/")
    assert component.location == "https://pkg.example.org/q/All/git-tiny-2.51.0.pkg"
    assert (component.licence, component.homepage) == ("GPL-2.0-only", "https://git-scm.com/")
    assert component.purl == "pkg:generic/freebsd/git-tiny@2.51.0%2C1"


@pytest.mark.parametrize(
    ("names", "logic", "licence"),
    [
        (["MIT"], "single", "MIT"),
        (["BSD3CLAUSE", "APACHE20"], "dual", "Apache-2.0 OR BSD-3-Clause"),
        (["BSD3CLAUSE", "APACHE20"], "multi", "Apache-2.0 AND BSD-3-Clause"),
        (["MIT", "STRANGE"], "or", "NOASSERTION"),
        (["MIT", "ISCL"], "", "NOASSERTION"),
        ([], "single", "NOASSERTION"),
    ],
)
def test_licence_is_an_expression_or_none(names: list[str], logic: str, licence: str) -> None:
    assert sbom.licence_of(names, logic) == licence


def test_unknown_licence_keeps_its_words() -> None:
    package = Package(name="x", version="1", origin="a/x", sha256="a" * 64, licenses=["STRANGE"])
    said = sbom.document(IMAGE, [sbom.of_package(package, sbom.UNKNOWN)])
    assert "declared as: STRANGE" in said


def test_component_that_comes_twice_is_named() -> None:
    twice = [sbom.of_set("base", "15.1", "a" * 64)] * 2
    with pytest.raises(UsageError, match=r"SPDXRef-set-base-15\.1-[0-9a-f]+ is in the image twice"):
        sbom.document(IMAGE, twice)


def test_hash_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no SHA-256"):
        sbom.document(IMAGE, [sbom.of_wheel("a", "1", "abc")])
