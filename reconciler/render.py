"""From the desired state to jails: what each node and app becomes on this machine.

Pure: the shell says where things lie and which credentials are there (``MachinePaths``). A node
without credentials is blocked, with the next move, and keeps nobody else from running. The
settings of a node stand in one file that it reads again when told to; what it only reads at its
start is in the jail's ``generation`` as well, so that new peers never restart a node. That file
names the node's certificate by its hash, too: it changes with it, and so the node hears of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import yaml

from jails.spec import JailFile, JailSpec, ProgramHooks, Restart, RestartPolicy, SharedFolder
from maculaos.addresses import Address
from reconciler.fleet import fleet_of
from reconciler.names import jail_of, node_jail
from reconciler.placement import IDENTITY, RELEASE, SOCKETS, Placement, socket_path
from reconciler.ports.spec import PORT_WORD, port_variable
from reconciler.secrets.expansion import OFFERED, Expanded, Template, expand
from reconciler.secrets.unsealed import Unsealed
from reconciler.specs.spec import own_overrides

if TYPE_CHECKING:
    import re

    from maculaos.documents import Problem
    from reconciler.fleet import Fleet, Member
    from reconciler.secrets.reference import SecretReference
    from reconciler.specs.desired import Desired
    from reconciler.specs.spec import AppSpec, NodeSpec

# The first word of an app's command that means this machine's own macula program.
MACULA: Final = "macula"
NODE_FILE: Final = "node.yaml"
# Beside a node's certificate, once there is one.
REVOCATIONS: Final = "realm.crl"
# In words of an app: the folder of its release.
RELEASE_WORD: Final = "{release}"
_START_OF_NUMBER: Final = tuple("+-.0123456789")


@dataclass(frozen=True, slots=True)
class HeldCredentials:
    """What lies in the folder of a node's credentials; hashes, so that nothing else is kept."""

    # Of its key and of the realm's CA: a node takes others only at its start.
    fixed: str
    # Of its certificate: a running node takes another one for the same key.
    certificate: str = ""
    # Whether a revocation list lies there. Its contents do not count: the node watches the file.
    has_revocations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePaths:
    """Where things lie on this machine; every path is absolute."""

    # The words that start the macula command.
    macula: tuple[str, ...]
    credentials_dir: Path
    run_dir: Path
    # Where the realm's own key lies, for hints; None if it is not on this machine.
    realm_dir: Path | None = None
    # By node name, which credentials it has; a node that lacks any is absent.
    credentials: Mapping[str, HeldCredentials] = field(default_factory=lambda: MappingProxyType({}))
    placement: Placement = field(default_factory=Placement)
    # <app>/<release> for each release of an app.
    releases_dir: Path = Path("/nonexistent")
    secrets: Unsealed = field(default_factory=Unsealed)

    def release(self, app: AppSpec) -> Path | None:
        """The folder of the release that the app runs; None for an app without."""
        wanted = app.release
        return None if wanted is None else self.releases_dir / app.name / wanted.identity

    def seen_socket(self, node: str) -> Path:
        """The control socket of that node, as the node itself and its apps see it."""
        return self.placement.seen_socket(socket_path(self.run_dir, node))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The jails that can run, and why others cannot, both by jail name."""

    jails: Mapping[str, JailSpec]
    blocked: Mapping[str, str]
    # By node name, where others on this machine dial it.
    reach: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # What is wrong with the files of items, by jail; such a jail may be one of ``jails``.
    broken: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    # How this machine keeps them apart.
    placement: Placement = field(default_factory=Placement)

    @property
    def kept(self) -> frozenset[str]:
        """The names that a plan leaves as they are."""
        return frozenset(self.blocked) | (self.broken.keys() - self.jails.keys())


def render(desired: Desired, machine: MachinePaths, fleet: Fleet | None = None) -> Rendered:
    """The jails of ``desired`` on this machine, in the order of their names.

    ``fleet`` says which instances of its apps there are; all that are wanted if left out.
    """
    jails: dict[str, JailSpec] = {}
    members = fleet_of(desired) if fleet is None else fleet
    blocked = _blocked(desired, machine, members)
    reach = {name: dialled(node, machine.placement) for name, node in desired.nodes.items()}
    for name, node in desired.nodes.items():
        if node_jail(name) not in blocked:
            settings = _fixed_settings(node, machine)
            jails[node_jail(name)] = _node(settings, _peers(node, reach), node, machine)
    for jail, member in members.items():
        if jail not in blocked:
            jails[jail] = render_member(member, desired.realm.name, machine)
    ordered = MappingProxyType(dict(sorted(jails.items())))
    broken = {jail_of(key): _first_of(problems) for key, problems in desired.broken.items()}
    return Rendered(
        ordered,
        MappingProxyType(blocked),
        MappingProxyType(reach),
        MappingProxyType(broken),
        machine.placement,
    )


def _first_of(problems: Sequence[Problem]) -> str:
    more = len(problems) - 1
    return f"{problems[0]}" + (f" (and {more} more)" if more else "")


def _blocked(desired: Desired, machine: MachinePaths, members: Fleet) -> dict[str, str]:
    """By jail, why it cannot run on this machine."""
    placement = machine.placement
    blocked = {
        jail: why
        for jail, one in members.items()
        if (why := machine.secrets.obstacle(one.app) or _missing_port(jail, one.app, placement))
    }
    for name, node in desired.nodes.items():
        if name not in machine.credentials:
            blocked[node_jail(name)] = _missing_credentials(name, machine)
        elif obstacle := placement.obstacle(node.listen):
            blocked[node_jail(name)] = obstacle
    if placement.own_network is not None:
        named = [*map(node_jail, desired.nodes), *members]
        blocked |= placement.own_network.clashes(named)
        listens = {node_jail(name): node.listen for name, node in desired.nodes.items()}
        contested = placement.own_network.contested(listens)
        blocked |= {jail: why for jail, why in contested.items() if jail not in blocked}
    return blocked


def dialled(node: NodeSpec, placement: Placement) -> str:
    """Where other nodes of this machine find this one."""
    listen = node.listen
    if listen.advertise and placement.own_network is None:
        return listen.advertise[0]
    return str(Address(placement.bound(node_jail(node.name), listen), listen.port))


def _node(
    fixed: dict[str, Any], peers: list[str], node: NodeSpec, machine: MachinePaths
) -> JailSpec:
    held = machine.credentials[node.name]
    settings = _with_revocations(fixed) if held.has_revocations else fixed
    notes = (f"SHA-256 of node.crt: {held.certificate}",) if held.certificate else ()
    content = _yaml({**settings, "peers": peers}, f"nodes/{node.name}.yaml", notes)
    read_at_start = json.dumps([fixed, held.fixed], sort_keys=True)
    return JailSpec(
        name=node_jail(node.name),
        command=(*machine.macula, "start", "--config", f"{{data}}/{NODE_FILE}"),
        files=(JailFile(path=NODE_FILE, content=content, restarts=False),),
        restart=Restart(policy=RestartPolicy.ALWAYS),
        stop_deadline_s=node.stop_deadline_s,
        generation=hashlib.sha256(read_at_start.encode()).hexdigest(),
        isolation=machine.placement.isolation(
            node_jail(node.name), _node_mounts(node.name, machine), node.listen
        ),
    )


def _node_mounts(node: str, machine: MachinePaths) -> tuple[SharedFolder, ...]:
    return (
        SharedFolder(source=str(machine.credentials_dir / node), target=str(IDENTITY)),
        _socket_mount(node, machine, is_writable=True),
    )


def _socket_mount(node: str, machine: MachinePaths, *, is_writable: bool) -> SharedFolder:
    source = socket_path(machine.run_dir, node).parent
    return SharedFolder(source=str(source), target=str(SOCKETS), is_writable=is_writable)


def _fixed_settings(node: NodeSpec, machine: MachinePaths) -> dict[str, Any]:
    """The settings that a node reads only at its start, in the words of its settings file."""
    credentials = machine.placement.seen_credentials(machine.credentials_dir / node.name)
    bound = machine.placement.bound(node_jail(node.name), node.listen)
    listen: dict[str, Any] = {"address": bound, "port": node.listen.port}
    if advertised := machine.placement.advertised(node.listen):
        listen["advertise"] = list(advertised)
    settled = own_overrides(node)
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
        "control_socket": str(machine.seen_socket(node.name)),
        # Beside this file, which lies in the node's own folder: it goes with the jail.
        "discovery": {"remembered": {"file": "peers"}},
        **{part: numbers for part, numbers in settled.items() if numbers},
    }


def _with_revocations(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the revocation list that lies beside the realm's CA."""
    files = settings["credentials"]
    path = str(Path(files["realm_ca"]).with_name(REVOCATIONS))
    return {**settings, "credentials": {**files, "revocations": path}}


