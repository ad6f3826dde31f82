"""Seals of letters: made with the node's key, checked against its node id, good for one realm."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maculaos.identity import Identity, node_id_of
from maculaos.security.letters import RealmLetterSeal

if TYPE_CHECKING:
    from maculaos.security.credentials import Credentials


@dataclass
class Sealing:
    """A node that seals: its seal, and its node id."""

    seal: RealmLetterSeal
    node_id: bytes


def sealing(realm: str = "demo") -> Sealing:
    """A node with a key of its own."""
    key = Ed25519PrivateKey.generate()
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    identity = Identity(realm, node_id_of(der), "n1")
    ours = cast("Credentials", SimpleNamespace(identity=identity, key=key))
    return Sealing(RealmLetterSeal(lambda: ours), identity.node_id)


def test_who_knows_the_node_id_can_check_what_it_sealed() -> None:
    writer, reader = sealing(), sealing()
    public, signature = writer.seal.sign(b"text")
    assert (len(public), len(signature)) == (32, 64)
    assert reader.seal.is_genuine(writer.node_id, public, signature, b"text")
    assert not reader.seal.is_genuine(writer.node_id, public, signature, b"other")
    assert not reader.seal.is_genuine(reader.node_id, public, signature, b"text")


def test_seal_of_another_key_or_realm_is_not_believed() -> None:
    writer, other, abroad = sealing(), sealing(), sealing("elsewhere")
    public, signature = writer.seal.sign(b"text")
    foreign, forged = other.seal.sign(b"text")
    assert not writer.seal.is_genuine(writer.node_id, public, forged, b"text")
    assert not writer.seal.is_genuine(writer.node_id, foreign, forged, b"text")
    assert not abroad.seal.is_genuine(writer.node_id, public, signature, b"text")


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"x" * 200])
def test_rubbish_is_not_believed(public: bytes) -> None:
    writer = sealing()
    assert not writer.seal.is_genuine(writer.node_id, public, b"", b"text")
