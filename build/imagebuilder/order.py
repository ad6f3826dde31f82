"""An order: one build as it was asked for, with everything settled before the first step.

It joins the recipe with the wishes of one build (``make image RELEASE=... SETS=...``). It reads
no file but the recipe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from imagebuilder.recipe import Arch, Recipe, load_recipe
from imagebuilder.release.source import is_url
from imagebuilder.revision import Revision
from maculaos.errors import UsageError

NAME: Final = "maculaos"
RECIPE: Final = "image/image.toml"
NO_PACKAGES: Final = "none"
Base = Literal["sets", "pkgbase"]
# What base packages are laid as: the same layers as the sets that every release has.
BASE_LAYERS: Final = ("base", "kernel")
# Beside the image: on one file system with it, so that what is made there can be linked.
BUILD_FOLDER: Final = ".build"
_PROFILE: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
_RELEASE: Final = re.compile(r"([0-9]{1,2}\.[0-9]{1,2})(-[A-Z0-9]{1,16}(?:-p[0-9]{1,3})?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a person may set aside for one build; empty is as the recipe says."""

    # A file beside the recipe that is laid over it, as in installer.
    profile: str = ""
    release: str = ""
    arch: str = ""
    # URL, or a folder with MANIFEST, base.txz and kernel.txz; of a repository, for pkgbase.
    sets: str = ""
    # sets, or pkgbase: a base system made of packages.
    base: str = ""
    # URL, a folder, or "none".
    packages: str = ""
    out: str = ""
    cache: str = ""
    # A folder with wheels and sources of the lock.
    wheels: str = ""
    key: str = ""
    lock: str = ""
    # Fetch the catalogue of the packages anew.
    refresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One build: what, from where, and to where; all paths are absolute."""

    recipe: Recipe
    revision: Revision
    checkout: Path
    # The folder of the recipe, which its other files are relative to.
    image: Path
    # As in 15.1-RELEASE.
    release: str
    arch: Arch
    sets: str
    packages: str
    # Where the image goes, and where its steps lie, which all profiles share.
    out: Path
    work: Path
    cache: Path
    wheels: Path
    key: Path
    lock: Path
    # Empty for the recipe alone.
    profile: str = ""
    base: Base = "sets"
    # Whether the key may be made, as it is the usual one and not one that somebody named.
    makes_key: bool = False
    refresh: bool = False

    @property
    def version(self) -> str:
        """The release without what comes behind a dash, as in 15.1."""
        return self.release.partition("-")[0]

    @property
    def has_packages(self) -> bool:
        """Whether anything lies above the base system."""
        return self.packages != NO_PACKAGES

    @property
    def is_pkgbase(self) -> bool:
        """Whether the base system is made of packages."""
        return self.base == "pkgbase"

    @property
    def base_layers(self) -> tuple[str, ...]:
        """What the base system is laid of, lowest first."""
        return BASE_LAYERS if self.is_pkgbase else self.recipe.release.sets

    @property
    def has_bios(self) -> bool:
        """Whether machines of this architecture may start by BIOS."""
        return self.arch == "amd64"

    @property
    def system_stem(self) -> str:
        """What the system is called, whatever is made of it."""
        return f"{NAME}-{self.revision.version}-{self.arch}"

    @property
    def stem(self) -> str:
        """What the names of all files of this image begin with."""
        return f"{self.system_stem}-{self.profile}" if self.profile else self.system_stem

    @property
    def system_seed(self) -> str:
        """What the identifiers within the system's partitions follow from."""
        return f"{self.system_stem} {self.revision.commit}"

    @property
    def seed(self) -> str:
        """What the identifiers of the disk follow from."""
        return f"{self.stem} {self.revision.commit}"

    def data(self, name: str) -> Path:
        """A file that the recipe names."""
        return self.image / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Where the recipe and everything that is ours lie."""

    folder: Path
    recipe: Path = Path(RECIPE)


def settle(wishes: Wishes, checkout: Checkout, revision: Revision) -> Order:
    """The order for these wishes; raises ``UsageError`` for one that cannot be."""
    path = (checkout.folder / checkout.recipe).absolute()
    recipe = _recipe(path, wishes.profile)
    base = _base(wishes.base)
    _check_packages(wishes.packages, recipe)
    var = checkout.folder.absolute() / "var"
    cache = _folder(wishes.cache, var / "cache/image")
    out = _folder(wishes.out, var / "image")
    return Order(
        profile=wishes.profile,
        base=base,
        recipe=recipe,
        revision=revision,
        checkout=checkout.folder.absolute(),
        image=path.parent,
        release=_release(wishes.release or recipe.release.version),
        arch=_arch(wishes.arch or recipe.release.arch),
        sets=_place(wishes.sets or ("" if base == "pkgbase" else recipe.release.mirror), "SETS"),
        packages=_place(wishes.packages, "PKGS", NO_PACKAGES),
        # A profile has a folder of its own, so that each folder holds one image and its sums.
        out=out / wishes.profile,
        work=out / BUILD_FOLDER,
        cache=cache,
        wheels=_folder(wishes.wheels, cache / "wheels"),
        key=_folder(wishes.key, var / "keys/image.pem"),
        lock=_folder(wishes.lock, path.parent / recipe.release.lock),
        makes_key=not wishes.key,
        refresh=wishes.refresh,
    )


def _recipe(path: Path, profile: str) -> Recipe:
    if not profile:
        return load_recipe(path)
    if not _PROFILE.fullmatch(profile):
        raise UsageError(f"{profile!r} is no profile", "name a file of image/, as in installer")
    return load_recipe(path, path.parent / f"{profile}.toml")


def _check_packages(packages: str, recipe: Recipe) -> None:
    if packages == NO_PACKAGES and recipe.installer is not None:
        raise UsageError(
            "PKGS=none: the installer needs Python, which is a package",
            "leave PKGS away, or give a repository",
        )


def _base(text: str) -> Base:
    if text and text not in get_args(Base):
        raise UsageError(f"BASE={text} is unknown", f"say {' or '.join(get_args(Base))}")
    return cast("Base", text or "sets")


def _release(text: str) -> str:
    found = _RELEASE.fullmatch(text)
    if found is None:
        raise UsageError(f"RELEASE={text} is no release of FreeBSD", "write it like 15.1")
    return f"{found[1]}{found[2] or '-RELEASE'}"


def _arch(text: str) -> Arch:
    if text not in get_args(Arch):
        raise UsageError(f"ARCH={text} is unknown", f"choose {' or '.join(get_args(Arch))}")
    return cast("Arch", text)


def _place(text: str, name: str, *words: str) -> str:
    """A URL as it is, a folder made absolute; raises ``UsageError`` for a folder that is not."""
    if not text or text in words or is_url(text):
        return text
    folder = Path(text).absolute()
    if not folder.is_dir():
        choices = " or ".join(("a URL", "a folder that is there", *words))
        raise UsageError(f"{name}={text}: no such folder", f"give {choices}")
    return str(folder)


def _folder(text: str, default: Path) -> Path:
    return Path(text).absolute() if text else default
