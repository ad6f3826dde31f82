"""Whether gptboot finds in a tree what it starts: by plain folders and files, as it reads them.

gptboot and boot2 follow no symbolic link and read at most 128 MiB of a file (the UFS reader in
FreeBSD's stand/). The loader, which can do more, loads the kernel: that is only looked for.
So is what a system cannot do its work without, once it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Kind
from imagebuilder.filesystem.problems import in_one_line
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from imagebuilder.filesystem.tree import Tree

_EFI_LOADER: Final = "boot/loader.efi"
_BIOS_LOADER: Final = "boot/loader"
_KERNEL: Final = "boot/kernel/kernel"
READ_MOST: Final = 128 * 1024 * 1024


def require_bootable(tree: Tree, arch: str, sizes: Mapping[str, int]) -> None:
    """Raise ``UsageError`` with what keeps ``tree`` from booting; ``sizes`` in bytes, by path."""
    problems = list(_problems(tree, arch, sizes))
    if problems:
        what = f"this tree would not boot: {in_one_line(problems)}"
        raise UsageError(what, "see image/prune.toml, the overlays, and the release's sets")


def require_files(tree: Tree, paths: Iterable[str]) -> None:
    """Raise ``UsageError`` with those of ``paths`` that are not in ``tree``."""
    there = {entry.path for entry in tree.entries}
    missing = [f"there is no {path}" for path in paths if path not in there]
    if missing:
        what = f"this tree would not do its work: {in_one_line(missing)}"
        raise UsageError(what, "see image/prune.toml, the overlays, and image/packages.toml")


def _problems(tree: Tree, arch: str, sizes: Mapping[str, int]) -> Iterator[str]:
    kinds = {entry.path: entry.kind for entry in tree.entries}
    loaders = (_EFI_LOADER, _BIOS_LOADER) if arch == "amd64" else (_EFI_LOADER,)
    for path in ("boot", *loaders, _KERNEL):
        kind = kinds.get(path)
        if kind is None:
            yield f"there is no {path}"
        elif kind is Kind.SYMLINK:
            yield f"{path} is a symbolic link, which gptboot does not follow"
    for path in loaders:
        if sizes.get(path, 0) > READ_MOST:
            yield f"{path} has more than the 128 MiB that gptboot reads"
