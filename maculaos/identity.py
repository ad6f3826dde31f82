"""Who a node is: its realm, its node id and its name, as its certificate states them.

The node id is the SHA-256 of the public key (its SubjectPublicKeyInfo in DER), so it cannot be
chosen and cannot be taken over. A certificate carries it, with the realm, as the URI subject
alternative name ``macula://<realm>/<node id in hex>``. Reading certificates is the business of
``maculaos.security``; this module only knows the words.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NewType

from maculaos.errors import MaculaError

NodeId = NewType("NodeId", bytes)

NODE_ID_SIZE = 32
URI_SCHEME = "macula://"
# A DNS label: the name also serves as host name, jail name and file name.
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
REALM_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"


class InvalidIdentity(MaculaError, ValueError):
    """A realm, name, node id or URI that is not written as the rules above say."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A node as its certificate names it."""

    realm: str
    node_id: NodeId
    name: str

    def __post_init__(self) -> None:
        check_realm(self.realm)
        check_name(self.name)
        if len(self.node_id) != NODE_ID_SIZE:
            raise InvalidIdentity(f"a node id has {NODE_ID_SIZE} bytes, got {len(self.node_id)}")

    @property
    def uri(self) -> str:
        """The URI subject alternative name of this node's certificate."""
        return f"{URI_SCHEME}{self.realm}/{self.node_id.hex()}"


def node_id_of(public_key_der: bytes) -> NodeId:
    """The node id of a public key, given as DER SubjectPublicKeyInfo (RFC 5280, 4.1)."""
    return NodeId(hashlib.sha256(public_key_der).digest())


def parse_uri(uri: str) -> tuple[str, NodeId]:
    """Take realm and node id out of ``macula://<realm>/<64 hex digits>``."""
    matched = re.fullmatch(re.escape(URI_SCHEME) + r"([^/]+)/([0-9a-f]{64})", uri)
    if matched is None:
        raise InvalidIdentity(f"{uri!r} is not {URI_SCHEME}<realm>/<64 hex digits>")
    return check_realm(matched[1]), NodeId(bytes.fromhex(matched[2]))


def check_name(name: str) -> str:
    """Return ``name`` if it can name a node; raise ``InvalidIdentity`` if not."""
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise InvalidIdentity(
            f"{name!r} cannot name a node: use 1 to 32 of a-z, 0-9 and -, ends without -"
        )
    return name


def check_realm(realm: str) -> str:
    """Return ``realm`` if it can name a realm; raise ``InvalidIdentity`` if not."""
    if re.fullmatch(REALM_PATTERN, realm) is None:
        raise InvalidIdentity(
            f"{realm!r} cannot name a realm: use 1 to 63 of a-z, 0-9, . and -, ends without . or -"
        )
    return realm


def short(node_id: NodeId) -> str:
    """The first 8 hex digits: enough for people, never for decisions."""
    return node_id.hex()[:8]
