"""What nodes and apps become on a machine."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.spec import JailSpec, RestartPolicy
from maculaos.documents import Problem, read_document
from maculaos.settings import NodeSettings, SwimSettings
from reconciler.placement import OwnNetwork, Placement
from reconciler.ports.spec import PortSpec
from reconciler.render import HeldCredentials, MachinePaths, Rendered, render
from reconciler.specs.desired import Desired
from reconciler.specs.overrides import Defaults, LimitOverrides, LinkOverrides, SwimOverrides
from reconciler.specs.spec import AppSpec, Listen, NodeSpec, RealmSpec, RestartRule

MACHINE = MachinePaths(
    macula=("/venv/bin/python", "-m", "maculaos.cli"),
    credentials_dir=Path("/etc/macula/credentials"),
    run_dir=Path("/run/macula"),
    realm_dir=Path("/etc/macula/realm"),
    credentials=MappingProxyType(
        {name: HeldCredentials(f"key of {name}", "aa") for name in ("n1", "n2", "n3")}
    ),
)


def node(name: str, port: int, peers: tuple[str, ...] | None = None) -> NodeSpec:
    listen = Listen(address="127.0.0.1", port=port)
    return NodeSpec(version=1, name=name, realm="demo", listen=listen, peers=peers)


def desired(
    *nodes: NodeSpec, apps: tuple[AppSpec, ...] = (), defaults: Defaults | None = None
) -> Desired:
    realm = RealmSpec(version=1, name="demo", defaults=defaults or Defaults())
    return Desired.of(realm, nodes, apps)


def settings_in(jail: JailSpec) -> NodeSettings:
    (file,) = jail.files
    return read_document(file.content, file.path, NodeSettings).value


def jail(rendered: Rendered, name: str) -> JailSpec:
    assert not rendered.blocked
    return rendered.jails[name]


seconds = st.none() | st.floats(min_value=1e-9, max_value=86_400, allow_subnormal=False)
counts = st.none() | st.integers(min_value=1, max_value=20)
swims = st.builds(
    SwimOverrides,
    suspicion_multiplier=counts,
    push_pull_interval_s=seconds,
    retransmit_multiplier=counts,
    tombstone_s=seconds,
)
links = st.builds(LinkOverrides, idle_timeout_s=seconds, handshake_timeout_s=seconds)
limits = st.builds(LimitOverrides, links=counts, members=counts)


@given(swims, swims, links, limits, st.sampled_from(["/etc/keys", "/etc/my keys/ä: #x", '/q"\\']))
def test_rendered_file_is_what_a_node_reads(
    swim: SwimOverrides,
    default: SwimOverrides,
    link: LinkOverrides,
    limit: LimitOverrides,
    folder: str,
) -> None:
    spec = replace(node("n1", 4701), swim=swim, link=link, limits=limit)
    machine = replace(MACHINE, credentials_dir=Path(folder))
    made = render(desired(spec, node("n2", 4702), defaults=Defaults(swim=default)), machine)
    read = settings_in(jail(made, "node-n1"))
    assert (read.name, read.realm, read.listen.port) == ("n1", "demo", 4701)
    assert read.credentials.key == Path(folder) / "n1" / "node.key"
    assert read.control_socket == Path("/run/macula/n1/control.sock")
    assert read.peers == ("127.0.0.1:4702",)
    for key in ("tombstone_s", "suspicion_multiplier"):
        wanted = getattr(swim, key) or getattr(default, key) or getattr(SwimSettings(), key)
        assert getattr(read.swim, key) == wanted
    assert read.link.idle_timeout_s == (link.idle_timeout_s or 10.0)
    assert read.limits.links == (limit.links or 256)


# File systems allow almost everything in a name.
folders = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)


@given(folders, st.sampled_from(["1e3", "017", "0", "no", "null", "true", "1", "12-30", "n1"]))
def test_text_is_read_back_as_text(folder: str, name: str) -> None:
    credentials = MappingProxyType({name: HeldCredentials("aa")})
    machine = replace(MACHINE, credentials_dir=Path("/", folder), credentials=credentials)
    wanted = desired(replace(node(name, 4701), realm=name))
    read = settings_in(jail(render(wanted, machine), f"node-{name}"))
    assert (read.name, read.realm) == (name, name)
    assert read.credentials.key == Path("/", folder, name, "node.key")


def test_file_reads_like_one_that_a_person_wrote() -> None:
    spec = replace(node("n1", 4701), swim=SwimOverrides(tombstone_s=5.0))
    (file,) = jail(render(desired(spec, node("n2", 4702)), MACHINE), "node-n1").files
    assert (
        file.content.decode()
        == """\
