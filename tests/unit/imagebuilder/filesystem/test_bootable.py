"""What gptboot could not start is told before a slot is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.bootable import READ_MOST, require_bootable, require_files
from imagebuilder.filesystem.tree import Layer, Tree, merge
from maculaos.errors import UsageError

LOADERS = ("boot/loader", "boot/loader.efi", "boot/kernel/kernel")


def tree(*files: str, links: tuple[str, ...] = ()) -> Tree:
    entries = [Entry(path=p, kind=Kind.FILE, mode=0o555, source=Path("x")) for p in files]
    entries += [Entry(path=p, kind=Kind.SYMLINK, mode=0o755, target="y") for p in links]
    return merge([Layer("all", entries)])


def test_loaders_and_kernel_are_enough() -> None:
    require_bootable(tree(*LOADERS), "amd64", {})
    require_bootable(tree(*LOADERS[1:]), "aarch64", {})


@pytest.mark.parametrize("gone", LOADERS)
def test_what_is_missing_is_named(gone: str) -> None:
    with pytest.raises(UsageError, match=f"there is no {gone}"):
        require_bootable(tree(*(p for p in LOADERS if p != gone)), "amd64", {})


def test_a_link_that_gptboot_does_not_follow_is_named() -> None:
    linked = tree("boot/loader_lua", *LOADERS[1:], links=("boot/loader",))
    with pytest.raises(UsageError, match="boot/loader is a symbolic link"):
        require_bootable(linked, "amd64", {})


def test_a_loader_that_is_too_large_is_named() -> None:
    with pytest.raises(UsageError, match=r"boot/loader\.efi has more than the 128 MiB"):
        require_bootable(tree(*LOADERS), "amd64", {"boot/loader.efi": READ_MOST + 1})


def test_what_a_system_cannot_work_without_is_named() -> None:
    there = tree("boot/pmbr", links=("usr/local/bin/python3",))
    require_files(there, ("boot/pmbr", "usr/local/bin/python3"))
    require_files(there, ())
    with pytest.raises(UsageError, match=r"there is no boot/gptboot; there is no x"):
        require_files(there, ("boot/gptboot", "boot/pmbr", "x"))
