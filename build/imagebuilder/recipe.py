"""The recipe: what ``image/image.toml`` says of the image as a whole, typed and checked.

A profile is a second file with what differs; it is laid over the first, key by key. Both name the
other files of ``image/``, which are not read here. What a person asks for in one build only is the
matter of ``order``.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.disk.layout import Sizes
from imagebuilder.disk.partitions import MIB
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECIPE_BYTES_MAX: Final = 256 * 1024
PROBLEMS_SHOWN: Final = 5

Version = Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]{1,2}$")]
Arch = Literal["amd64", "aarch64"]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
_File = Annotated[str, Field(min_length=1, max_length=255)]
_Mib = Annotated[int, Field(ge=1, le=32 * 1024)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ReleasePart(_Part):
    """Which FreeBSD."""

    version: Version
    arch: Arch
    sets: tuple[_Name, ...] = Field(min_length=1, max_length=16)
    mirror: str = ""
    # Which packages make a base system, where it is made of packages.
    pkgbase: _File = "pkgbase.toml"
    lock: _File


class DiskPart(_Part):
    """How large the partitions are."""

    slot_mib: _Mib
    efi_mib: _Mib
    cfg_mib: _Mib
    data_mib: _Mib

    def sizes(self) -> Sizes:
        """The sizes in bytes; raises ``UsageError`` for one that no disk can have."""
        return Sizes(
            slot_bytes=self.slot_mib * MIB,
            esp_bytes=self.efi_mib * MIB,
            cfg_bytes=self.cfg_mib * MIB,
            data_bytes=self.data_mib * MIB,
        )


class ContentsPart(_Part):
    """Which files say what goes in, relative to the recipe's folder."""

    overlays: tuple[_Name, ...] = Field(max_length=16)
    prune: _File
    packages: _File
    python: _File
    accounts: _File
    requirements: _File
    sysctls: _File
    layout: _File


class ModulePart(_Part):
    """Kernel modules that stay, and why."""

    names: tuple[_Name, ...] = Field(min_length=1, max_length=64)
    why: Annotated[str, Field(min_length=1)]


class FormatsPart(_Part):
    """What the disk is made into."""

    disks: tuple[Literal["qcow2", "vmdk"], ...]
    zstd_window_log: Annotated[int, Field(ge=20, le=30)]
    xz: bool


class InstallerPart(_Part):
    """A stick that installs the system; only a profile asks for one."""

    # Trees on top of those of the system, for the one that runs from the stick.
    overlays: tuple[_Name, ...] = Field(min_length=1, max_length=16)
    # A FAT partition for the answers of who installs.
    seed_mib: Annotated[int, Field(ge=1, le=512)]


class Recipe(_Part):
    """The whole file, or two of them."""

    release: ReleasePart
    disk: DiskPart
    contents: ContentsPart
    module: tuple[ModulePart, ...] = Field(default=(), max_length=256)
    formats: FormatsPart
    installer: InstallerPart | None = None


def load_recipe(path: Path, profile: Path | None = None) -> Recipe:
    """Read the recipe, and lay a profile over it.

    Raises ``UsageError`` that names the file and the place of a mistake.
    """
    text = _read(path)
    recipe = parse_recipe(text, str(path))
    if recipe.installer is not None:
        raise UsageError(
            f"{path}: installer: a recipe for every build has none",
            "put it into a profile: a file beside this one",
        )
    if profile is None:
        return recipe
    # What is wrong now is the profile's: the recipe alone was right.
    return parse_profile(text, _read(profile), str(profile))


def parse_recipe(text: str, where: str) -> Recipe:
    """The recipe in TOML; raises ``UsageError`` with every mistake and the path of its key."""
    return _checked(_document(text, where), where)


def parse_profile(text: str, profile: str, where: str) -> Recipe:
    """The recipe with a profile over it, both in TOML; ``where`` names the profile in errors.

    Raises ``UsageError`` with every mistake and the path of its key.
    """
    return _checked(lay_over(_document(text, where), _document(profile, where)), where)


def lay_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both documents in one: tables are joined, and of all else the upper one counts."""
    both = {
        key: lay_over(under[key], value) if _are_tables(under.get(key), value) else value
        for key, value in over.items()
    }
    return {**under, **both}


def _are_tables(*values: object) -> bool:
    return all(isinstance(value, dict) for value in values)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(RECIPE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "name a recipe that is there"
        ) from error
    if len(content) > RECIPE_BYTES_MAX:
        raise UsageError(f"{path} is larger than {RECIPE_BYTES_MAX} bytes", "restore it from Git")
    return content.decode("utf-8", "replace")


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: {error}", "see toml.io for the form") from error


def _checked(document: Mapping[str, Any], where: str) -> Recipe:
    try:
        # By way of JSON: lists become tuples there without any other type being bent.
        recipe = Recipe.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise UsageError(
            f"{where}: {_in_words(error)}", "image/README.md says what may stand there"
        ) from error
    recipe.disk.sizes()
    return recipe


def _in_words(error: ValidationError) -> str:
    """The first mistakes as ``disk.slot_mib: Input should be ...``, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:PROBLEMS_SHOWN]]
    more = len(found) - PROBLEMS_SHOWN
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
