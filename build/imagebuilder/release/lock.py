"""Pins of releases: the SHA-256 of a release's MANIFEST, kept from when it was first fetched.

The lock is a TOML file that people review and commit. A MANIFEST is not signed, so its hash is
what ties a build to one release; a MANIFEST that differs from its pin is never used. Of a base
system made of packages the catalogue of its repository is pinned, in a line of its own.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Release and architecture, such as ("15.1-RELEASE", "amd64"); see also ``catalogue_key``.
ReleaseKey = tuple[str, str]

LOCK_BYTES_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HEADER: Final = """\
# SHA-256 of each release's MANIFEST, pinned when it was first fetched. Written by the image
# builder; a table for each release, a line for each architecture, and another for the catalogue
# of its base packages. Remove a line to pin anew.
"""


def read_pins(path: Path) -> dict[ReleaseKey, str]:
    """The pinned hashes; none if the file is not there. Raises ``UsageError`` if it is broken."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    if len(content) > LOCK_BYTES_MAX:
        raise UsageError(f"{path} is larger than {LOCK_BYTES_MAX} bytes", "restore it from Git")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "restore it from Git") from error
    pins = {}
    for release, table in document.items():
        for arch, digest in table.items() if isinstance(table, dict) else [("", "")]:
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise UsageError(
                    f"{path}: {release} {arch}: not a SHA-256 in hexadecimal", "restore it from Git"
                )
            pins[release, arch] = digest
    return pins


def render_pins(pins: Mapping[ReleaseKey, str]) -> str:
    """The text of the lock file, in one order whatever came first."""
    lines = [_HEADER]
    for release in sorted({release for release, _ in pins}):
        lines.append(f'["{release}"]\n')
        lines += [
            f'"{arch}" = "{digest}"\n'
            for (pinned, arch), digest in sorted(pins.items())
            if pinned == release
        ]
    return "".join(lines)


def catalogue_key(release: str, arch: str) -> ReleaseKey:
    """Under what the catalogue of the base packages of a release is pinned."""
    return release, f"{arch}-pkgbase"


def confirm_pin(
    path: Path, key: ReleaseKey, digest: str, what: str = "MANIFEST", how: str = "build again"
) -> bool:
    """Pin ``digest`` if the release has no pin yet (then True), else compare.

    ``what`` is pinned and ``how`` to take it anew are words for errors. Raises ``UsageError`` when
    it is not the pinned one, and changes nothing then.
    """
    pins = read_pins(path)
    pinned = pins.get(key)
    if pinned == digest:
        return False
    release, arch = key
    if pinned is not None:
        raise UsageError(
            f"the {what} of {release} {arch} has changed: pinned {pinned}, found {digest}",
            f"find out why it differs; if it is right, remove its line from {path} and {how}",
        )
    for name in key:
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a release", "write it like 15.1-RELEASE")
    write_atomically(path, render_pins({**pins, key: digest}).encode())
    return True
