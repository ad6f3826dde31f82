"""A base system made of packages is the one that the sets make, to the last bit of the disk."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

import smallpkgbase
from imagebuilder.ledger import Ledger
from imagebuilder.steps.system import tree_in
from imageyard import ROOT, STEM, Yard, contents
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from imagebuilder.order import Order


def base_yard(folder: Path, version: str = smallpkgbase.VERSION, without: str = "") -> Yard:
    """A yard with a repository of base packages in it."""
    yard = Yard.make(folder)
    shutil.copy(ROOT / "image/pkgbase.toml", yard.checkout / "image")
    smallpkgbase.make(folder / "base", version=version, without=without)
    return yard


def order_of(yard: Yard, out: str = "out", packages: str = "none") -> Order:
    return yard.order(out, base="pkgbase", sets=str(yard.folder / "base"), packages=packages)


def tree_of(yard: Yard, out: str) -> list[tuple[object, ...]]:
    tree = tree_in(Ledger(yard.folder / out / ".build/steps").folder_of("tree"))
    # Bytes are told by their digests: the store of each build has its own place.
    return [
        (
            *(one.path, one.kind, one.mode, one.owner, one.group, one.flags, one.target),
            *(one.same_as, one.source.name if one.source else "", tree.layer_of[one.path]),
        )
        for one in tree.entries
    ]


def test_packages_make_the_tree_and_the_disk_that_sets_make(tmp_path: Path) -> None:
    yard = base_yard(tmp_path)
    repository = str(yard.folder / "repository")
    yard.build(order_of(yard, "ours", repository))
    yard.build(yard.order("theirs", packages=repository))
    assert tree_of(yard, "ours") == tree_of(yard, "theirs")
    ours, theirs = contents(tmp_path / "ours"), contents(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    differing = {name for name in ours if ours[name] != theirs[name]}
    # What went in is told differently, and with it the size of that, and the sums.
    told = {f"{STEM}.spdx.json", f"{STEM}.sizes.json", "SHA256SUMS", "SHA256SUMS.sig"}
    assert differing == told
    names = {one["name"] for one in json.loads(ours[f"{STEM}.spdx.json"])["packages"]}
    assert {"FreeBSD-runtime", "FreeBSD-libedit-lib", "FreeBSD-kernel-generic"} < names
    assert {"python312", "maculaos"} < names
    assert not {"base", "kernel", "FreeBSD-clang", "FreeBSD-utilities-man"} & names


def test_two_builds_of_base_packages_are_byte_identical(tmp_path: Path) -> None:
    yards = [base_yard(tmp_path / name) for name in ("one", "two")]
    for yard in yards:
        yard.build(order_of(yard))
    first, second = (contents(yard.folder / "out") for yard in yards)
    assert first == second
    assert yards[0].build(order_of(yards[0])) == ()


def test_what_is_lacking_left_out_and_not_run_is_in_the_log(tmp_path: Path) -> None:
    yard = base_yard(tmp_path, version="15.1p2")
    yard.build(order_of(yard))
    logs = tmp_path / "out/.build/logs"
    fetched = (logs / "sets.log").read_text()
    assert "note: FreeBSD-ntp is not in this release: sets the clock" in fetched
    assert "FreeBSD-utilities-man is left out, which FreeBSD-set-minimal wants" in fetched
    assert (
        "script not run: post-install of FreeBSD-runtime-15.1p2"
        in (logs / "unpack.log").read_text()
    )
    identity = next(one for one in tree_of(yard, "out") if str(one[0]).endswith("image.json"))
    digest = str(identity[8])
    said = json.loads((tmp_path / f"out.cache/store/{digest[:2]}/{digest}").read_text())
    assert said["freebsd"] == "15.1-RELEASE-p2"


def test_a_lacking_package_that_is_needed_is_one_clear_line(tmp_path: Path) -> None:
    yard = base_yard(tmp_path, without="FreeBSD-ssh")
    with pytest.raises(UsageError, match="has no FreeBSD-ssh; take another repository") as caught:
        yard.build(order_of(yard))
    assert len(str(caught.value).splitlines()) == 1


def test_another_catalogue_under_a_pinned_release_is_refused(tmp_path: Path) -> None:
    yard = base_yard(tmp_path)
    yard.build(order_of(yard))
    pins = (tmp_path / "release.lock").read_text()
    assert '"amd64-pkgbase"' in pins
    smallpkgbase.make(tmp_path / "base", version="15.1p1")
    with pytest.raises(UsageError, match=r"catalogue of base packages .* has changed.*--refresh"):
        yard.build(order_of(yard))
    assert (tmp_path / "release.lock").read_text() == pins


def test_a_damaged_package_is_refused(tmp_path: Path) -> None:
    yard = base_yard(tmp_path)
    package = tmp_path / "base/All/FreeBSD-rc-15.1.pkg"
    package.write_bytes(package.read_bytes()[:-1] + b"!")
    with pytest.raises(UsageError, match=r"FreeBSD-rc-15\.1\.pkg: its SHA-256 is not"):
        yard.build(order_of(yard))
