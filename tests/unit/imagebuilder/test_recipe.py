"""What the recipe says, and how a mistake in it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import imageyard
from imagebuilder.recipe import RECIPE_BYTES_MAX, load_recipe, parse_recipe
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

ROOT = imageyard.ROOT


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
