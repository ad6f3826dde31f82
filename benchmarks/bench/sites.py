"""Where a contender's parts find each other: a broker between them, daemons, or only each other."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from bench import throwaway
from bench.contest import Contender, Places
from bench.parts import OUR_PYTHON, PEERS_PYTHON, free_ports, part
from credentials import make_realm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.parts import Part
    from credentials import RealmFolder

_MACULA: Final = OUR_PYTHON.with_name("macula")
_PATIENCE_S: Final = 10.0
# Brokers: what they may hold and send is not limited, and small packets leave at once.
_NATS: Final = """\
listen: "127.0.0.1:{port}"
max_pending: 512MB
tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key" }}
"""
_MOSQUITTO: Final = """\
listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
persistence false
"""


@asynccontextmanager
async def nats(folder: Path, takers: int) -> AsyncIterator[Places]:
    """``nats-server`` with TLS."""
    throwaway.certificates(folder)
    async with _broker(folder, takers, "nats-server", _NATS, ["-c"]) as places:
        yield places


@asynccontextmanager
async def mosquitto(folder: Path, takers: int) -> AsyncIterator[Places]:
    """``mosquitto`` over TCP."""
    async with _broker(folder, takers, "mosquitto", _MOSQUITTO, ["-c"]) as places:
        yield places


@asynccontextmanager
async def direct(folder: Path, takers: int) -> AsyncIterator[Places]:
    """Nothing between: takers listen, the giver dials them."""
    throwaway.certificates(folder)
    ports = free_ports(takers)
    here = ["--folder", str(folder)]
    yield Places(
        [*here, "--dial", ",".join(map(str, ports))],
        [[*here, "--listen", str(port)] for port in ports],
        [],
    )


@asynccontextmanager
async def embedded(folder: Path, takers: int) -> AsyncIterator[Places]:
    """A node within each program; the giver's knows the addresses of the others."""
    folders = _nodes(folder, takers)
    yield Places(
        ["--folder", str(folders[0])], [["--folder", str(each)] for each in folders[1:]], []
    )


@asynccontextmanager
async def daemons(folder: Path, takers: int) -> AsyncIterator[Places]:
    """A daemon beside each program."""
    folders = _nodes(folder, takers)
    async with AsyncExitStack() as stack:
        running = []
        for each in folders:
            configuration = each / "node.yaml"
            command = [str(_MACULA), "start", "--config", str(configuration)]
            started = part(each.name, command, folder)
            running.append(await stack.enter_async_context(started))
        # Programs find a folder without a configuration: so the node is the one on the socket.
        places = []
        for each in folders:
            beside = each / "program"
            beside.mkdir()
            (beside / "node.sock").symlink_to(each / "node.sock")
            places.append(["--folder", str(beside)])
        yield Places(places[0], places[1:], running)


@asynccontextmanager
async def _broker(
    folder: Path, takers: int, program: str, settings: str, words: list[str]
) -> AsyncIterator[Places]:
    (port,) = free_ports(1, socket.SOCK_STREAM)
    configuration = folder / "broker.conf"
    configuration.write_text(settings.format(port=port, folder=folder))
    command = [_found(program), *words, str(configuration)]
    async with part("broker", command, folder) as broker:
        await _listening(broker, port)
        here = ["--folder", str(folder), "--dial", str(port)]
        yield Places(here, [here] * takers, [broker])


async def _listening(broker: Part, port: int) -> None:
    """Wait until it can be connected to; raises ``PartFailed``."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not await _answers(port):  # noqa: ASYNC110  # what is awaited is no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise broker.failed("does not listen") from None


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _nodes(folder: Path, takers: int) -> list[Path]:
    """A folder for each node, with its configuration; the first is the giver's."""
    realm = make_realm(folder)
    names = [f"n{number}" for number in range(takers + 1)]
    ports = free_ports(len(names))
    peers = [f"127.0.0.1:{port}" for port in ports[1:]]
    found = []
    for name, port in zip(names, ports, strict=True):
        place = folder / name
        place.mkdir()
        settings = _settings(realm, name, port, place)
        settings["peers"] = peers if name == names[0] else []
        # JSON is YAML.
        (place / "node.yaml").write_text(json.dumps(settings))
        found.append(place)
    return found


def _settings(realm: RealmFolder, name: str, port: int, place: Path) -> dict[str, Any]:
    files = realm.issue(name)
    return {
        "version": 1,
        "name": name,
        "realm": realm.name,
        "listen": {"address": "127.0.0.1", "port": port},
        "credentials": {
            "certificate": str(files.certificate),
            "key": str(files.key),
            "realm_ca": str(files.realm_ca),
        },
        "control_socket": str(place / "node.sock"),
    }


def _found(program: str) -> str:
    # Debian keeps servers where only root's path leads.
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    return path or ""


def _lacks_nothing() -> str:
    return ""


def _lacks_python() -> str:
    return "" if PEERS_PYTHON.exists() else "its client: make bench-peers"


def _lacks_nats() -> str:
    return _lacks_python() if _found("nats-server") else "nats-server: make bench-peers"


def _lacks_mosquitto() -> str:
    return _lacks_python() if _found("mosquitto") else "mosquitto: make bench-peers"


EMBEDDED: Final = Contender("ours", "macula_driver", OUR_PYTHON, embedded, _lacks_nothing)
DAEMONS: Final = Contender(
    "ours, two daemons", "macula_driver", OUR_PYTHON, daemons, _lacks_nothing
)
NATS: Final = Contender("NATS over TLS", "nats_driver", PEERS_PYTHON, nats, _lacks_nats)
GMQTT: Final = Contender(
    "mosquitto with gmqtt", "gmqtt_driver", PEERS_PYTHON, mosquitto, _lacks_mosquitto
)
PAHO: Final = Contender(
    "mosquitto with paho", "paho_driver", PEERS_PYTHON, mosquitto, _lacks_mosquitto
)
ZENOH: Final = Contender("Zenoh over QUIC", "zenoh_driver", PEERS_PYTHON, direct, _lacks_python)
PLAIN: Final = Contender("plain aioquic", "plain_driver", OUR_PYTHON, direct, _lacks_nothing)
EVERY: Final = (EMBEDDED, DAEMONS, NATS, GMQTT, PAHO, ZENOH, PLAIN)
