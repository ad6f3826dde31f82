"""Three nodes in jails, converged from a repository that the host pushes to the machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from vm.booted import Appliance

_REPOSITORY: Final = "/data/site.git"
_NODES: Final = ("n1", "n2", "n3")
_EXAMPLE: Final = Path(__file__).parents[2] / "examples/mesh-config"
_CONVERGE_S: Final = 120.0


def _seed(network: str) -> str:
    return (
        f'[repository]\nurl = "file://{_REPOSITORY}"\n'
        f'[jails]\nnetwork = "{network}"\n[firewall]\nquic_ports = [4701, 4702, 4703]\n'
    )


@pytest.fixture
def meshed(fresh: Callable[..., Appliance], tmp_path: Path) -> Callable[[str], Appliance]:
    """``meshed(network)``: a machine that has converged to the example repository."""

    def converge(network: str) -> Appliance:
        appliance = fresh(seed=_seed(network), memory_mib=2048)
        _give_credentials(appliance, tmp_path / "realm", tmp_path / "credentials")
        appliance.ssh.run("git", "init", "--quiet", "--bare", "--initial-branch=main", _REPOSITORY)
        _make_site(tmp_path / "site", network)
        _push(appliance, tmp_path / "site")
        _wait_converged(appliance)
        return appliance

    return converge


@pytest.mark.parametrize("network", ["host", "vnet"])
def test_three_nodes_in_jails_exchange_messages(
    meshed: Callable[[str], Appliance], network: str
) -> None:
    appliance = meshed(network)
    jails = json.loads(appliance.ssh.run("jls", "--libxo", "json"))["jail-information"]["jail"]
    assert len(jails) == len(_NODES) + 1, "three nodes and the app"
    appliance.eventually("all see all", lambda: _is_whole(appliance), 60)
    # A call from the jail of one node to an app beside another.
    assert json.loads(_macula(appliance, "n1", "call", "echo", '"hello"')) == "hello"
    _expect_event(appliance, sender="n1", receiver="n3")


def test_a_push_changes_what_runs_and_a_bad_one_changes_nothing(
    meshed: Callable[[str], Appliance], tmp_path: Path
) -> None:
    appliance = meshed("host")
    site = tmp_path / "site"
    (site / "nodes/n3.yaml").unlink()
    _push(appliance, site)
    appliance.eventually("n3 is gone", lambda: _jail_count(appliance) == len(_NODES), _CONVERGE_S)
    (site / "nodes/n2.yaml").write_text("version: 1\nname: other\n")
    _push(appliance, site)
    appliance.eventually(
        "the commit is refused", lambda: bool(_status(appliance)["problems"]), _CONVERGE_S
    )
    assert _jail_count(appliance) == len(_NODES), "what ran goes on"


def test_a_killed_node_comes_back_and_all_do_after_a_power_cut(
    meshed: Callable[[str], Appliance],
) -> None:
    appliance = meshed("host")
    appliance.ssh.run("pkill", "-9", "-f", "macula start")
    appliance.eventually("all see all", lambda: _is_whole(appliance), _CONVERGE_S)
    appliance.power_cycle()
    _wait_converged(appliance)
    appliance.eventually("all see all", lambda: _is_whole(appliance), _CONVERGE_S)


def _give_credentials(appliance: Appliance, realm: Path, credentials: Path) -> None:
    now, entropy = SystemClock().now(), SystemEntropy()
    create_realm(realm, "demo", now=now, entropy=entropy)
    for node in _NODES:
        issue(realm, credentials, Request(name=node), now=now, entropy=entropy)
        appliance.ssh.run("mkdir", "-p", "-m", "700", "/cfg/credentials")
        appliance.ssh.copy(credentials / node, f"/cfg/credentials/{node}")


def _make_site(site: Path, network: str) -> None:
    for file in _EXAMPLE.rglob("*.yaml"):
        text = file.read_text()
        if network == "vnet" and file.parent.name == "nodes":
            # Each node has a loopback of its own there, on which no other could reach it.
            text = text.replace("address: 127.0.0.1", "address: 0.0.0.0")
            port = text.split("port: ")[1].split()[0]
            text = text.replace(f"port: {port}", f'port: {port}\n  advertise: ["10.0.2.15:{port}"]')
        target = site / file.relative_to(_EXAMPLE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    _git(site, "init", "--quiet", "--initial-branch=main")


def _push(appliance: Appliance, site: Path) -> None:
    _git(site, "add", "--all")
    _git(site, "commit", "--quiet", "--message", "Change the site")
    words = ("--quiet", "--receive-pack=/usr/local/bin/git-receive-pack")
    where = f"ssh://appliance{_REPOSITORY}"
    _git(site, "push", *words, where, "main", ssh=f"ssh -F {appliance.ssh.config}")
    appliance.ssh.run("reconciler", "sync", "--config", "/etc/macula/reconciler.yaml", timeout_s=60)


def _git(site: Path, *words: str, ssh: str = "ssh") -> None:
    subprocess.run(
        ["git", "-C", str(site), *words],
        env={**os.environ, "GIT_SSH_COMMAND": ssh},
        check=True,
        timeout=600,
    )


def _wait_converged(appliance: Appliance) -> None:
    appliance.eventually(
        "converged", lambda: _status(appliance).get("converged") is True, _CONVERGE_S
    )


def _status(appliance: Appliance) -> Any:
    words = ("--config", "/etc/macula/reconciler.yaml", "--json")
    # Not as wanted is an exit status too; what it says is what counts.
    said = appliance.ssh.run("sh", "-c", 'reconciler status "$@" || true', "status", *words)
    return json.loads(said or "{}")


def _jail_count(appliance: Appliance) -> int:
    return len(appliance.ssh.run("jls", "name").split())


def _is_whole(appliance: Appliance) -> bool:
    return all(_alive(appliance, node) == len(_NODES) for node in _NODES)


def _alive(appliance: Appliance, node: str) -> int:
    said = appliance.ssh.run(
        "sh", "-c", 'macula "$@" || true', "macula", *_to(node, "members", "--json")
    )
    members = json.loads(said or "[]")
    listed = members if isinstance(members, list) else members["members"]
    return sum(member["health"] == "alive" for member in listed)


def _macula(appliance: Appliance, node: str, *words: str) -> str:
    return appliance.ssh.run("macula", *_to(node, *words))


def _to(node: str, *words: str) -> tuple[str, ...]:
    return (*words, "--socket", f"/var/run/macula/{node}/control.sock")


def _expect_event(appliance: Appliance, *, sender: str, receiver: str) -> None:
    """What one publishes reaches the other; published again until the subscription is known."""
    words = _to(receiver, "subscribe", "trial.event", "--count", "1", "--timeout", "300")
    listener = appliance.ssh.start("macula", *words)
    try:

        def heard() -> bool:
            _macula(appliance, sender, "publish", "trial.event", '"across jails"')
            return listener.poll() is not None

        appliance.eventually(f"{receiver} hears {sender}", heard, 60)
        said, _ = listener.communicate(timeout=60)
        assert "across jails" in said
    finally:
        listener.kill()
        listener.communicate()
