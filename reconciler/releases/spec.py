"""What a spec says of a release: where its archive is, and by what it is known.

A release is its SHA-256; the URL only says where to look. Nothing is fetched here, and which
servers and keys a machine trusts is said in its settings, never in the repository.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator

from reconciler.values import STRICT, TEMPLATED, Maybe

RELEASE_SCHEMES: Final = ("https", "http", "file")
LONGEST_URL: Final = 2000

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OUTSIDE_URL: Final = re.compile(r"[^\x21-\x7e]")
_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}")


def check_release_url(url: str) -> str:
    """Return ``url`` if it can name an archive; raise ``ValueError`` in words if not."""
    if not url or len(url) > LONGEST_URL or _OUTSIDE_URL.search(url) is not None:
        raise ValueError(f"a URL has 1 to {LONGEST_URL} visible ASCII characters and no blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in RELEASE_SCHEMES:
        raise ValueError(f"{url!r} is not fetched: use https://, or file:// on the machine itself")
    if "@" in parts.netloc:
        raise ValueError("a URL is shown in status and logs: keep name and password out of it")
    if parts.fragment:
        raise ValueError("a URL of an archive has no #fragment")
    _check_place(url, parts.scheme, parts.netloc, has_host=bool(parts.hostname) and port != 0)
    return url


def _check_place(url: str, scheme: str, netloc: str, *, has_host: bool) -> None:
    if scheme == "file" and (netloc or not urlsplit(url).path.startswith("/")):
        raise ValueError(f"{url!r} is no file: write file:///<absolute path>")
    if scheme != "file" and not has_host:
        raise ValueError(f"{url!r} names no host")


def check_sha256(text: str) -> str:
    """Return ``text`` if it is a SHA-256 as sha256sum(1) writes it; else ``ValueError``."""
    if _SHA256.fullmatch(text) is None:
        raise ValueError("a SHA-256 has 64 of 0-9 and a-f")
    return text


def _check_written_url(url: str) -> str:
    """The same, before templates are filled: what one stands for may be anything but the scheme."""
    check_release_url(_TEMPLATE.sub("0", url))
    return url


ReleaseUrl: TypeAlias = Annotated[str, AfterValidator(_check_written_url), TEMPLATED]
Sha256: TypeAlias = Annotated[str, AfterValidator(check_sha256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSpec:
    """One release of an app: a tar archive, plain or packed by gzip, xz or bzip2."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    url: ReleaseUrl
    """Where the archive is: https://; http:// where the machine allows it; file:///path."""
    sha256: Sha256
    """The SHA-256 of the archive, in hexadecimal: the name of the release."""
    signature: Maybe[ReleaseUrl] = None
    """Where its SSH signature is (ssh-keygen -Y sign -n macula-release), checked by the machine."""
    strip: Annotated[int, Ge(0), Le(8)] = 0
    """How many leading parts are cut from the paths in the archive."""
    size: Maybe[Annotated[int, Ge(1), Le(1 << 40)]] = None
    """Bytes of the archive, if known: any other size is refused before it is fetched in full."""

    @property
    def identity(self) -> str:
        """The name of what it unpacks to: the same archive cut otherwise is another release."""
        return self.sha256 if self.strip == 0 else f"{self.sha256}-strip{self.strip}"


def is_identity(name: str) -> bool:
    """Whether ``name`` can be a ``ReleaseSpec.identity``."""
    sha256, separator, strip = name.partition("-strip")
    return _SHA256.fullmatch(sha256) is not None and (not separator or strip in "12345678")
