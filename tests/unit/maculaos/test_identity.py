"""Laws of names, realms, node ids and identity URIs."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import (
    NAME_PATTERN,
    NODE_ID_SIZE,
    REALM_PATTERN,
    Identity,
    InvalidIdentity,
    NodeId,
    check_name,
    check_realm,
    node_id_of,
    parse_uri,
    short,
)

NODE_IDS = st.binary(min_size=NODE_ID_SIZE, max_size=NODE_ID_SIZE).map(NodeId)
# Without a newline, which $ of a search pattern would let through and a whole match does not.
NAMES = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda text: not text.endswith("\n"))
REALMS = st.from_regex(REALM_PATTERN, fullmatch=True).filter(lambda text: not text.endswith("\n"))


@given(realm=REALMS, node_id=NODE_IDS, name=NAMES)
def test_uri_gives_back_realm_and_node_id(realm: str, node_id: NodeId, name: str) -> None:
    assert parse_uri(Identity(realm, node_id, name).uri) == (realm, node_id)


@given(st.text())
def test_any_text_is_an_identity_uri_or_refused(text: str) -> None:
    try:
        realm, node_id = parse_uri(text)
    except InvalidIdentity:
        return
    assert text == f"macula://{realm}/{node_id.hex()}"


@pytest.mark.parametrize(
    "uri",
    [
        f"macula://home/{'A' * 64}",
        f"macula://home/{'a' * 63}",
        f"macula://home/{'a' * 64}/",
        f"macula://home/{'a' * 64}\n",
        f"macula://Home/{'a' * 64}",
        f"macula:///{'a' * 64}",
        f"https://home/{'a' * 64}",
        f"macula://home/x/{'a' * 64}",
    ],
)
def test_uri_written_otherwise_is_refused(uri: str) -> None:
    with pytest.raises(InvalidIdentity):
        parse_uri(uri)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a" * 33, "a\n", "ä"])
def test_bad_node_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidIdentity):
        check_name(name)


@pytest.mark.parametrize("realm", ["", ".a", "a.", "A", "a/b", "a" * 64, "a\n"])
def test_bad_realm_is_refused(realm: str) -> None:
    with pytest.raises(InvalidIdentity):
        check_realm(realm)


def test_node_id_is_the_sha256_of_the_public_key() -> None:
    assert node_id_of(b"key") == hashlib.sha256(b"key").digest()
    assert re.fullmatch("[0-9a-f]{8}", short(node_id_of(b"key")))


@given(st.binary(max_size=64).filter(lambda octets: len(octets) != NODE_ID_SIZE))
def test_node_id_of_another_size_is_refused(octets: bytes) -> None:
    with pytest.raises(InvalidIdentity):
        Identity("home", NodeId(octets), "n1")
