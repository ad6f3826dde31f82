"""The systems of a build: what an image and its installer share, and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import imageyard
from imagebuilder.order import Checkout, Order, Wishes, settle
from imagebuilder.system import GPTBOOT, PMBR, appliance_of, product_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return imageyard.make_checkout(tmp_path)


def order(checkout: Path, profile: str = "", arch: str = "") -> Order:
    wishes = Wishes(profile=profile, arch=arch)
    return settle(wishes, Checkout(folder=checkout), imageyard.REVISION)


def test_an_installer_has_the_appliance_of_the_image_in_it(checkout: Path) -> None:
    image, stick = order(checkout), order(checkout, "installer")
    assert appliance_of(stick) == appliance_of(image) == product_of(image)
    own, below = product_of(stick), appliance_of(stick).uppers
    assert own.uppers[: len(below)] == below
    assert [upper.title for upper in own.uppers] == [
        "overlay base", "overlay installer", "checksums",
    ]  # fmt: skip


def test_no_two_systems_share_a_step_or_a_file(checkout: Path) -> None:
    stick = order(checkout, "installer")
    own, appliance = product_of(stick), appliance_of(stick)
    assert (appliance.step("tree"), own.step("tree")) == ("tree", "installer-tree")
    assert own.stem != appliance.stem
    assert appliance.sources == ("overlays",)
    assert own.sources == ("overlays", "installer-overlays", "installer-checksums")


def test_boot_code_for_bios_is_wanted_where_there_is_bios(checkout: Path) -> None:
    assert {PMBR, GPTBOOT} <= set(product_of(order(checkout, "installer")).wanted)
    aarch64 = product_of(order(checkout, "installer", "aarch64"))
    assert not {PMBR, GPTBOOT} & set(aarch64.wanted)
    assert product_of(order(checkout)).wanted == ()


def test_a_profile_without_installer_is_another_appliance(checkout: Path) -> None:
    (checkout / "image/large.toml").write_text("[disk]\nslot_mib = 7\n")
    large = order(checkout, "large")
    assert large.recipe.disk.slot_mib == 7
    assert product_of(large) == appliance_of(large)
    assert product_of(large).stem == "maculaos-1.2.3-amd64-large"
