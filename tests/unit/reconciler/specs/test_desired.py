"""What one commit wants of one machine: items, broken ones, and those of other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.specs.compilation import Compiler, compile_tree
from reconciler.specs.desired import Desired, Refused
from reconciler.specs.filling import SandboxFiller
from reconciler.specs.items import decode_item, encode_item
from reconciler.specs.targets import MachineFacts
from reconciler.specs.templates import AsWritten, Filled, Template

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = MachineFacts(name="m1", labels={"site": "cellar", "size": "small"})
REALM = "version: 1\nname: demo\nvars: {colour: red, level: info}\n"


def node(name: str, port: int, *lines: str, address: str = "127.0.0.1") -> str:
    listen = f"listen: {{address: '{address}', port: {port}}}"
    return "\n".join(["version: 1", f"name: {name}", "realm: demo", listen, *lines, ""])


def app(name: str, *lines: str, on: str = "n1") -> str:
    head = ["version: 1", f"name: {name}", f"node: {on}", "command: [sh]"]
    return "\n".join([*head, *lines, ""])


BASE = {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701), "apps/a.yaml": app("a")}


def compiled(files: dict[str, str], machine: MachineFacts = HERE) -> Desired:
    given_files = {path: text.encode() for path, text in {**BASE, **files}.items()}
    return compile_tree(given_files, machine, SandboxFiller())


def told(desired: Desired) -> dict[str, list[str]]:
    return {key: [str(one) for one in found] for key, found in desired.broken.items()}


def test_broken_file_breaks_its_own_item_only() -> None:
    desired = compiled({"apps/b.yaml": app("b", "colour: blue"), "nodes/n1.yaml": "name: [n1\n"})
    assert list(desired.items) == ["app/a"]
    assert set(desired.broken) == {"app/b", "node/n1"}
    assert not desired.is_whole


@pytest.mark.parametrize("realm", ["", "version: 1\n", "version: 1\nname: demo\ncolour: blue\n"])
def test_realm_that_cannot_be_read_refuses_the_commit(realm: str) -> None:
    with pytest.raises(Refused):
        compiled({"realm.yaml": realm})


def test_misplaced_file_is_told_and_refuses_nothing() -> None:
    desired = compiled({"nodes/n2.yml": "x", "overlays/machines/m1/apps/b.yaml": "a: 1"})
    assert [problem.path for problem in desired.problems] == [
        "nodes/n2.yml",
        "overlays/machines/m1/apps/b.yaml",
    ]
    assert set(desired.items) == {"app/a", "node/n1"}
    assert not desired.broken


@pytest.mark.parametrize(
    ("targets", "is_here"),
    [
        ("targets: {}", True),
        ("targets: {machines: [m1]}", True),
        ("targets: {machines: ['m?', x]}", True),
        ("targets: {machines: [m2]}", False),
        ("targets: {labels: {site: cellar}}", True),
        ("targets: {labels: {site: [attic, cellar], size: small}}", True),
        ("targets: {labels: {site: cellar, size: large}}", False),
        ("targets: {labels: {floor: '1'}}", False),
        ("targets: {machines: [m1], labels: {site: attic}}", False),
    ],
)
def test_targets_choose_machines(targets: str, is_here: bool) -> None:
    desired = compiled({"nodes/n2.yaml": node("n2", 2, targets), "apps/b.yaml": app("b", on="n2")})
    assert ("node/n2" in desired.items) == is_here
    # An app is where its node is.
    assert ("app/b" in desired.items) == is_here
    assert not desired.all_problems()


def test_app_cannot_be_where_its_node_is_not() -> None:
    there = node("n2", 2, "targets: {machines: [m2]}")
    desired = compiled({"nodes/n2.yaml": there, "apps/b.yaml": app("b", "targets: {}", on="n2")})
    assert "its node n2 does not run on this machine" in told(desired)["app/b"][0]


def test_problems_of_other_machines_are_told_to_who_checks() -> None:
    away = app("b", "targets: {machines: [m2]}", "colour: blue")
    desired = compiled({"apps/b.yaml": away})
    assert desired.is_whole
    assert list(desired.elsewhere) == ["app/b"]
    assert len(desired.all_problems()) == 1


def test_file_that_may_have_named_targets_keeps_its_apps_from_starting_elsewhere() -> None:
    torn = "targets: {machines: [m2]}\nname: [n2\n"
    desired = compiled({"nodes/n2.yaml": torn, "apps/b.yaml": app("b", on="n2")})
    assert set(desired.broken) == {"node/n2", "app/b"}
    assert "nodes/n2.yaml cannot be read" in told(desired)["app/b"][0]
    desired = compiled({"nodes/n2.yaml": "name: [n2\n", "apps/b.yaml": app("b", on="n2")})
    assert "app/b" in desired.items


def test_peers_of_other_machines_are_dialled_at_their_address() -> None:
    files = {
        "nodes/n1.yaml": node("n1", 4701, "peers: [n2, n3, 'x.example:1']"),
        "nodes/n2.yaml": node("n2", 4702),
        "nodes/n3.yaml": node("n3", 3, "targets: {machines: [m2]}", address="192.0.2.3"),
    }
    peers = ("n2", "192.0.2.3:3", "x.example:1")
    assert compiled(files).nodes["n1"].peers == peers
    every = {**files, "nodes/n1.yaml": node("n1", 4701)}
    assert compiled(every).nodes["n1"].peers == ("n2", "192.0.2.3:3")
    hidden = {**files, "nodes/n3.yaml": node("n3", 3, "targets: {machines: [m2]}")}
    assert "listens on 127.0.0.1" in told(compiled(hidden))["node/n1"][0]


LAYERED = {
    "apps/a.yaml": app("a", "profiles: [low, high]", "environment: {OWN: own}"),
    "profiles/low.yaml": "environment: {A: low, B: low, C: low, D: low, OWN: low}\n"
    "restart: {max_s: 5}\n",
    "profiles/high.yaml": "environment: {B: high, C: high, D: high}\nrestart: {base_s: 2}\n",
    "overlays/labels/site=cellar/apps/a.yaml": "environment: {C: site, D: site}\n",
    "overlays/labels/site=attic/apps/a.yaml": "environment: {C: attic}\n",
    "overlays/machines/m1/apps/a.yaml": "environment: {D: machine, A: }\n",
}


@given(st.permutations(list(LAYERED)))
def test_layers_lie_in_their_order_whatever_that_of_the_files(paths: list[str]) -> None:
    files = {path: LAYERED[path].encode() for path in paths}
    all_files = {**files, "realm.yaml": REALM.encode(), "nodes/n1.yaml": node("n1", 1).encode()}
    desired = compile_tree(all_files, HERE, AsWritten())
    assert not desired.all_problems()
    spec = desired.apps["a"]
    assert spec.environment == {"B": "high", "C": "site", "D": "machine", "OWN": "own"}
    assert (spec.restart.base_s, spec.restart.max_s) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (
            {"profiles/p.yaml": "a: 1\nenvironment: {A: 1}\n"},
            "profiles/p.yaml:1:1: unknown key 'a'",
        ),
        ({"profiles/p.yaml": "environment:\n  A: 1\n"}, "profiles/p.yaml:2:6: environment.A must"),
        ({"profiles/p.yaml": "name: b\n"}, "profiles/p.yaml:1:1: the key 'name' may only"),
        ({"profiles/p.yaml": "x: ["}, "profiles/p.yaml:1:4: this [ is never closed"),
        ({"profiles/q.yaml": "{}"}, "apps/a.yaml:5:12: no profile is named 'p'; profiles/ has q"),
        (
            {"profiles/p.yaml": "{}", "overlays/machines/m1/apps/a.yaml": "stop_deadline_s:\n"},
            "overlays/machines/m1/apps/a.yaml:1:17: stop_deadline_s must be a number",
        ),
    ],
)
def test_problem_names_the_file_that_the_value_came_from(files: dict[str, str], place: str) -> None:
    desired = compiled({**files, "apps/a.yaml": app("a", "profiles: [p]")})
    assert set(desired.broken) == {"app/a"}
    assert told(desired)["app/a"][0].startswith(place)


def test_templates_are_filled_for_this_machine() -> None:
    text = '"{{ machine.name }}/{{ vars.colour }}/{{ vars.level }}/{{ item.name }}"'
    desired = compiled({"apps/a.yaml": app("a", f"environment: {{A: {text}}}", "vars: {level: d}")})
    assert desired.apps["a"].environment == {"A": "m1/red/d/a"}


def test_template_that_cannot_be_filled_is_told_at_its_place() -> None:
    files = {
        "profiles/p.yaml": 'environment:\n  A: "{{ machine.labels.sit }}"\n',
        "apps/b.yaml": app("b", "profiles: [p]"),
        "apps/c.yaml": app("c", "profiles: [p]", "targets: {machines: [m2]}"),
    }
    desired = compiled(files)
    (line,) = told(desired)["app/b"]
    assert line.startswith("profiles/p.yaml:2:6: this cannot be filled: nothing is known as 'sit'")
    assert set(desired.items) == {"app/a", "node/n1"}
    assert not desired.elsewhere


def test_templates_never_make_structure() -> None:
    files = {
        "apps/b.yaml": app("b", "depends_on: ['{{ vars.colour }}']"),
        "apps/c.yaml": app("c", "environment: {'{{ vars.colour }}': x}"),
        "apps/d.yaml": app("d", on="'{{ vars.colour }}'"),
    }
    assert set(compiled(files).broken) == {"app/b", "app/c", "app/d"}


def test_circle_is_told_to_all_that_lie_in_it() -> None:
    files = {
        "apps/a.yaml": app("a", "depends_on: [b]"),
        "apps/b.yaml": app("b", "depends_on: [a]"),
        "apps/c.yaml": app("c", "depends_on: [b]"),
    }
    desired = compiled(files)
    assert set(desired.broken) == {"app/a", "app/b"}
    assert all("a -> b -> a" in lines[0] for lines in told(desired).values())
    assert told(compiled({"apps/a.yaml": app("a", "depends_on: [x]")}))["app/a"]


def test_moves_are_claimed_once_and_from_what_is_gone() -> None:
    moved = {"apps/b.yaml": app("b", "moved_from: old")}
    assert compiled(moved).moved == {"app/b": "app/old"}
    twice = {**moved, "apps/c.yaml": app("c", "moved_from: old")}
    assert set(compiled(twice).broken) == {"app/b", "app/c"}
    still = {"apps/b.yaml": app("b", "moved_from: a")}
    assert "apps/a.yaml is still there" in told(compiled(still))["app/b"][0]


def test_digest_changes_when_and_only_when_the_meaning_does() -> None:
    before = compiled({}).items
    same = compiled({"apps/a.yaml": "# a word\n" + app("a", "stop_deadline_s: 10")}).items
    assert same["app/a"].digest == before["app/a"].digest
    defaults = REALM + "defaults: {swim: {tombstone_s: 5}}\n"
    changed = compiled({"realm.yaml": defaults}).items
    assert changed["node/n1"].digest != before["node/n1"].digest
    assert changed["app/a"] == before["app/a"]
    assert decode_item(encode_item(changed["node/n1"])) == changed["node/n1"]


def test_item_of_an_earlier_commit_takes_the_place_of_a_broken_one() -> None:
    good = compiled({})
    desired = compiled({"apps/a.yaml": "["}).keeping([good.items["app/a"]])
    assert desired.items == good.items
    assert set(desired.broken) == {"app/a"}


TEMPLATE = {"apps/a.yaml": app("a", 'environment: {A: "{{ vars.colour }}"}')}
changes = st.sampled_from(
    [
        {},
        {"apps/a.yaml": "["},
        TEMPLATE,
        {**TEMPLATE, "realm.yaml": REALM.replace("red", "yellow")},
        {**TEMPLATE, "nodes/n1.yaml": node("n1", 4701, "targets: {machines: [m2]}")},
        {"nodes/n1.yaml": node("n1", 4701, "targets: {machines: [m2]}")},
        {"realm.yaml": REALM.replace("red", "blue")},
        {"realm.yaml": REALM.replace("vars", "description: x\nvars")},
        LAYERED,
        {**LAYERED, "profiles/low.yaml": "environment: {A: other}\n"},
        {**LAYERED, "overlays/machines/m1/apps/a.yaml": "name: x\n"},
        {"apps/b.yaml": app("b", "depends_on: [a]"), "nodes/n2.yaml": node("n2", 4701)},
    ]
)


@given(st.lists(changes, min_size=1, max_size=4))
def test_what_is_remembered_changes_nothing(commits: list[dict[str, str]]) -> None:
    filler = _Filler()
    compiler = Compiler(HERE, filler)
    for files in commits:
        content = {path: text.encode() for path, text in {**BASE, **files}.items()}
        assert compiler.compile(content) == compile_tree(content, HERE, _Filler())


class _Filler(AsWritten):
    """Fills with what was asked, so that each answer tells its question; no process for it."""

    def fill(self, templates: Sequence[Template]) -> tuple[Filled, ...]:
        return tuple(f"{template.text}{template.names}" for template in templates)
