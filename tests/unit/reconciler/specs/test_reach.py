"""Ports of apps at check time: each problem has its place, and goes to everybody it is about."""

from __future__ import annotations

import pytest

from reconciler.specs.compilation import compile_tree

NODE = b"version: 1\nname: n1\nrealm: demo\nlisten:\n  address: 127.0.0.1\n  port: 4701\n"
HEAD = "version: 1\nname: {name}\nnode: n1\ncommand: [sh]\n"


def problems(**apps: str) -> list[str]:
    files = {
        "realm.yaml": b"version: 1\nname: demo\n",
        "nodes/n1.yaml": NODE,
    }
    for name, said in apps.items():
        files[f"apps/{name}.yaml"] = (HEAD.format(name=name) + said).encode()
    return [str(each) for each in compile_tree(files).all_problems()]


def test_two_apps_on_one_port_are_both_told_of_the_other() -> None:
    said = problems(
        a="ports:\n- {name: web, port: 8080}\n",
        b="ports:\n- {name: dns, port: 53}\n- name: www\n  port: 8080\n",
    )
    assert said == [
        "apps/a.yaml:6:21: port 8080 (tcp) is also wanted by apps/b.yaml:8:9;"
        " give one of them another port",
        "apps/b.yaml:8:9: port 8080 (tcp) is also wanted by apps/a.yaml:6:21;"
        " give one of them another port",
    ]


def test_one_number_of_two_protocols_is_two_ports() -> None:
    assert not problems(
        a="ports:\n- {name: web, port: 8080}\n",
        b="ports:\n- {name: dns, port: 8080, protocol: udp}\n",
    )


def test_app_cannot_have_the_port_of_a_node() -> None:
    (said,) = problems(a="ports:\n- {name: dns, port: 4701, protocol: udp}\n")
    assert said.startswith("apps/a.yaml:6:21: port 4701 (udp) is also wanted by nodes/n1.yaml:6:9")
    assert not problems(a="ports:\n- {name: dns, port: 4701}\n")


@pytest.mark.parametrize(
    ("ports", "where", "what"),
    [
        ("[{name: Web, port: 1}]", "5:16", "cannot name a port"),
        ("[{name: web, port: 0}]", "5:27", "must be 1 or more"),
        ("[{name: web, port: 1}, {name: web, port: 2}]", "5:8", "two ports have the same name"),
        ("[{name: web, port: 1}, {name: www, port: 1}]", "5:8", "the same number and protocol"),
        ("[{name: web, port: 1, protocol: sctp}]", "5:40", "'tcp' or 'udp'"),
    ],
)
def test_port_that_cannot_be_is_told_at_its_place(ports: str, where: str, what: str) -> None:
    (said,) = problems(a=f"ports: {ports}\n")
    assert said.startswith(f"apps/a.yaml:{where}: ")
    assert what in said


def test_probe_names_a_port_that_there_is() -> None:
    ports = "ports: [{name: web, port: 8080}, {name: dns, port: 53, protocol: udp}]\n"
    assert not problems(a=ports + "health:\n  tcp: {port: web}\n")
    assert not problems(a=ports + "health:\n  tcp: {port: 9}\n")
    (said,) = problems(a=ports + "health:\n  http: {port: www}\n")
    assert said == "apps/a.yaml:7:16: no port is named 'www'; its ports are dns, web"
    (said,) = problems(a=ports + "health:\n  tcp: {port: dns}\n")
    assert said.startswith("apps/a.yaml:7:15: port dns is of udp")
    (said,) = problems(a="health:\n  tcp: {port: web}\n")
    assert said == "apps/a.yaml:6:15: no port is named 'web'; the app has no ports"


def test_word_of_a_command_names_a_port_that_there_is() -> None:
    text = "version: 1\nname: b\nnode: n1\ncommand: [sh, '--port={port:www}']\n"
    files = {"realm.yaml": b"version: 1\nname: demo\n", "nodes/n1.yaml": NODE}
    found = compile_tree({**files, "apps/b.yaml": text.encode()}).all_problems()
    assert [str(each) for each in found] == [
        "apps/b.yaml:4:15: no port is named 'www'; the app has no ports"
    ]
