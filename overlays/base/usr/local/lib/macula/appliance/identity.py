"""Who this machine is: its key, its host id, and the key by which ssh knows it.

Each is made once and kept on ``cfg``, so that an update, a crash or a power cut changes none of
them, and so that two machines written from one image differ from the first start on. What was
damaged is set aside and made anew, never guessed at. Pure: entropy is an argument; the files are
read and written by ``appliance.startup``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    # So many unpredictable bytes, as maculaos.host.entropy draws them.
    Draw = Callable[[int], bytes]

MACHINE_KEY: Final = "/cfg/identity/machine.key"
HOST_UUID: Final = "/cfg/identity/hostuuid"
SSH_HOST_KEY: Final = "/cfg/ssh/ssh_host_ed25519_key"
_SEED_BYTES: Final = 32
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n")


class Damaged(UsageError):
    """What lies there is not what was once written."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the identity: where it lies, and what it is for people."""

    path: str
    what: str

    def make(self, draw: Draw) -> bytes:
        """A new one."""
        return make_uuid(draw) if self.path == HOST_UUID else make_key(draw)

    def check(self, content: bytes) -> None:
        """Raise ``Damaged`` if ``content`` cannot be this part."""
        if self.path == HOST_UUID:
            read_uuid(content)
        else:
            public_line(content)


PARTS: Final = (
    Part(MACHINE_KEY, "the machine's key"),
    Part(HOST_UUID, "the host id"),
    Part(SSH_HOST_KEY, "the ssh host key"),
)


def make_key(draw: Draw) -> bytes:
    """A new Ed25519 key, in the form of OpenSSH, so that ssh(1) and sshd(8) read it too."""
    key = Ed25519PrivateKey.from_private_bytes(draw(_SEED_BYTES))
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def public_line(content: bytes) -> str:
    """``ssh-ed25519 AAAA...`` of a key file; raises ``Damaged``."""
    try:
        key = load_ssh_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise Damaged("the file holds no key of OpenSSH") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Damaged("the file holds a key of another kind")
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def fingerprint(line: str) -> str:
    """``SHA256:...`` of a public key, as ssh-keygen prints it."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def make_uuid(draw: Draw) -> bytes:
    """A new random host id, as its file holds it (RFC 9562, version 4)."""
    return f"{UUID(bytes=draw(16), version=4)}\n".encode("ascii")


def read_uuid(content: bytes) -> str:
    """The host id of a file; raises ``Damaged``."""
    text = content.decode("ascii", "replace")
    if _UUID.fullmatch(text) is None:
        raise Damaged("the file holds no host id")
    return text.strip()


def host_id(uuid: str) -> int:
    """The number that FreeBSD derives from a host id: the first 32 bits of its MD5 (rc.d/hostid).

    epair(4) makes hardware addresses of it, so it must differ between machines of one network.
    """
    return int(hashlib.md5(uuid.encode("ascii"), usedforsecurity=False).hexdigest()[:8], 16)


def default_name(uuid: str) -> str:
    """The host name of a machine that was given none."""
    return f"macula-{uuid[:8]}"
