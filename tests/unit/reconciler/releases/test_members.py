"""Unit: which members an archive may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.releases.members import ArchiveBudget, BadArchive, Contents, Kind, Member

SMALL = ArchiveBudget(entries=10, unpacked_bytes=1000, ratio=10)


def contents(strip: int = 0) -> Contents:
    return Contents(ArchiveBudget(), 1000, strip)


def admit(*members: Member, strip: int = 0) -> Contents:
    found = contents(strip)
    for member in members:
        found.admit(member)
    found.links()
    return found


def file(name: str, size: int = 0, mode: int = 0o644) -> Member:
    return Member(name=name, kind=Kind.FILE, size=size, mode=mode)


def link(name: str, target: str) -> Member:
    return Member(name=name, kind=Kind.LINK, target=target)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "",
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "\udcff",
        "x" * 256,
        "a/" * 600 + "a",
        "a/" * 40 + "b",
        "ü" * 128,
    ],
)
def test_a_path_that_none_of_ours_has_is_refused(name: str) -> None:
    with pytest.raises(BadArchive):
        admit(file(name))


@pytest.mark.parametrize(
    "members",
    [
        (file("a"), file("a")),
        (file("a"), file("./a")),
        (file("a"), file("A")),
        (file("caf\u00e9"), file("cafe\u0301")),
        (file("stra\u00dfe"), file("STRASSE")),
        (file("d/x"), file("D/y")),
        (file("a"), file("a/b")),
        (file("a/b"), file("a")),
        (file("t"), link("l", "t"), file("l/x")),
        (link("a", "b"), link("a", "c")),
    ],
)
def test_two_members_in_one_place_are_refused(members: tuple[Member, ...]) -> None:
    with pytest.raises(BadArchive):
        admit(*members)


@pytest.mark.parametrize(
    "members",
    [
        (link("l", "/etc"),),
        (link("l", ".."),),
        (link("l", "missing"),),
        (link("l", "l"),),
        (link("a", "b"), link("b", "a")),
        (link("d/l", "../.."),),
        # On paper it stays inside; a kernel goes from where the first link leads.
        (file("x/y/z/f"), link("x/y/z/l", "../../../t"), file("t/f"), link("m", "x/y/z/l/../..")),
        (file("f"), link("l", "f/../f")),
    ],
)
def test_a_link_that_leads_out_or_nowhere_is_refused(members: tuple[Member, ...]) -> None:
    with pytest.raises(BadArchive, match="link"):
        admit(*members)


def test_links_inside_are_followed_through_other_links() -> None:
    found = admit(
        link("current", "v/1"), file("v/1/bin/run"), link("run", "current/bin/run"), link("me", ".")
    )
    assert {each.target for each in found.links()} == {"v/1", "current/bin/run", "."}


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "later", "folder", "soft"])
def test_a_hard_link_leads_to_a_file_before_it(target: str) -> None:
    with pytest.raises(BadArchive):
        admit(
            Member(name="folder", kind=Kind.FOLDER),
            link("soft", "folder"),
            Member(name="hard", kind=Kind.HARD_LINK, target=target),
            file("later"),
        )


def test_setuid_and_special_files_are_refused() -> None:
    for member in (
        file("a", mode=0o4755),
        file("a", mode=0o2755),
        Member(name="a", kind=Kind.OTHER),
        file("a", size=-1),
    ):
        with pytest.raises(BadArchive):
            admit(member)


def test_modes_become_two_kinds_only() -> None:
    found = contents()
    modes = [found.admit(file(name, mode=mode)) for name, mode in (("a", 0o777), ("b", 0o666))]
    assert [each.mode for each in modes if each] == [0o755, 0o644]


def test_leading_parts_are_cut_from_paths_and_hard_links() -> None:
    found = contents(strip=1)
    assert found.admit(Member(name="app-1", kind=Kind.FOLDER)) is None
    first = found.admit(file("app-1/bin/run"))
    again = found.admit(Member(name="app-1/x", kind=Kind.HARD_LINK, target="app-1/bin/run"))
    assert first is not None
    assert first.parts == ("bin", "run")
    assert again is not None
    assert again.source == ("bin", "run")
    with pytest.raises(BadArchive, match="cut away"):
        found.admit(file("readme"))


def test_entries_and_bytes_have_a_budget() -> None:
    few = Contents(SMALL, 1000)
    for number in range(10):
        few.admit(file(str(number)))
    with pytest.raises(BadArchive, match="entries"):
        few.admit(file("10"))
    with pytest.raises(BadArchive, match="unpacks"):
        Contents(SMALL, 1000).admit(file("a", size=1001))


def test_the_ratio_counts_beyond_what_is_free() -> None:
    budget = ArchiveBudget(ratio=10)
    assert budget.most_bytes(1 << 20) == (10 << 20) + (16 << 20)
    assert budget.most_bytes(1 << 40) == budget.unpacked_bytes


PARTS = st.sampled_from(["a", "b", "C", "c", "..", ".", "", "l"])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)
MEMBERS = st.builds(
    Member,
    name=PATHS,
    kind=st.sampled_from(Kind),
    size=st.integers(-1, 10),
    mode=st.sampled_from([0o644, 0o755, 0o4755]),
    target=PATHS,
)


@given(st.lists(MEMBERS, max_size=12), st.integers(0, 2))
def test_whatever_comes_is_placed_inside_or_refused(members: list[Member], strip: int) -> None:
    found = contents(strip)
    placed = []
    try:
        placed = [found.admit(member) for member in members]
        found.links()
    except BadArchive:
        return
    paths = [each.parts for each in placed if each is not None]
    assert len(set(paths)) == len(paths)
    assert all(part not in ("", ".", "..") for parts in paths for part in parts)