# Written by the reconciler from nodes/n1.yaml: change that file, not this one.
# SHA-256 of node.crt: aa
version: 1
name: n1
realm: demo
listen:
  address: "127.0.0.1"
  port: 4701
credentials:
  certificate: /etc/macula/credentials/n1/node.crt
  key: /etc/macula/credentials/n1/node.key
  realm_ca: /etc/macula/credentials/n1/realm.crt
control_socket: /run/macula/n1/control.sock
discovery:
  remembered:
    file: peers
swim:
  tombstone_s: 5.0
peers:
- "127.0.0.1:4702"
"""
    )


def test_node_is_started_with_its_file() -> None:
    made = jail(render(desired(node("n1", 4701)), MACHINE), "node-n1")
    assert made.command == (*MACHINE.macula, "start", "--config", "{data}/node.yaml")
    assert [(file.path, file.mode) for file in made.files] == [("node.yaml", 0o600)]


def test_peers_default_to_every_other_node() -> None:
    made = render(desired(node("n1", 1), node("n2", 2), node("n3", 3)), MACHINE)
    assert settings_in(jail(made, "node-n2")).peers == ("127.0.0.1:1", "127.0.0.1:3")


def test_peers_are_resolved_to_what_is_advertised_and_named_once() -> None:
    far = replace(
        node("n2", 2), listen=Listen(address="::", port=2, advertise=("a.example:7", "b.example:8"))
    )
    spec = node("n1", 1, peers=("n2", "x.example:9", "a.example:7"))
    made = render(desired(spec, far), MACHINE)
    assert settings_in(jail(made, "node-n1")).peers == ("a.example:7", "x.example:9")


def test_no_peers_can_be_asked_for() -> None:
    made = render(desired(node("n1", 1, peers=()), node("n2", 2)), MACHINE)
    assert settings_in(jail(made, "node-n1")).peers == ()


def test_new_peers_do_not_restart_a_node() -> None:
    alone = jail(render(desired(node("n1", 1)), MACHINE), "node-n1")
    paired = jail(render(desired(node("n1", 1), node("n2", 2)), MACHINE), "node-n1")
    assert alone.program_digest() == paired.program_digest()
    assert alone.files_digest() != paired.files_digest()


@pytest.mark.parametrize(
    "changed",
    [
        node("n1", 2),
        replace(node("n1", 1), swim=SwimOverrides(tombstone_s=5.0)),
        replace(node("n1", 1), limits=LimitOverrides(links=5)),
    ],
)
def test_other_settings_restart_a_node(changed: NodeSpec) -> None:
    before = jail(render(desired(node("n1", 1)), MACHINE), "node-n1")
    after = jail(render(desired(changed), MACHINE), "node-n1")
    assert before.program_digest() != after.program_digest()


def changed_by(held: HeldCredentials) -> tuple[list[str], list[str]]:
    """Which nodes start anew when n1 holds that, and which have another file."""
    wanted = desired(node("n1", 1), node("n2", 2))
    other = replace(MACHINE, credentials={**MACHINE.credentials, "n1": held})
    before, after = render(wanted, MACHINE).jails, render(wanted, other).jails
    return (
        [n for n in before if before[n].program_digest() != after[n].program_digest()],
        [n for n in before if before[n].files_digest() != after[n].files_digest()],
    )


def test_another_key_restarts_its_node_alone() -> None:
    restarted, _ = changed_by(replace(MACHINE.credentials["n1"], fixed="other"))
    assert restarted == ["node-n1"]


def test_renewed_certificate_is_told_to_its_node_alone_and_restarts_none() -> None:
    renewed = replace(MACHINE.credentials["n1"], certificate="bb")
    assert changed_by(renewed) == ([], ["node-n1"])


def test_first_revocation_list_is_told_to_its_node_and_restarts_none() -> None:
    listed = replace(MACHINE.credentials["n1"], has_revocations=True)
    assert changed_by(listed) == ([], ["node-n1"])
    machine = replace(MACHINE, credentials={"n1": listed})
    read = settings_in(jail(render(desired(node("n1", 1)), machine), "node-n1"))
    assert read.credentials.revocations == Path("/etc/macula/credentials/n1/realm.crl")


def test_node_without_a_revocation_list_looks_for_none() -> None:
    read = settings_in(jail(render(desired(node("n1", 1)), MACHINE), "node-n1"))
    assert read.credentials.revocations is None


def test_node_without_credentials_is_blocked_with_the_next_move() -> None:
    made = render(desired(node("n1", 1), node("n4", 4)), MACHINE)
    assert list(made.jails) == ["node-n1"]
    assert made.kept == {"node-n4"}
    assert made.blocked["node-n4"].endswith(
        "run: macula realm issue n4 --realm-dir /etc/macula/realm --out /etc/macula/credentials"
    )


def test_broken_item_is_kept_until_a_good_one_takes_its_place() -> None:
    problem = Problem("nodes/n2.yaml", 1, 2, "wrong")
    wanted = replace(desired(node("n1", 1)), broken={"node/n2": (problem, problem)})
    made = render(wanted, MACHINE)
    assert made.kept == {"node-n2"}
    assert made.broken == {"node-n2": "nodes/n2.yaml:1:2: wrong (and 1 more)"}
    last_good = desired(node("n2", 2)).items.values()
    assert render(wanted.keeping(last_good), MACHINE).kept == set()


def test_peer_that_is_broken_is_left_out() -> None:
    made = render(desired(node("n1", 1, peers=("n2", "x.example:9"))), MACHINE)
    assert settings_in(jail(made, "node-n1")).peers == ("x.example:9",)


def test_app_learns_where_its_mesh_is() -> None:
    app = AppSpec(
        version=1,
        name="echo",
        node="n2",
        command=("macula", "register", "macula"),
        environment={"GREETING": "hello"},
        restart=RestartRule(policy="on-failure", base_s=1.0, max_s=2.0),
        stop_deadline_s=3.0,
    )
    made = jail(render(desired(node("n2", 2), apps=(app,)), MACHINE), "app-echo")
    assert made.command == (*MACHINE.macula, "register", "macula")
    assert dict(made.environment) == {
        "GREETING": "hello",
        "MACULA_SOCKET": "/run/macula/n2/control.sock",
        "MACULA_NODE": "n2",
        "MACULA_REALM": "demo",
        "MACULA_COLOUR": "blue",
        "MACULA_INDEX": "1",
        "MACULA_INSTANCE": "blue-1",
    }
    assert made.restart.policy is RestartPolicy.ON_FAILURE
    assert (made.restart.base_s, made.restart.max_s, made.stop_deadline_s) == (1.0, 2.0, 3.0)


def with_ports(*command: str) -> AppSpec:
    ports = (PortSpec(name="web", port=80), PortSpec(name="my-dns", port=53, protocol="udp"))
    return AppSpec(version=1, name="a", node="n1", command=command, ports=ports)


def test_app_learns_its_own_ports_from_its_environment_and_in_words() -> None:
    held = {"app-a": {"web": 20_001, "my-dns": 20_002, "old": 20_003}}
    machine = replace(MACHINE, placement=Placement(ports=held))
    app = with_ports("run", "--port={port:web}/{port:none}")
    made = jail(render(desired(node("n1", 1), apps=(app,)), machine), "app-a")
    assert made.command == ("run", "--port=20001/{port:none}")
    said = {name: text for name, text in made.environment.items() if "_PORT_" in name}
    assert said == {"MACULA_PORT_WEB": "20001", "MACULA_PORT_MY_DNS": "20002"}


def test_app_in_a_network_of_its_own_has_its_ports_as_they_are_named() -> None:
    own = OwnNetwork(bridge="b0", subnet=IPv4Network("10.77.0.0/16"), uplink="em0")
    machine = replace(MACHINE, placement=Placement(isolates=True, own_network=own))
    wanted = desired(node("n1", 1), apps=(with_ports("run"),))
    made = jail(render(wanted, machine), "app-a")
    assert made.environment["MACULA_PORT_WEB"] == "80"
    shut = replace(machine, placement=Placement(isolates=True, own_network=replace(own, uplink="")))
    why = render(wanted, shut).blocked["app-a"]
    assert why.startswith("it has ports, and nothing leads from this machine into its own network")


def test_app_without_a_free_port_is_blocked_with_the_next_move() -> None:
    rendered = render(desired(node("n1", 1), apps=(with_ports("run"),)), MACHINE)
    assert "app-a" not in rendered.jails
    assert rendered.blocked["app-a"].startswith("nothing is free for its port web; widen front")


def test_other_programs_are_left_as_written() -> None:
    app = AppSpec(version=1, name="a", node="n1", command=("/bin/sh", "-c", "true"))
    made = jail(render(desired(node("n1", 1), apps=(app,)), MACHINE), "app-a")
    assert made.command == ("/bin/sh", "-c", "true")
