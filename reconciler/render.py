"""From the desired state to jails: what each node and app becomes on this machine.

Pure: the shell says where things lie and which credentials are there (``MachinePaths``). A node
without credentials is blocked, with the next move, and keeps nobody else from running. The
settings of a node stand in one file that it reads again when told to; what it only reads at its
start is in the jail's ``generation`` as well, so that new peers never restart a node.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml

from jails.spec import JailFile, JailSpec, Restart, RestartPolicy
from maculaos.addresses import Address
from reconciler.names import app_jail, node_jail
from reconciler.spec import effective

if TYPE_CHECKING:
    from reconciler.desired import Desired
    from reconciler.spec import AppSpec, NodeSpec

# The first word of an app's command that means this machine's own macula program.
MACULA: Final = "macula"
NODE_FILE: Final = "node.yaml"
_START_OF_NUMBER: Final = tuple("+-.0123456789")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePaths:
    """Where things lie on this machine; every path is absolute."""

    # The words that start the macula command.
    macula: tuple[str, ...]
    credentials_dir: Path
    run_dir: Path
    # Where the realm's own key lies, for hints; None if it is not on this machine.
    realm_dir: Path | None = None
    # By node name, a fingerprint of its certificate, key and CA; a name is absent if any is.
    credentials: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def socket(self, node: str) -> Path:
        """The control socket of that node."""
        return self.run_dir / f"{node}.sock"


@dataclass(frozen=True, slots=True)
class Rendered:
    """The jails that can run, and why others cannot, both by jail name."""

    jails: Mapping[str, JailSpec]
    blocked: Mapping[str, str]

    @property
    def kept(self) -> frozenset[str]:
        """The names that a plan leaves as they are."""
        return frozenset(self.blocked)


def render(desired: Desired, machine: MachinePaths) -> Rendered:
    """The jails of ``desired`` on this machine, in the order of their names."""
    jails: dict[str, JailSpec] = {}
    blocked: dict[str, str] = {}
    reach = {name: dialled(node) for name, node in desired.nodes.items()}
    for name, node in desired.nodes.items():
        if name in machine.credentials:
            settings = _fixed_settings(node, desired, machine)
            jails[node_jail(name)] = _node(settings, _peers(node, reach), node, machine)
        else:
            blocked[node_jail(name)] = _missing_credentials(name, machine)
    for name, app in desired.apps.items():
        jails[app_jail(name)] = _app(app, desired, machine)
    return Rendered(MappingProxyType(dict(sorted(jails.items()))), MappingProxyType(blocked))


def dialled(node: NodeSpec) -> str:
    """Where other nodes find this one: what it advertises first, or where it listens."""
    listen = node.listen
    return listen.advertise[0] if listen.advertise else str(Address(listen.address, listen.port))


def _node(
    fixed: dict[str, Any], peers: list[str], node: NodeSpec, machine: MachinePaths
) -> JailSpec:
    content = _yaml({**fixed, "peers": peers}, f"nodes/{node.name}.yaml")
    read_at_start = json.dumps([fixed, machine.credentials[node.name]], sort_keys=True)
    return JailSpec(
        name=node_jail(node.name),
        command=(*machine.macula, "start", "--config", f"{{data}}/{NODE_FILE}"),
        files=(JailFile(path=NODE_FILE, content=content, restarts=False),),
        restart=Restart(policy=RestartPolicy.ALWAYS),
        stop_deadline_s=node.stop_deadline_s,
        generation=hashlib.sha256(read_at_start.encode()).hexdigest(),
    )


def _fixed_settings(node: NodeSpec, desired: Desired, machine: MachinePaths) -> dict[str, Any]:
    """The settings that a node reads only at its start, in the words of its settings file."""
    credentials = machine.credentials_dir / node.name
    listen: dict[str, Any] = {"address": node.listen.address, "port": node.listen.port}
    if node.listen.advertise:
        listen["advertise"] = list(node.listen.advertise)
    settled = effective(node, desired.realm)
    return {
        "version": 1,
        "name": node.name,
        "realm": node.realm,
        "listen": listen,
        "credentials": {
            "certificate": str(credentials / "node.crt"),
            "key": str(credentials / "node.key"),
            "realm_ca": str(credentials / "realm.crt"),
        },
        "control_socket": str(machine.socket(node.name)),
        **{part: numbers for part, numbers in settled.items() if numbers},
    }


def _peers(node: NodeSpec, reach: Mapping[str, str]) -> list[str]:
    """Where to dial, each address once, in the order of the spec or of the names."""
    written = node.peers
    if written is None:
        written = tuple(name for name in reach if name != node.name)
    return list(dict.fromkeys(peer if ":" in peer else reach[peer] for peer in written))


def _app(app: AppSpec, desired: Desired, machine: MachinePaths) -> JailSpec:
    first, *rest = app.command
    program = machine.macula if first == MACULA else (first,)
    return JailSpec(
        name=app_jail(app.name),
        command=(*program, *rest),
        environment=MappingProxyType(
            {
                **app.environment,
                "MACULA_SOCKET": str(machine.socket(app.node)),
                "MACULA_NODE": app.node,
                "MACULA_REALM": desired.realm.name,
            }
        ),
        restart=Restart(
            policy=RestartPolicy(app.restart.policy),
            base_s=app.restart.base_s,
            max_s=app.restart.max_s,
        ),
        stop_deadline_s=app.stop_deadline_s,
    )


def _missing_credentials(node: str, machine: MachinePaths) -> str:
    out = machine.credentials_dir / node
    realm_dir = machine.realm_dir or "<the realm's folder>"
    issue = f"macula realm issue {node} --realm-dir {realm_dir} --out {machine.credentials_dir}"
    return f"no credentials in {out}; run: {issue}"


def _yaml(settings: Mapping[str, Any], origin: str) -> bytes:
    head = f"# Written by the reconciler from {origin}: change that file, not this one.\n"
    said = yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)
    return (head + said).encode()


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, with quotes around all text that readers might take for something else.

    It writes for YAML 1.1, where ``1e3`` is text and U+0085 a line break; ``maculaos.documents``
    follows 1.2.
    """


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_doubtful = text.startswith(_START_OF_NUMBER) or not text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, '"' if is_doubtful else None)


_Dumper.add_representer(str, _text)