def _peers(node: NodeSpec, reach: Mapping[str, str]) -> list[str]:
    """Where to dial, each address once, in the order of the spec or of the names."""
    written = node.peers
    if written is None:
        written = tuple(name for name in reach if name != node.name)
    # A node that is named and broken has no address yet; its own item says what is wrong.
    found = (peer if ":" in peer else reach.get(peer) for peer in written)
    return list(dict.fromkeys(filter(None, found)))


def render_member(member: Member, realm: str, machine: MachinePaths) -> JailSpec:
    """The jail of one instance of an app in that realm."""
    app = member.app
    held = machine.placement.ports_of(member.jail, app.ports)
    offered = offered_variables(app, realm, machine)
    plain, _ = split_environment(app, realm, machine)
    own_ports = {port_variable(name): str(port) for name, port in held.items()}
    return JailSpec(
        name=member.jail,
        command=_words(app.command, member, machine),
        environment=MappingProxyType({**plain, **offered, **member.environment(), **own_ports}),
        restart=Restart(
            policy=RestartPolicy(app.restart.policy),
            base_s=app.restart.base_s,
            max_s=app.restart.max_s,
        ),
        stop_deadline_s=app.stop_deadline_s,
        generation="" if app.release is None else app.release.identity,
        isolation=machine.placement.isolation(member.jail, _app_mounts(app, machine)),
        secrets=machine.secrets.wanted(member.jail, app),
        hooks=_hooks(member, machine),
    )


