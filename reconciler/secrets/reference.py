"""A secret as a spec names it: an encrypted file of the repository, and a key in it. Pure.

``{secret: secrets/shop.age}`` is the whole of an age file; ``{secret: secrets/shop.sops.yaml, key:
database.password}`` is one value of a SOPS file. The name says which of both it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

from annotated_types import Len
from pydantic import AfterValidator, Discriminator, Tag

from reconciler.releases.spec import Sha256
from reconciler.values import STRICT, Maybe, TemplatedWord, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

AGE_SUFFIX: Final = ".age"
SOPS_SUFFIXES: Final = (".sops.yaml", ".sops.yml", ".sops.json")

_PATH: Final = re.compile(r"(?!.*(^|/)\.)[A-Za-z0-9._@+-]+(/[A-Za-z0-9._@+-]+){0,15}")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,15}")


def check_secret_file(path: str) -> str:
    """Return ``path`` if it can name an encrypted file of a repository; else ``ValueError``."""
    if len(path) > 255 or _PATH.fullmatch(path) is None:
        raise ValueError(f"{path!r} is no path in the repository: plain names joined by /")
    if not path.endswith((AGE_SUFFIX, *SOPS_SUFFIXES)):
        known = ", ".join((AGE_SUFFIX, *SOPS_SUFFIXES))
        raise ValueError(f"{path!r} is not encrypted by its name: it ends in one of {known}")
    return path


def _check_key(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"{key!r} names no value: write keys of letters, digits, _ and -, by dots")
    return key


SecretFile: TypeAlias = Annotated[str, AfterValidator(check_secret_file)]
SecretKey: TypeAlias = Annotated[str, AfterValidator(_check_key)]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SecretReference:
    """A value that is decrypted on the machine: ``{secret: FILE}``, with a key if it has many."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    secret: SecretFile
    """An encrypted file of the repository: NAME.age, NAME.sops.yaml or NAME.sops.json."""
    key: Maybe[SecretKey] = None
    """Of a SOPS file, the value: keys joined by dots. An age file is taken as a whole."""
    sha256: Maybe[Sha256] = None
    """The SHA-256 of the encrypted file; taken from the commit, where it is not said."""

    def __post_init__(self) -> None:
        if self.is_sops and self.key is None:
            raise ValueError(f"{self.secret} holds several values: say which one by key")
        if not self.is_sops and self.key is not None:
            raise ValueError(f"{self.secret} is one value: leave key out")

    @property
    def is_sops(self) -> bool:
        """Whether it is a value of a SOPS file."""
        return self.secret.endswith(SOPS_SUFFIXES)

    def __str__(self) -> str:
        return self.secret if self.key is None else f"{self.secret}#{self.key}"


def _form_of(value: Any) -> str:
    return "reference" if isinstance(value, (dict, SecretReference)) else "text"


# Told apart by its form, so that what is wrong with one is not said of the other as well.
Value: TypeAlias = Annotated[
    Annotated[TemplatedWord, Tag("text")] | Annotated[SecretReference, Tag("reference")],
    Discriminator(_form_of),
]
Environment: TypeAlias = Annotated[dict[Variable, Value], Len(0, 256)]


def is_secret_file(path: str) -> bool:
    """Whether ``path`` can name an encrypted file of a repository."""
    try:
        check_secret_file(path)
    except ValueError:
        return False
    return True


def references_in(environment: Mapping[str, str | SecretReference]) -> dict[str, SecretReference]:
    """The secrets of an environment, by variable."""
    found = environment.items()
    return {name: value for name, value in found if isinstance(value, SecretReference)}


def sealed(
    environment: Mapping[str, str | SecretReference], digests: Mapping[str, str]
) -> dict[str, str | SecretReference]:
    """The environment with each secret bound to the file that a commit has at its path.

    ``digests`` are the SHA-256 of the encrypted files, by path.
    """
    return {
        name: value
        if isinstance(value, str) or value.secret not in digests
        else replace(value, sha256=digests[value.secret])
        for name, value in environment.items()
    }
