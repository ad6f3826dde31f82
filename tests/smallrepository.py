"""A small pkg repository, made for a test: real ``.pkg`` files, a catalogue, and its signature."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import zstandard
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

META_CONF = """version = 2;
packing_format = "tzst";
manifests = "packagesite.yaml";
data = "data";
filesite = "files";
manifests_archive = "packagesite";
filesite_archive = "files";
"""


@dataclass(kw_only=True)
class SmallPackage:
    """One package: what its manifest says, and what its archive holds."""

    name: str
    version: str = "1.0"
    origin: str = ""
    # Path without leading slash -> content.
    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    # Path -> the path whose bytes it shares.
    hard_links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    owners: dict[str, tuple[str, str]] = field(default_factory=dict)
    # FreeBSD's file flags, as in schg.
    flags: dict[str, str] = field(default_factory=dict)
    deps: dict[str, str] = field(default_factory=dict)
    # Whatever else the manifest says; it wins over what is worked out.
    more: dict[str, Any] = field(default_factory=dict)

    def compact(self) -> dict[str, Any]:
        """The compact manifest."""
        deps = {name: {"origin": origin, "version": "1.0"} for name, origin in self.deps.items()}
        return {
            "name": self.name,
            "origin": self.origin or f"misc/{self.name}",
            "version": self.version,
            "comment": f"a small {self.name}",
            "abi": "FreeBSD:15:amd64",
            "prefix": "/usr/local",
            "www": "https://example.org/",
            "flatsize": sum(map(len, self.files.values())),
            "deps": deps,
            **self.more,
        }

    def manifest(self) -> dict[str, Any]:
        """The manifest with every file."""
        sums = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        sums |= {path: sums[first] for path, first in self.hard_links.items()}
        sums |= {path: hashlib.sha256(to.encode()).hexdigest() for path, to in self.links.items()}
        files = {
            f"/{quote(path)}": {
                "sum": f"1${sum}",
                "uname": "root",
                "gname": "wheel",
                "perm": "0644",
            }
            for path, sum in sums.items()
        }
        folders = {
            f"/{path}": {"uname": owner, "gname": group, "perm": f"{mode:04o}"}
            for path, (owner, group, mode) in self.folders.items()
        }
        return {**self.compact(), "files": files, "directories": folders, **self.more}

    def members(self) -> list[tuple[tarfile.TarInfo, bytes]]:
        """What lies in the archive, in pkg's order."""
        members = [
            _text("+COMPACT_MANIFEST", json.dumps(self.compact(), separators=(",", ":"))),
            _text("+MANIFEST", json.dumps(self.manifest(), separators=(",", ":"))),
        ]
        for path, content in self.files.items():
            members.append((self._info(path, tarfile.REGTYPE), content))
        for kind, links in ((tarfile.SYMTYPE, self.links), (tarfile.LNKTYPE, self.hard_links)):
            for path, target in links.items():
                info = self._info(path, kind)
                info.linkname = target if kind == tarfile.SYMTYPE else f"/{target}"
                members.append((info, b""))
        for path, (owner, group, mode) in self.folders.items():
            info = self._info(path, tarfile.DIRTYPE)
            info.uname, info.gname, info.mode = owner, group, mode
            members.append((info, b""))
        return members

    def _info(self, path: str, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(f"/{path}")
        info.type = kind
        info.mode = self.modes.get(path, 0o644)
        info.uname, info.gname = self.owners.get(path, ("root", "wheel"))
        if path in self.flags:
            info.pax_headers = {"SCHILY.fflags": self.flags[path]}
        return info

    def write(self, path: Path) -> Path:
        """Write the ``.pkg`` file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zstandard.compress(tar(self.members())))
        return path


def _text(name: str, text: str) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), text.encode()


def tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar archive of these members."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return whole.getvalue()


class SmallKey:
    """A key that signs catalogues as ``pkg repo`` does in fingerprint mode."""

    def __init__(self, bits: int = 2048) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    @property
    def public(self) -> bytes:
        """The public key as the archive holds it."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprint(self) -> str:
        """What a file in ``trusted/`` states."""
        return hashlib.sha256(self.public).hexdigest()

    def sign(self, content: bytes) -> bytes:
        """The signature of a file: of the hexadecimal digits of its SHA-256."""
        digits = hashlib.sha256(content).hexdigest().encode()
        return self.key.sign(digits, padding.PKCS1v15(), hashes.SHA256())


@dataclass
class SmallRepository:
    """A repository in a folder."""

    folder: Path
    packages: list[SmallPackage]

    def write(self, *keys: SmallKey, form: str = "data") -> SmallRepository:
        """Write everything, with the catalogue in the form ``data`` or ``packagesite``."""
        rows = [self._row(package) for package in self.packages]
        (self.folder / "meta.conf").write_text(META_CONF)
        if form == "data":
            content = json.dumps({"groups": [], "expired_packages": [], "packages": rows}).encode()
            self.write_catalogue("data.pkg", "data", content, *keys)
        else:
            content = "".join(
                json.dumps(row, separators=(",", ":")) + "\n" for row in rows
            ).encode()
            self.write_catalogue("packagesite.pkg", "packagesite.yaml", content, *keys)
        return self

    def write_catalogue(self, archive: str, member: str, content: bytes, *keys: SmallKey) -> None:
        """Write one archive of a catalogue, signed with every key."""
        members = []
        for number, key in enumerate(keys):
            members.append((tarfile.TarInfo(f"{member}{number or ''}.sig"), key.sign(content)))
            members.append((tarfile.TarInfo(f"{member}{number or ''}.pub"), key.public))
        members.append((tarfile.TarInfo(member), content))
        (self.folder / archive).write_bytes(zstandard.compress(tar(members)))

    def _row(self, package: SmallPackage) -> dict[str, Any]:
        path = f"All/{package.name}-{package.version}.pkg"
        content = package.write(self.folder / path).read_bytes()
        return {
            **package.compact(),
            "sum": hashlib.sha256(content).hexdigest(),
            "path": path,
            "repopath": path,
            "pkgsize": len(content),
        }
