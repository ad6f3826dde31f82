"""Real nodes, real sockets: ``macula start`` and the verbs that talk to it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from maculaos.client import connect
from node_process import DEADLINE_S, Yard, eventually, free_port, macula, yard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Yard]:
    with yard() as made:
        yield made


def members(place: Yard, name: str) -> dict[str, str]:
    found = place.ask(name, lambda mesh: mesh.members())
    return {member["name"]: member["health"] for member in found}


def links(place: Yard, name: str) -> int:
    count: int = place.ask(name, lambda mesh: mesh.stats())["links"]
    return count


def start_mesh(place: Yard, count: int = 3) -> None:
    ports = [free_port() for _ in range(count)]
    names = [f"n{number}" for number in range(1, count + 1)]
    for name, port in zip(names, ports, strict=True):
        place.configure(name, port, tuple(ports[:1]))
        place.start(name)
    for name in names:
        eventually(lambda name=name: links(place, name) == count - 1, f"{name} has every link")  # type: ignore[misc]


def test_three_nodes_publish_and_call_across_the_mesh(place: Yard) -> None:
    start_mesh(place)
    told = place.macula("n1", "members", "--json")
    assert told.returncode == 0, told.stderr
    healths = {member["name"]: member["health"] for member in json.loads(told.stdout)}
    assert healths == {"n1": "alive", "n2": "alive", "n3": "alive"}
    stats = place.macula("n1", "stats", "--json")
    assert json.loads(stats.stdout)["links"] == 2
    drawn = place.macula("n1", "topology").stdout.splitlines()
    assert sorted(line.split()[1] for line in drawn[1:-1]) == ["n2", "n3"]
    subscriber = place.background("n3", "subscribe", "t.a", "--json", "--count", "2")
    provider = place.background("n2", "register", "echo", "--echo")
    sent = place.macula("n1", "publish", "t.a", '{"celsius": 21.5}')
    assert sent.returncode == 0, sent.stderr
    assert place.macula("n1", "publish", "t.a", "--bytes", stdin="xyz").returncode == 0
    out, _ = subscriber.communicate(timeout=DEADLINE_S)
    payloads = [json.loads(line)["payload"] for line in out.splitlines()]
    assert payloads == [{"celsius": 21.5}, {"base64": "eHl6"}]
    assert subscriber.returncode == 0
    answer = place.macula("n1", "call", "echo", "[1, 2]")
    assert json.loads(answer.stdout) == [1, 2]
    provider.send_signal(signal.SIGINT)
    provider.communicate(timeout=DEADLINE_S)
    assert provider.returncode == 130
    eventually(lambda: place.macula("n1", "call", "echo").returncode == 4, "echo is gone")


def test_programs_use_the_mesh_through_two_nodes(place: Yard) -> None:
    start_mesh(place, 2)

    async def main() -> None:
        async with (
            asyncio.timeout(DEADLINE_S),
            connect(place.socket("n1"), name="one") as one,
            connect(place.socket("n2"), name="two") as two,
        ):
            events = two.subscribe("t")
            async with two.register("sum", lambda value: sum(value)):
                # Interest and methods travel behind the answers; the first event tells.
                while not (await two.stats())["counters"]["events_in"]:
                    await one.publish("t", b"\x00")
                assert (await anext(events)).payload == b"\x00"
                assert await one.call("sum", [1, 2, 3]) == 6

    asyncio.run(main())


def test_a_killed_node_comes_back_over_its_own_dead_socket(place: Yard) -> None:
    start_mesh(place)
    place.running[2].kill()
    place.running[2].wait(DEADLINE_S)
    assert place.socket("n3").exists()
    eventually(lambda: members(place, "n1")["n3"] == "dead", "n1 sees that n3 is dead")
    place.start("n3")
    eventually(lambda: members(place, "n1")["n3"] == "alive", "n1 sees that n3 is back")
    eventually(lambda: links(place, "n3") == 2, "n3 has every link again")


def test_sigterm_says_goodbye_and_leaves_no_socket_file(place: Yard) -> None:
    start_mesh(place, 2)
    node = place.running[1]
    node.send_signal(signal.SIGTERM)
    assert node.wait(DEADLINE_S) == 0
    assert not place.socket("n2").exists()
    assert " stopped " in place.log("n2")
    eventually(lambda: members(place, "n1")["n2"] == "left", "n1 knows that n2 left")


def test_reload_finds_new_peers_and_refuses_everything_else(place: Yard) -> None:
    first, second = free_port(), free_port()
    place.configure("n1", first)
    place.configure("n2", second)
    node = place.start("n1")
    place.start("n2")
    assert links(place, "n1") == 0
    place.configure("n1", first, (second,))
    told = place.macula("n1", "reload")
    assert told.returncode == 0, told.stderr
    eventually(lambda: links(place, "n1") == 1, "n1 found n2")

    kept = (place.folder / "n1.yaml").read_text()
    (place.folder / "n1.yaml").write_text(kept + "limits: {links: 7}\n")
    told = place.macula("n1", "reload")
    assert told.returncode == 4
    assert "restart the node to change limits.links" in told.stderr

    (place.folder / "n1.yaml").write_text("version: 1\nnmae: n1\n")
    told = place.macula("n1", "reload")
    assert "unknown key 'nmae'" in told.stderr
    node.send_signal(signal.SIGHUP)
    eventually(lambda: "reload_refused" in place.log("n1"), "the log says so")
    assert links(place, "n1") == 1


def address_of(place: Yard, seen_by: str, name: str) -> list[str]:
    found = place.ask(seen_by, lambda mesh: mesh.members())
    return next((list(each["addresses"]) for each in found if each["name"] == name), [])


def test_reload_moves_a_node_to_another_address_with_its_links(place: Yard) -> None:
    first, second, third = free_port(), free_port(), free_port()
    place.configure("n1", first)
    place.configure("n2", second, (first,))
    place.start("n1")
    place.start("n2")
    eventually(lambda: links(place, "n1") == 1, "n2 found n1")
    config = place.configure("n1", first)
    config.write_text(
        config.read_text().replace(f"{{port: {first}}}", f"{{address: 127.0.0.2, port: {third}}}")
    )
    assert place.macula("n1", "reload").returncode == 0
    eventually(lambda: " moved " in place.log("n1"), "n1 listens elsewhere")
    there = [f"127.0.0.2:{third}"]
    eventually(lambda: address_of(place, "n2", "n1") == there, "n2 knows where n1 is now")
    assert links(place, "n1") == links(place, "n2") == 1
    assert "link_down" not in place.log("n1") + place.log("n2")
    place.configure("n3", free_port())
    place.start("n3")
    assert place.macula("n3", "join", there[0]).returncode == 0
    eventually(lambda: links(place, "n3") == 2, "n3 finds n1 at its new address")


def test_address_that_cannot_be_had_leaves_the_node_where_it_was(place: Yard) -> None:
    first, second = free_port(), free_port()
    place.configure("n1", first)
    place.configure("n2", second, (first,))
    place.start("n1")
    place.start("n2")
    eventually(lambda: links(place, "n1") == 1, "n2 found n1")
    place.configure("n1", second)
    assert place.macula("n1", "reload").returncode == 0
    eventually(lambda: " move_refused " in place.log("n1"), "the port is taken")
    assert f"port {second} on 127.0.0.1 is in use" in place.log("n1")
    assert links(place, "n1") == 1


def refused(place: Yard, name: str = "n1") -> str:
    """Start a node that cannot start; return the one line it says."""
    said = macula("start", "--config", str(place.folder / f"{name}.yaml"))
    assert said.returncode == 2, said.stderr
    lines = said.stderr.splitlines()
    assert len(lines) == 1, said.stderr
    assert not said.stdout
    return lines[0]


def test_a_second_node_on_the_same_socket_or_port_is_refused(place: Yard) -> None:
    port = free_port()
    place.configure("n1", port)
    place.start("n1")
    assert "a node already runs on" in refused(place)
    place.configure("n2", port)
    assert f"port {port} on 127.0.0.1 is in use; stop the other program" in refused(place, "n2")
    assert not place.socket("n2").exists()
    assert place.macula("n1", "ping").returncode == 0


def test_a_wrong_configuration_is_refused_in_one_line(place: Yard) -> None:
    assert "n1.yaml does not exist; name the node's" in refused(place)
    (place.folder / "n2.yaml").mkdir()
    assert "n2.yaml is a folder; name the file in it" in refused(place, "n2")
    config = place.configure("n1", free_port(), more="lisen: 1\n")
    assert "n1.yaml:12:1: unknown key 'lisen'; did you mean 'listen'?" in refused(place)
    config.write_text("a: [\n")
    assert "n1.yaml:1:4: this [ is never closed" in refused(place)


def test_wrong_credentials_are_refused_in_one_line(place: Yard) -> None:
    config = place.configure("n1", free_port())
    key = place.realm.settings_of("n1").key
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(place)
    key.chmod(0o600)
    config.write_text(config.read_text().replace("realm: home", "realm: away"))
    assert "realm" in refused(place)
    place.realm.issue("n2", now=time.time() - 3 * 86_400, days=2)
    place.configure("n2", free_port())
    assert "macula realm issue NODE --realm-dir DIR --out DIR --renew" in refused(place, "n2")


def test_a_socket_path_that_is_too_long_is_refused_in_one_line(place: Yard) -> None:
    config = place.configure("n1", free_port())
    config.write_text(config.read_text().replace("n1.sock", f"{'x' * 120}.sock"))
    assert "use a shorter path" in refused(place)


def test_verbs_without_a_node_end_with_their_exit_codes(place: Yard) -> None:
    none = place.folder / "none.sock"
    said = macula("members", "--socket", str(none))
    assert (said.returncode, said.stdout) == (3, "")
    assert said.stderr.count("\n") == 1
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(none))
    assert "nobody listens there" in macula("ping", "--socket", str(none)).stderr
    assert macula("members").returncode == 2
    assert macula("members", "--bogus").returncode == 2
    assert macula("version", "--json").returncode == 0
