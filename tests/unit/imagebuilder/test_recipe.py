"""What the recipe says, and how a mistake in it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imageyard
from imagebuilder.recipe import (
    RECIPE_BYTES_MAX,
    lay_over,
    load_recipe,
    parse_profile,
    parse_recipe,
)
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

ROOT = imageyard.ROOT
PROFILE = '[installer]\noverlays = ["installer"]\nseed_mib = 8\n'
DOCUMENTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | inner, max_size=3),
    max_leaves=8,
)


def test_the_recipe_of_this_checkout_names_files_that_are_there() -> None:
    recipe = load_recipe(ROOT / "image/image.toml")
    contents = recipe.contents
    for name in (
        *(contents.prune, contents.packages, contents.python, contents.accounts),
        *(contents.requirements, contents.layout, contents.sysctls),
    ):
        assert (ROOT / "image" / name).exists(), name
    for overlay in contents.overlays:
        assert (ROOT / "overlays" / overlay).is_dir()
    assert (recipe.release.version, recipe.release.arch) == ("15.1", "amd64")


def test_slots_are_at_most_400_mib_and_zstd_sees_both_at_once() -> None:
    recipe = load_recipe(ROOT / "image/image.toml")
    assert recipe.disk.slot_mib <= 400
    assert recipe.disk.sizes().slot_bytes < 1 << recipe.formats.zstd_window_log


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("slot_mib = 6", 'slot_mib = "6"', "disk.slot_mib"),
        ("slot_mib = 6", "slot_mib = 0", "disk.slot_mib"),
        ("slot_mib = 6", "slot_mib = 5000", "choose whole MiB"),
        ("slot_mib = 6", "", "disk.slot_mib: Field required"),
        ("slot_mib = 6", "slot_mib = 6\nslots = 3", "disk.slots: Extra inputs"),
        ('version = "15.1"', 'version = "15"', "release.version"),
        ('version = "15.1"', "version = 15.1", "release.version"),
        ('arch = "amd64"', 'arch = "i386"', "release.arch"),
        ('overlays = ["base"]', 'overlays = ["../etc"]', "contents.overlays.0"),
        ('names = ["nullfs", "snd_hda"]', "names = []", "module.0.names"),
        ("xz = false", "xz = 2026-01-01", "formats.xz"),
        ("[formats]", "[formats", "small.toml:"),
    ],
)
def test_a_mistake_is_told_with_the_path_of_its_key(old: str, new: str, told: str) -> None:
    text = imageyard.RECIPE.replace(old, new)
    assert text != imageyard.RECIPE
    with pytest.raises(UsageError) as caught:
        parse_recipe(text, "small.toml")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"and \d+ more"):
        parse_recipe("[a]\n[b]\n[c]\n", "small.toml")
    with pytest.raises(UsageError, match="cannot read"):
        load_recipe(tmp_path / "gone.toml")
    (tmp_path / "large.toml").write_text("#" * (RECIPE_BYTES_MAX + 1))
    with pytest.raises(UsageError, match="is larger than"):
        load_recipe(tmp_path / "large.toml")


def test_the_installer_of_this_checkout_packs_the_system_of_its_recipe() -> None:
    image = ROOT / "image/image.toml"
    recipe = load_recipe(image, ROOT / "image/installer.toml")
    assert recipe.installer is not None
    for overlay in recipe.installer.overlays:
        assert (ROOT / "overlays" / overlay).is_dir()
    # Whatever decides about the slot is as it was.
    plain = load_recipe(image)
    changed = {"installer": None, "formats": plain.formats}
    assert recipe.model_copy(update=changed) == plain


def test_a_profile_changes_what_it_names_and_nothing_else() -> None:
    plain = parse_recipe(imageyard.RECIPE, "small.toml")
    profile = f"{PROFILE}[disk]\nslot_mib = 7\n[formats]\ndisks = []\n"
    recipe = parse_profile(imageyard.RECIPE, profile, "p.toml")
    assert (recipe.disk.slot_mib, recipe.disk.cfg_mib) == (7, plain.disk.cfg_mib)
    assert (recipe.formats.disks, recipe.formats.xz) == ((), plain.formats.xz)
    assert (recipe.release, recipe.contents) == (plain.release, plain.contents)


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("[installer]\n", "p.toml: installer.overlays: Field required; installer.seed_mib"),
        (PROFILE + "size = 3\n", "p.toml: installer.size: Extra inputs"),
        (PROFILE.replace("8", "513"), "p.toml: installer.seed_mib"),
        (PROFILE.replace("8", '"8"'), "p.toml: installer.seed_mib"),
        (PROFILE.replace('"installer"', '"../x"'), "p.toml: installer.overlays.0"),
        (PROFILE.replace('"installer"', ""), "p.toml: installer.overlays"),
        ("disk = 4\n", "p.toml: disk: "),
        ("[disk]\npartition = []\n", "p.toml: disk.partition: Extra inputs"),
        ("[disk", "p.toml: "),
    ],
)
def test_a_mistake_in_a_profile_is_told_with_its_file_and_key(profile: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_profile(imageyard.RECIPE, profile, "p.toml")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_below_a_profile_is_the_recipes(tmp_path: Path) -> None:
    image, profile = tmp_path / "image.toml", tmp_path / "p.toml"
    image.write_text(imageyard.RECIPE.replace("slot_mib = 6", ""))
    profile.write_text(PROFILE)
    with pytest.raises(UsageError, match=r"image\.toml: disk\.slot_mib"):
        load_recipe(image, profile)
    image.write_text(imageyard.RECIPE + PROFILE)
    with pytest.raises(UsageError, match=r"image\.toml: installer: .*put it into a profile"):
        load_recipe(image)


@given(DOCUMENTS, DOCUMENTS)
def test_laid_over_another_every_value_counts_and_none_is_lost(
    under: dict[str, Any], over: dict[str, Any]
) -> None:
    both = lay_over(under, over)
    assert both.keys() == under.keys() | over.keys()
    for key, value in both.items():
        if isinstance(over.get(key), dict) and isinstance(under.get(key), dict):
            assert value == lay_over(under[key], over[key])
        else:
            assert value == over.get(key, under.get(key))
    assert lay_over(both, over) == both
    assert lay_over(under, {}) == under
