"""The recipe: what ``image/image.toml`` says of the image as a whole, typed and checked.

It names the other files of ``image/`` and does not read them. What a person asks for in one build
only is the matter of ``order``.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.disk.layout import Sizes
from imagebuilder.disk.partitions import MIB
from maculaos.errors import UsageError

if TYPE_CHECKING:
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


class Recipe(_Part):
    """The whole file."""

    release: ReleasePart
    disk: DiskPart
    contents: ContentsPart
    module: tuple[ModulePart, ...] = Field(default=(), max_length=256)
    formats: FormatsPart


def load_recipe(path: Path) -> Recipe:
    """Read the recipe; raises ``UsageError`` that names the file and the place of a mistake."""
    try:
        with path.open("rb") as file:
            content = file.read(RECIPE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "name a recipe that is there"
        ) from error
    if len(content) > RECIPE_BYTES_MAX:
        raise UsageError(f"{path} is larger than {RECIPE_BYTES_MAX} bytes", "restore it from Git")
    return parse_recipe(content.decode("utf-8", "replace"), str(path))


def parse_recipe(text: str, where: str) -> Recipe:
    """The recipe in TOML; raises ``UsageError`` with every mistake and the path of its key."""
    try:
        document = tomllib.loads(text)
        # By way of JSON: lists become tuples there without any other type being bent.
        recipe = Recipe.model_validate_json(json.dumps(document, default=str))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: {error}", "see toml.io for the form") from error
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
