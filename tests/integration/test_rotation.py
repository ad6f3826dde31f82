"""Real nodes whose certificates are renewed and revoked while they run."""

from __future__ import annotations

import re
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from maculaos.client import CallFailed
from maculaos.host.clock import SystemClock
from maculaos.security.authority import realm_files
from maculaos.security.revoker import renew_list, revoke
from node_process import Yard, eventually, free_port, yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place() -> Iterator[Yard]:
    with yard() as made:
        yield made


def links(place: Yard, name: str) -> int:
    count: int = place.ask(name, lambda mesh: mesh.stats())["links"]
    return count


def reload(place: Yard) -> None:
    place.ask("n1", lambda mesh: mesh.reload())


def watch_list(place: Yard, name: str, port: int, peers: tuple[int, ...] = ()) -> Path:
    """Configure a node that reads ``name.crl``, and sign it a list; return where it lies."""
    renew_list(place.realm.authority, now=SystemClock().now())
    config = place.configure(name, port, peers)
    text = config.read_text()
    config.write_text(text.replace("control_socket", f"  revocations: {name}.crl\ncontrol_socket"))
    return bring_list(place, name)


def bring_list(place: Yard, name: str) -> Path:
    """Copy the authority's newest list to where the node reads it."""
    path = place.folder / f"{name}.crl"
    shutil.copyfile(realm_files(place.realm.authority).revocations, path)
    return path


def start_pair(place: Yard) -> None:
    first, second = free_port(), free_port()
    watch_list(place, "n1", first)
    watch_list(place, "n2", second, (first,))
    for name in ("n1", "n2"):
        place.start(name)
    eventually(lambda: links(place, "n1") == 1, "n1 and n2 are linked")


def test_new_certificate_is_taken_without_losing_a_link(place: Yard) -> None:
    start_pair(place)
    place.realm.renew("n1", days=99)
    reload(place)
    assert "credentials_renewed" in place.log("n1")
    assert links(place, "n1") == 1
    assert "link_down" not in place.log("n1") + place.log("n2")
    # A handshake that begins now is made with it.
    third = free_port()
    place.configure("n3", third, tuple(map(int, re.findall(r"port: (\d+)", config(place, "n1")))))
    place.start("n3")
    eventually(lambda: links(place, "n1") == 2, "n3 found n1")


def config(place: Yard, name: str) -> str:
    return (place.folder / f"{name}.yaml").read_text()


def test_revoked_peer_loses_its_link_and_comes_back_in_vain(place: Yard) -> None:
    start_pair(place)
    revoke(place.realm.authority, "n2", now=SystemClock().now() + 5)
    bring_list(place, "n1")
    place.running[0].send_signal(signal.SIGHUP)
    eventually(lambda: links(place, "n1") == 0, "n1 let go of n2")
    assert "links_closed=1" in place.log("n1")
    eventually(lambda: "revoked" in place.log("n2"), "n2 is told why")
    assert links(place, "n1") == 0


def test_older_list_and_another_key_are_refused_and_the_node_goes_on(place: Yard) -> None:
    start_pair(place)
    older = (place.folder / "n1.crl").read_bytes()
    renew_list(place.realm.authority, now=SystemClock().now() + 5)
    bring_list(place, "n1")
    reload(place)
    (place.folder / "n1.crl").write_bytes(older)
    with pytest.raises(CallFailed, match="is older than list"):
        reload(place)
    bring_list(place, "n1")
    files = place.realm.settings_of("n1")
    files.certificate.unlink()
    files.key.unlink()
    place.realm.issue("n1")
    with pytest.raises(CallFailed, match="another key"):
        reload(place)
    assert links(place, "n1") == 1