def _hooks(member: Member, machine: MachinePaths) -> ProgramHooks:
    said = member.app.hooks
    start, drain, stop = (
        () if command is None else _words(command, member, machine)
        for command in (said.start, said.drain, said.stop)
    )
    if not (start or drain or stop):
        return ProgramHooks()
    return ProgramHooks(start=start, drain=drain, stop=stop, timeout_s=said.timeout_s)


def _words(command: Sequence[str], member: Member, machine: MachinePaths) -> tuple[str, ...]:
    """A command of an app as that instance runs it."""
    held = machine.placement.ports_of(member.jail, member.app.ports)
    first, *rest = _with_ports(_in_release(command, member.app, machine), held)
    return (*(machine.macula if first == MACULA else (first,)), *rest)


def offered_variables(app: AppSpec, realm: str, machine: MachinePaths) -> dict[str, str]:
    """What the machine tells an app of its mesh."""
    said = (str(machine.seen_socket(app.node)), app.node, realm)
    return dict(zip(OFFERED, said, strict=True))


def split_environment(
    app: AppSpec, realm: str, machine: MachinePaths
) -> tuple[dict[str, str], dict[str, Expanded]]:
    """The variables of an app that are plain, and those that hold secrets, all expanded.

    Raises ``BadExpansion``, but not for an app that was compiled.
    """
    expanded = expand(app.environment, offered_variables(app, realm, machine))
    names = sorted(name for name, value in expanded.items() if isinstance(value, str))
    texts = _in_release([str(expanded[name]) for name in names], app, machine)
    secret: dict[str, Expanded] = {
        name: Template(tuple(_parts_in_release(value, app, machine)))
        for name, value in expanded.items()
        if isinstance(value, Template)
    }
    return dict(zip(names, texts, strict=True)), secret


def _parts_in_release(
    value: Template, app: AppSpec, machine: MachinePaths
) -> Iterator[str | SecretReference]:
    for part in value.parts:
        yield _in_release([part], app, machine)[0] if isinstance(part, str) else part


def _in_release(words: Sequence[str], app: AppSpec, machine: MachinePaths) -> list[str]:
    """The words with the folder of the app's release, as the app sees it, for ``{release}``."""
    folder = machine.release(app)
    if folder is None:
        return list(words)
    seen = str(machine.placement.seen_release(folder))
    return [word.replace(RELEASE_WORD, seen) for word in words]


def _with_ports(words: Sequence[str], held: Mapping[str, int]) -> list[str]:
    """The words with the instance's own ports for ``{port:NAME}``."""

    def number(found: re.Match[str]) -> str:
        return str(held[found[1]]) if found[1] in held else found[0]

    return [PORT_WORD.sub(number, word) for word in words]


def _app_mounts(app: AppSpec, machine: MachinePaths) -> tuple[SharedFolder, ...]:
    socket = _socket_mount(app.node, machine, is_writable=False)
    folder = machine.release(app)
    if folder is None:
        return (socket,)
    return (socket, SharedFolder(source=str(folder), target=str(RELEASE)))


def _missing_port(jail: str, app: AppSpec, placement: Placement) -> str:
    """Why it cannot have the ports that it wants, or not be reached there; empty if it can."""
    own = placement.own_network
    if app.ports and own is not None and not own.uplink:
        said = "it has ports, and nothing leads from this machine into its own network"
        return f"{said}; name the interface in network.uplink of the reconciler's settings"
    held = placement.ports_of(jail, app.ports)
    missing = [each.name for each in app.ports if each.name not in held]
    if not missing:
        return ""
    said = f"nothing is free for its port {missing[0]}"
    return f"{said}; widen front.ports in the reconciler's settings"


def _missing_credentials(node: str, machine: MachinePaths) -> str:
    out = machine.credentials_dir / node
    issue = issue_command(node, machine.credentials_dir, machine.realm_dir)
    return f"no credentials in {out}; run: {issue}"


def issue_command(
    node: str, credentials_dir: Path, realm_dir: Path | None, *, is_renewal: bool = False
) -> str:
    """What an operator runs to give ``node`` its credentials, or a new certificate for its key."""
    where = realm_dir or "<the realm's folder>"
    command = f"macula realm issue {node} --realm-dir {where} --out {credentials_dir}"
    return f"{command} --renew" if is_renewal else command


def _yaml(settings: Mapping[str, Any], origin: str, notes: Sequence[str]) -> bytes:
    said_first = (f"Written by the reconciler from {origin}: change that file, not this one.",)
    head = "".join(f"# {line}\n" for line in (*said_first, *notes))
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
