"""A commit compiles to a desired state, or to every problem in it with its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.specs.compilation import MAX_SPECS, compile_tree
from reconciler.specs.desired import Desired, Refused

if TYPE_CHECKING:
    from maculaos.documents import Problem

EXAMPLE = Path(__file__).parents[4] / "examples" / "mesh-config"
REALM = b"version: 1\nname: demo\n"


def node(
    name: str, port: int, *lines: str, realm: str = "demo", address: str = "127.0.0.1"
) -> bytes:
    head = (
        "version: 1",
        f"name: {name}",
        f"realm: {realm}",
        "listen:",
        f"  address: '{address}'",
        f"  port: {port}",
    )
    return "\n".join([*head, *lines, ""]).encode()


def app(name: str, on: str, *lines: str) -> bytes:
    return "\n".join(
        ["version: 1", f"name: {name}", f"node: {on}", "command: [sh]", *lines, ""]
    ).encode()


def tree(**files: bytes) -> dict[str, bytes]:
    """A good repository of two nodes and one app, with ``files`` put over it (__ for /)."""
    good = {
        "realm.yaml": REALM,
        "nodes/n1.yaml": node("n1", 4701),
        "nodes/n2.yaml": node("n2", 4702),
        "apps/echo.yaml": app("echo", "n2"),
    }
    return good | {path.replace("__", "/") + ".yaml": text for path, text in files.items()}


def problems(of: dict[str, bytes]) -> tuple[Problem, ...]:
    """Every problem of a repository, whatever it is refused for or breaks."""
    try:
        found = compile_tree(of).all_problems()
    except Refused as refused:
        found = refused.problems
    assert found
    return found


def the_problem(of: dict[str, bytes]) -> Problem:
    (found,) = problems(of)
    return found


def test_example_repository_compiles() -> None:
    paths = [path for path in EXAMPLE.rglob("*") if path.is_file()]
    desired = compile_tree(
        {path.relative_to(EXAMPLE).as_posix(): path.read_bytes() for path in paths}
    )
    assert desired.realm.name == "demo"
    assert {name: spec.listen.port for name, spec in desired.nodes.items()} == {
        "n1": 4701,
        "n2": 4702,
        "n3": 4703,
    }
    echo = ("macula", "register", "echo", "--echo", "--wait", "30")
    assert desired.apps["echo"].command == echo


@given(st.permutations(list(tree())))
def test_order_of_files_never_matters(paths: list[str]) -> None:
    good = tree()
    shuffled: Desired = compile_tree({path: good[path] for path in paths})
    assert shuffled == compile_tree(good)
    assert list(shuffled.nodes) == ["n1", "n2"]


@given(
    st.permutations(["realm.yaml", "nodes/n1.yaml", "nodes/n2.yaml", "apps/echo.yaml", "x.yaml"])
)
def test_order_of_files_never_matters_to_problems(paths: list[str]) -> None:
    bad = tree(nodes__n2=node("n2", 4701, realm="dmo"), x=b"", apps__echo=app("echo", "n3"))
    found = problems({path: bad[path] for path in paths})
    assert found == problems(bad)
    assert list(found) == sorted(found)


@given(st.dictionaries(st.sampled_from(["realm.yaml", "nodes/a.yaml", "apps/a.yaml"]), st.binary()))
def test_garbage_is_refused_and_never_crashes(files: dict[str, bytes]) -> None:
    assert problems(files)


def test_every_problem_of_every_file_is_reported() -> None:
    bad = tree(
        nodes__n1=node("n1", 4701, "colour: blue", "shape: round"),
        nodes__n2=node("n2", 0),
        apps__echo=b"version: 1\n  name: x",
    )
    assert [problem.path for problem in problems(bad)] == [
        "apps/echo.yaml",
        "nodes/n1.yaml",
        "nodes/n1.yaml",
        "nodes/n2.yaml",
    ]


def test_empty_repository_says_what_to_do() -> None:
    problem = the_problem({})
    assert problem.path == "realm.yaml"
    assert "no realm.yaml" in problem.what
    assert "version: 1" in problem.hint


def test_unknown_realm_names_the_declared_one() -> None:
    problem = the_problem(tree(nodes__n1=node("n1", 4701, realm="dmo")))
    assert str(problem) == (
        "nodes/n1.yaml:3:8: unknown realm 'dmo'; "
        "realm.yaml declares 'demo': write that, or move the node elsewhere"
    )


def test_file_name_must_be_the_name() -> None:
    problem = the_problem(tree(nodes__n1=node("n9", 4701)))
    assert (problem.line, problem.column) == (2, 7)
    assert "n9.yaml" in problem.hint


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", True),  # noqa: S104 # a spec, nothing binds it
        ("127.0.0.1", "::", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
    ],
)
def test_two_nodes_with_one_port_name_both_places(first: str, second: str, clash: bool) -> None:
    reach = "  advertise: ['edge.example:4701']"
    both = tree(
        nodes__n1=node("n1", 4701, reach, address=first),
        nodes__n2=node("n2", 4701, reach, address=second),
    )
    if not clash:
        compile_tree(both)
        return
    one, other = problems(both)
    assert (one.path, one.line, one.column) == ("nodes/n1.yaml", 6, 9)
    assert (other.path, other.line, other.column) == ("nodes/n2.yaml", 6, 9)
    assert "nodes/n2.yaml:6:9" in one.what
    assert "nodes/n1.yaml:6:9" in other.what


def test_wildcard_without_advertise_cannot_be_dialled() -> None:
    problem = the_problem(tree(nodes__n1=node("n1", 4701, address="::")))
    assert problem.line == 5
    assert "advertise" in problem.hint


def test_app_needs_a_node_of_the_repository() -> None:
    problem = the_problem(tree(apps__echo=app("echo", "n3")))
    assert str(problem).startswith("apps/echo.yaml:3:7: no node is named 'n3'; ")
    assert "n1, n2" in problem.hint


def test_what_names_a_broken_file_is_not_blamed() -> None:
    names_n2 = node("n1", 4701, "peers: [n2]")
    found = problems(tree(nodes__n1=names_n2, nodes__n2=b"version: ["))
    assert {problem.path for problem in found} == {"nodes/n2.yaml"}


def test_unknown_peer_is_reported_at_its_place() -> None:
    problem = the_problem(tree(nodes__n1=node("n1", 4701, "peers: [n2, nn2, 'x.example:1']")))
    assert (problem.line, problem.column) == (7, 13)
    assert "did you mean 'n2'" in problem.hint


@pytest.mark.parametrize("line", ["peers:", "swim: {tombstone_s: }", "limits: {links: ~}"])
def test_key_without_a_value_is_not_a_default(line: str) -> None:
    problem = the_problem(tree(nodes__n1=node("n1", 4701, line)))
    assert problem.line == 7
    assert "no value" in problem.what


def test_node_is_not_its_own_peer() -> None:
    assert "itself" in the_problem(tree(nodes__n1=node("n1", 4701, "peers: [n1]"))).what


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("realm.yml", "realm.yaml"),
        ("Realm.yaml", "realm.yaml"),
        ("node.yaml", "nodes/"),
        ("nodes/n3.yml", "nodes/<name>.yaml"),
        ("nodes/N3.yaml", "nodes/<name>.yaml"),
        ("nodes/README.md", "nodes/<name>.yaml"),
        ("nodes/more/n3.yaml", "nodes/<name>.yaml"),
        ("apps/.yaml", "apps/<name>.yaml"),
        ("node/n3.yaml", "nodes/"),
        ("Apps/x.yml", "apps/"),
    ],
)
def test_what_looks_like_a_slip_is_a_problem(path: str, hint: str) -> None:
    problem = the_problem(tree() | {path: REALM})
    assert problem.path == path
    assert hint in problem.hint


@pytest.mark.parametrize(
    "path", ["README.md", ".gitignore", ".sops.yaml", "docs/x.yaml", "ci/nodes/n9.yaml", "nodes"]
)
def test_other_files_are_ignored(path: str) -> None:
    assert compile_tree(tree() | {path: b"\xff: ["}) == compile_tree(tree())


def test_more_than_the_limit_is_refused_unread() -> None:
    many = {f"nodes/n{number}.yaml": b"[" for number in range(MAX_SPECS + 1)}
    problem = the_problem({"realm.yaml": REALM} | many)
    assert str(MAX_SPECS) in problem.what


def test_numbers_must_fit_after_all_defaults() -> None:
    slow = node("n1", 4701, "swim: {probe_timeout_s: 0.9}")
    compile_tree(tree(nodes__n1=slow))
    quick = REALM + b"defaults: {swim: {probe_interval_s: 0.8, probe_timeout_s: 0.2}}\n"
    problem = the_problem(tree(realm=quick, nodes__n1=slow))
    assert (problem.path, problem.line, problem.column) == ("nodes/n1.yaml", 7, 25)
    assert "0.9" in problem.what
    assert "0.8" in problem.what


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["environment: {MACULA_SOCKET: x}"], "MACULA_SOCKET"),
        (["environment: {A-B: x}"], "A-B"),
        (["environment: {N: 1}"], "text"),
        (["restart: {base_s: 2, max_s: 1}"], "max_s"),
        (["restart: {policy: sometimes}"], "always"),
        (["stop_deadline_s:"], "stop_deadline_s"),
        (["enviroment: {}"], "enviroment"),
    ],
)
def test_bad_app_is_refused_in_words(lines: list[str], what: str) -> None:
    problem = the_problem(tree(apps__echo=app("echo", "n2", *lines)))
    assert what in str(problem)
    assert problem.line == 5


@pytest.mark.parametrize("command", ["[]", "['']", "sh -c true"])
def test_command_is_a_list_of_words(command: str) -> None:
    text = f"version: 1\nname: echo\nnode: n2\ncommand: {command}\n".encode()
    assert "command" in the_problem(tree(apps__echo=text)).what


def test_name_that_leaves_no_room_for_its_jail_is_refused() -> None:
    fits, long = "a" * 27, "b" * 28
    assert fits in compile_tree(tree(**{f"nodes__{fits}": node(fits, 4703)})).nodes
    for wrong in (
        {f"nodes__{long}": node(long, 4703)},
        {f"apps__{long}": app(long, "n1")},
    ):
        assert "has 28 characters, at most 27 fit" in the_problem(tree(**wrong)).what


@pytest.mark.parametrize("scope", ["em0", r"\e[31m", r"a\nb"])
def test_address_with_a_scope_is_refused(scope: str) -> None:
    text = node("n3", 4703).replace(b"'127.0.0.1'", f'"fe80::1%{scope}"'.encode())
    found = the_problem(tree(nodes__n3=text))
    assert "has a scope: other machines cannot dial it" in found.what
    assert str(found).isprintable()


@given(st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text))
def test_no_problem_holds_what_a_terminal_would_obey(name: str) -> None:
    files = {**tree(), f"nodes/{name}.txt": b"", f"{name}.yml": b"", f"Node/{name}.yaml": b""}
    assert all(str(problem).isprintable() for problem in problems(files))
