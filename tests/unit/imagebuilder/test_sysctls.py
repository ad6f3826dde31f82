"""Names of sysctls: which are set, which a release has, and what is said of the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imageyard
from imagebuilder.sysctls import (
    Known,
    Setting,
    check,
    list_for,
    parse_changes,
    parse_names,
    settings_in,
)
from maculaos.errors import UsageError

LISTS = {"13.1": frozenset({"kern.a", "kern.old"}), "14.0": frozenset({"kern.a", "kern.new"})}
KNOWN = Known(LISTS)
CHANGES = '[[change]]\nname = "kern.a"\ngone = "15.0"\nwhy = "it was renamed"\n'


def setting(name: str, optional: str = "") -> Setting:
    return Setting(place="etc/sysctl.conf:1", name=name, optional=optional)


def test_settings_are_found_with_file_and_line() -> None:
    text = (
        '# kern.not=1\n\nkern.a=1\n  net.b = "2"  # why\nautoboot_delay="2"\nhint.uart.0.at="x"\n'
    )
    found = settings_in(text, "boot/loader.conf")
    assert [(one.place, one.name) for one in found] == [
        ("boot/loader.conf:3", "kern.a"),
        ("boot/loader.conf:4", "net.b"),
    ]


def test_a_mark_counts_for_its_own_line_or_the_next_setting_only() -> None:
    text = (
        "kern.a=1 # optional: behind\n"
        "# optional: above\nkern.b=1\nkern.c=1\n"
        "# optional: too far\n# a comment\nkern.d=1\n"
    )
    found = {one.name: one.optional for one in settings_in(text, "x")}
    assert found == {"kern.a": "behind", "kern.b": "above", "kern.c": "", "kern.d": ""}


def test_a_name_that_the_release_lacks_is_a_problem_unless_marked() -> None:
    findings = check([setting("kern.a"), setting("kern.old")], "14.0", KNOWN)
    assert findings.problems == ("etc/sysctl.conf:1: kern.old: FreeBSD 14.0 has no such name",)
    with pytest.raises(UsageError, match="# optional: REASON"):
        findings.require()
    marked = check([setting("kern.old", "went in 14")], "14.0", KNOWN)
    assert marked.problems == ()
    assert "went in 14" in marked.notes[0]
    marked.require()


def test_a_release_without_a_list_is_checked_by_the_newest_before_it() -> None:
    assert list_for("15.1", LISTS) == "14.0"
    assert list_for("13.2", LISTS) == "13.1"
    assert list_for("9.3", LISTS) is None
    assert list_for("13.10", {"13.9", "13.2"}) == "13.9"
    assert "list of 14.0" in check([setting("kern.new")], "15.1", KNOWN).notes[0]
    assert check([setting("kern.x")], "9.3", KNOWN).notes == (
        "1 sysctls not checked: no list for 9.3",
    )
    assert check([], "9.3", KNOWN).notes == ()


def test_a_name_that_went_is_a_problem_from_that_release_on() -> None:
    known = Known(LISTS, parse_changes(CHANGES, "changes.toml"))
    assert check([setting("kern.a")], "14.0", known).problems == ()
    (problem,) = check([setting("kern.a")], "15.1", known).problems
    assert "gone since 15.0: it was renamed" in problem


@pytest.mark.parametrize(
    "text",
    ['[[change]]\nname = "a"\n', '[[change]]\nname = "a"\nwhy = "b"\ngone = "soon"\n', "[[change"],
)
def test_broken_changes_are_told_with_their_file(text: str) -> None:
    with pytest.raises(UsageError, match=r"^changes\.toml"):
        parse_changes(text, "changes.toml")


def test_names_of_a_list_are_read_and_nonsense_is_told_with_its_line() -> None:
    assert parse_names("kern.a\n# a comment\n\nnet.inet.b # why\nvm\n", "x") == {
        "kern.a", "net.inet.b", "vm",
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"^list:2: 'kern\.b=1'"):
        parse_names("kern.a\nkern.b=1\n", "list")


@settings(max_examples=30, deadline=None)
@given(st.sets(st.from_regex(r"kern\.[a-z]{1,8}", fullmatch=True)), st.text(max_size=200))
def test_what_is_in_the_list_is_never_a_problem(names: set[str], noise: str) -> None:
    text = "".join(f"{name}=1\n" for name in sorted(names))
    found = settings_in(text, "x")
    assert {one.name for one in found} == names
    assert not check(found, "1.0", Known({"1.0": frozenset(names)})).problems
    # Whatever stands in a file, reading it does not fail.
    settings_in(noise, "x")


def test_what_this_checkout_sets_is_known_of_its_release() -> None:
    folder = imageyard.ROOT / "image/sysctls"
    lists = {path.stem: parse_names(path.read_text(), path.name) for path in folder.glob("*.txt")}
    changes = folder / "changes.toml"
    known = Known(lists, parse_changes(changes.read_text(), changes.name))
    base = imageyard.ROOT / "overlays/base"
    for path in (base / "etc/sysctl.conf", base / "boot/loader.conf"):
        check(settings_in(path.read_text(), path.name), "15.1", known).require()
