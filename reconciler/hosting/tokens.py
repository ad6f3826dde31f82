"""Access tokens of a Git host: who may read or write which repository. Pure.

Only hashes are kept. A token is 256 random bits, so one round of SHA-256 is enough: nobody can
try that many. What a token may do is part of its record, and its record is all there is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from annotated_types import Len
from pydantic import AfterValidator, TypeAdapter, ValidationError

from maculaos.errors import UsageError
from maculaos.identity import check_name as check_token_name
from reconciler.hosting.requests import GitRequest, Service, check_name
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOKEN_BYTES: Final = 32
PREFIX: Final = "mgit_"
TOKENS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """One token, without the token."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Annotated[str, AfterValidator(check_token_name)]
    digest: Annotated[str, Len(64, 64)]
    access: Literal["read", "write"]
    # Without any, every repository.
    repositories: tuple[Annotated[str, AfterValidator(check_name)], ...] = ()

    def allows(self, request: GitRequest) -> bool:
        """Whether the bearer may do that."""
        reaches = not self.repositories or request.repository in self.repositories
        return reaches and (request.service is Service.READ or self.access == "write")


def new_token(drawn: bytes) -> str:
    """A token from random bytes, fit for a URL, a header and a file."""
    return PREFIX + base64.urlsafe_b64encode(drawn).rstrip(b"=").decode()


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def make_record(
    name: str, token: str, *, may_write: bool, repositories: Sequence[str]
) -> TokenRecord:
    """What is kept of a token; raises ``UsageError``."""
    try:
        return TokenRecord(
            name=check_token_name(name),
            digest=digest_of(token),
            access="write" if may_write else "read",
            repositories=tuple(map(check_name, repositories)),
        )
    except ValueError as error:
        raise UsageError(str(error), "choose another name") from error


def bearer(records: Sequence[TokenRecord], token: str) -> TokenRecord | None:
    """Whose token that is; looks at every record, so that time tells nothing."""
    digest, found = digest_of(token), None
    for record in records:
        if hmac.compare_digest(record.digest, digest):
            found = record
    return found


def token_in(headers: Mapping[str, str]) -> str:
    """The token of a request: as a bearer, or as the password of anybody; empty if none."""
    scheme, _, said = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return said.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        decoded = base64.b64decode(said.strip(), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[2]


def read_records(content: bytes) -> tuple[TokenRecord, ...]:
    """The records of a token file; raises ``UsageError``."""
    try:
        return _FILE.validate_json(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        what = f"the file of tokens cannot be read, at {where or 'its start'}"
        raise UsageError(what, "mend it, or remove it and make new tokens") from error


def written_records(records: Sequence[TokenRecord]) -> bytes:
    """What ``read_records`` reads."""
    return _FILE.dump_json(tuple(records), indent=1) + b"\n"


_FILE: Final = TypeAdapter(Annotated[tuple[TokenRecord, ...], Len(0, TOKENS)])
