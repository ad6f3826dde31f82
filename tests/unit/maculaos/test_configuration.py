"""The configuration file of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from maculaos.configuration import fixed_changes, read_settings
from maculaos.documents import InvalidDocument
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
name: n1
realm: home
listen: {port: 4701}
credentials: {certificate: node.crt, key: /etc/node.key, realm_ca: realm.crt}
control_socket: n1.sock
"""


def test_relative_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "n1.yaml").write_text(GOOD)
    settings = read_settings(tmp_path / "n1.yaml")
    assert settings.credentials.certificate == tmp_path / "node.crt"
    assert str(settings.credentials.key) == "/etc/node.key"
    assert settings.control_socket == tmp_path / "n1.sock"


def test_what_cannot_be_read_is_told_with_the_next_move(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist; name the node's configuration file"):
        read_settings(tmp_path / "n1.yaml")
    with pytest.raises(UsageError, match="is a folder; name the file in it"):
        read_settings(tmp_path)


def test_a_listening_address_must_be_one(tmp_path: Path) -> None:
    file = tmp_path / "n1.yaml"
    file.write_text(GOOD.replace("{port: 4701}", "{port: 4701, address: 'a b'}"))
    with pytest.raises(InvalidDocument, match=r":4:31: listen.address: 'a b' is neither"):
        read_settings(file)


def test_only_peers_where_it_listens_and_the_list_may_change_in_a_running_node(
    tmp_path: Path,
) -> None:
    (tmp_path / "n1.yaml").write_text(GOOD)
    running = read_settings(tmp_path / "n1.yaml")
    assert fixed_changes(running, replace(running, peers=("a:1",))) == ()
    limits = replace(running.limits, links=7)
    other = replace(running, realm="away", limits=limits)
    assert fixed_changes(running, other) == ("realm", "limits.links")
    moved = replace(running, listen=replace(running.listen, address="::1", port=1))
    assert fixed_changes(running, moved) == ()
    listed = replace(running.credentials, revocations=tmp_path / "realm.crl")
    assert fixed_changes(running, replace(running, credentials=listed)) == ()
    rekeyed = replace(running.credentials, key=tmp_path / "other.key")
    assert fixed_changes(running, replace(running, credentials=rekeyed)) == ("credentials.key",)
