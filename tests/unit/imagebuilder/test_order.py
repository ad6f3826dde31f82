"""Orders: the recipe with the wishes of one build, everything absolute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import imageyard
from imagebuilder.order import Checkout, Order, Wishes, settle
from imagebuilder.revision import revision_of
from imagebuilder.steps.release import place_of_sets
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed, ScriptedRunner

if TYPE_CHECKING:
    from pathlib import Path


Answers = dict[tuple[str, ...], str | CommandFailed]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return imageyard.make_checkout(tmp_path)


def order(checkout: Path, wishes: Wishes) -> Order:
    return settle(wishes, Checkout(folder=checkout), imageyard.REVISION)


def test_without_wishes_it_is_as_the_recipe_says(checkout: Path) -> None:
    usual = order(checkout, Wishes())
    assert (usual.release, usual.version, usual.arch) == ("15.1-RELEASE", "15.1", "amd64")
    assert (usual.sets, usual.packages, usual.has_packages) == ("", "", True)
    assert usual.out == checkout / "var/image"
    assert usual.key == checkout / "var/keys/image.pem"
    assert usual.lock == checkout / "image/release.lock"
    assert usual.wheels == checkout / "var/cache/image/wheels"
    assert usual.makes_key
    assert place_of_sets(usual).endswith("/amd64/amd64/15.1-RELEASE")


def test_wishes_set_the_recipe_aside(checkout: Path, tmp_path: Path) -> None:
    wishes = Wishes(release="14.4-RC2", arch="aarch64", packages="none", key=str(tmp_path / "k"))
    own = order(checkout, wishes)
    assert (own.release, own.version, own.arch) == ("14.4-RC2", "14.4", "aarch64")
    assert not own.has_packages
    assert not own.makes_key
    assert own.stem == "maculaos-1.2.3-aarch64"
    url = order(checkout, Wishes(sets="https://mirror.invalid/x"))
    assert place_of_sets(url) == "https://mirror.invalid/x"


def test_a_changed_set_in_a_folder_is_another_place(checkout: Path, tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    sets.mkdir()
    (sets / "base.txz").write_bytes(b"1")
    before = place_of_sets(order(checkout, Wishes(sets=str(sets))))
    (sets / "base.txz").write_bytes(b"22")
    assert place_of_sets(order(checkout, Wishes(sets=str(sets)))) != before


def test_the_commit_and_its_time_come_from_git(checkout: Path) -> None:
    git = ("git", "-C", str(checkout))
    log = (*git, "log", "-1", "--format=%H %ct")
    status = (*git, "status", "--porcelain", "--untracked-files=normal")
    clean: Answers = {log: f"{'ab' * 20} 1750000000\n", status: ""}
    found = revision_of(checkout, ScriptedRunner(clean))
    assert (found.commit, found.committed_at, found.is_changed) == ("ab" * 20, 1750000000, False)
    changed: Answers = {log: f"{'ab' * 20} 1750000000\n", status: " M x\n"}
    assert revision_of(checkout, ScriptedRunner(changed)).is_changed
    refused = CommandFailed(log, 128, "fatal: not a git repository")
    with pytest.raises(UsageError, match="COMMIT= and EPOCH="):
        revision_of(checkout, ScriptedRunner({log: refused}))


def test_a_profile_has_its_own_folder_and_names_and_shares_the_steps(checkout: Path) -> None:
    plain, stick = (order(checkout, Wishes(profile=name)) for name in ("", "installer"))
    assert stick.out == checkout / "var/image/installer"
    assert stick.work == plain.work == checkout / "var/image/.build"
    assert stick.stem == "maculaos-1.2.3-amd64-installer"
    assert stick.system_stem == plain.stem
    assert stick.system_seed == plain.seed != stick.seed


@pytest.mark.parametrize("name", ["../x", "Installer", "a b", "x" * 17])
def test_what_is_no_name_of_a_profile_is_refused(checkout: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no profile"):
        order(checkout, Wishes(profile=name))


def test_an_installer_without_python_is_refused(checkout: Path) -> None:
    with pytest.raises(UsageError, match="PKGS=none: the installer needs Python"):
        order(checkout, Wishes(profile="installer", packages="none"))
