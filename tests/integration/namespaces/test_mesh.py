"""Mesh nodes in jails with networks of their own become one membership, by QUIC over the bridge."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import jailyard
import namespaceyard
from credentials import make_realm
from jails.spec import Isolation, JailFile, JailSpec, SharedFolder
from maculaos.client import NodeUnreachable, connect
from namespaceyard import NETWORK
from node_process import MACULA

if TYPE_CHECKING:
    from credentials import RealmFolder

_PORT = 4700
_ADDRESSES = {"n1": f"{NETWORK}.21", "n2": f"{NETWORK}.22"}


def node(name: str, peer: str, realm: RealmFolder, sockets: Path) -> JailSpec:
    """A mesh node in a jail that sees its own identity, and leaves its socket in a folder."""
    identity = realm.issue(name).certificate.parent
    config = (
        f"version: 1\nname: {name}\nrealm: {realm.name}\n"
        f"listen: {{address: {_ADDRESSES[name]}, port: {_PORT}}}\n"
        "credentials: {certificate: /identity/node.crt, key: /identity/node.key,"
        " realm_ca: /identity/realm.crt}\n"
        f"control_socket: /sockets/{name}.sock\n"
        "swim: {probe_interval_s: 0.2, probe_timeout_s: 0.1}\n"
        f"peers: ['{_ADDRESSES[peer]}:{_PORT}']\n"
    )
    mounts = (
        SharedFolder(source=str(identity), target="/identity"),
        SharedFolder(source=str(sockets), target="/sockets", is_writable=True),
    )
    return JailSpec(
        name=name,
        command=(*MACULA, "start", "--config", "{data}/node.yaml"),
        files=(JailFile(path="node.yaml", content=config.encode()),),
        isolation=Isolation(network=namespaceyard.vnet(int(name[1:]) + 20), mounts=mounts),
    )


def members(socket: Path) -> dict[str, str]:
    """Who the node behind a socket knows, and what it thinks of them."""

    async def ask() -> dict[str, str]:
        async with asyncio.timeout(jailyard.PATIENCE_S), connect(socket) as mesh:
            return {each["name"]: each["health"] for each in await mesh.members()}

    try:
        return asyncio.run(ask())
    except NodeUnreachable:
        return {}


def test_nodes_in_two_jails_become_one_membership_and_heal() -> None:
    namespaceyard.need_network()
    with (
        tempfile.TemporaryDirectory(prefix="mesh", dir="/tmp") as folder,
        namespaceyard.yard() as root,
    ):
        realm, sockets = make_realm(Path(folder)), Path(folder) / "s"
        sockets.mkdir()
        runtime = namespaceyard.runtime_at(root)
        for name, peer in (("n1", "n2"), ("n2", "n1")):
            runtime.ensure(node(name, peer, realm, sockets))
        both = {"n1": "alive", "n2": "alive"}

        def are_joined() -> bool:
            return all(members(sockets / f"{name}.sock") == both for name in both)

        jailyard.eventually("each knows both", are_joined)
        os.kill(jailyard.pid_of(root, "n2"), signal.SIGKILL)
        jailyard.eventually("n2 is started again", lambda: runtime.look()["n2"].restarts == 1)
        jailyard.eventually("it comes back into the mesh", are_joined)
        for name in both:
            runtime.remove(name)
        namespaceyard.check_nothing_left(root)
