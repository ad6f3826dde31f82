"""What a bundle says of itself: which branch, which commit, and the hash of what it holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.settings import check_branch
from reconciler.values import STRICT

MANIFEST_BYTES: Final = 64 * 1024
CONTENT_BYTES: Final = 4 << 30


class BadBundle(UsageError):
    """A file that is no bundle, or not the one that it claims to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The first member of a bundle; what is signed, if anything is."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    branch: Annotated[str, AfterValidator(check_branch)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    # Seconds since the epoch.
    made_at: float
    # Of the Git bundle.
    size: Annotated[int, Ge(1), Le(CONTENT_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    def as_bytes(self) -> bytes:
        """What ``parse_manifest`` reads."""
        return _MANIFEST.dump_json(self, indent=1) + b"\n"


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest; raises ``BadBundle``."""
    try:
        return _MANIFEST.validate_json(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "its start"
        raise BadBundle(
            f"the manifest of the bundle is wrong at {where}", "make it anew"
        ) from error


_MANIFEST: Final = TypeAdapter(Manifest)
