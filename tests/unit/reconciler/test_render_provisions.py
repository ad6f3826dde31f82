"""How an app meets its release and its secrets in its jail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from jails.spec import JailSpec, SecretEnvironment, SharedFolder
from reconciler.placement import Placement
from reconciler.releases.spec import ReleaseSpec
from reconciler.render import HeldCredentials, MachinePaths, render
from reconciler.secrets.reference import SecretReference
from reconciler.secrets.unsealed import Unsealed, sealed_environment
from reconciler.specs.desired import Desired
from reconciler.specs.spec import AppSpec, Listen, NodeSpec, RealmSpec

MACHINE = MachinePaths(
    macula=("macula",),
    credentials_dir=Path("/c"),
    run_dir=Path("/run/macula"),
    credentials=MappingProxyType({"n1": HeldCredentials("aa")}),
    releases_dir=Path("/state/releases"),
)
RELEASE = ReleaseSpec(url="https://h/a.tar", sha256="a" * 64)
SECRET = SecretReference(**{"secret": "s/a.age", "sha256": "b" * 64})
APP = AppSpec(
    version=1,
    name="shop",
    node="n1",
    command=("{release}/bin/shop", "{data}", "{release}"),
    release=RELEASE,
    environment={"HOME": "{release}", "P": SECRET, "URL": "u:${P}@{release}", "N": "$$${HOME}"},
)
PATH = f"/state/releases/shop/{'a' * 64}"


def rendered(app: AppSpec, machine: MachinePaths = MACHINE) -> JailSpec | str:
    node = NodeSpec(
        version=1, name="n1", realm="demo", listen=Listen(address="127.0.0.1", port=4701)
    )
    made = render(Desired.of(RealmSpec(version=1, name="demo"), [node], [app]), machine)
    jail = f"app-{app.name}"
    return made.blocked[jail] if jail in made.blocked else made.jails[jail]


def unsealed(app: AppSpec, **what: str) -> MachinePaths:
    known = sealed_environment(app)
    assert known is not None
    said = {name: {known: value} for name, value in what.items()}
    return replace(MACHINE, secrets=Unsealed(folder=Path("/run/macula/secrets"), **said))


def test_a_program_finds_its_release_where_it_lies() -> None:
    jail = rendered(APP, unsealed(APP, digests="d"))
    assert isinstance(jail, JailSpec)
    assert jail.command == (f"{PATH}/bin/shop", "{data}", PATH)
    assert jail.environment["HOME"] == PATH
    assert jail.environment["N"] == f"${PATH}"
    assert {"P", "URL"}.isdisjoint(jail.environment)
    assert jail.secrets == SecretEnvironment(path="/run/macula/secrets/app-shop", digest="d")


def test_a_jail_that_is_apart_sees_it_in_one_place_and_cannot_write_it() -> None:
    machine = replace(unsealed(APP, digests="d"), placement=Placement(isolates=True))
    jail = rendered(APP, machine)
    assert isinstance(jail, JailSpec)
    assert jail.command[0] == "/macula/release/bin/shop"
    assert SharedFolder(source=PATH, target="/macula/release") in jail.isolation.mounts
    other = replace(APP, release=replace(RELEASE, sha256="c" * 64))
    assert isinstance(changed := rendered(other, machine), JailSpec)
    assert changed.command == jail.command
    assert changed.program_digest() != jail.program_digest()


def test_another_release_is_another_program_even_if_no_word_says_so() -> None:
    one = replace(APP, command=("x",), environment={})
    other = replace(one, release=replace(RELEASE, strip=1))
    digests = {
        jail.program_digest()
        for jail in map(rendered, (one, other, replace(one, release=None)))
        if isinstance(jail, JailSpec)
    }
    assert len(digests) == 3


def test_an_app_without_its_secrets_is_blocked_and_says_why() -> None:
    assert rendered(APP, unsealed(APP, obstacles="s/a.age: no key")) == "s/a.age: no key"


def test_words_stay_as_they_are_without_a_release() -> None:
    jail = rendered(replace(APP, release=None, environment={"A": "{release} $ $x"}))
    assert isinstance(jail, JailSpec)
    assert jail.command[0] == "{release}/bin/shop"
    assert jail.environment["A"] == "{release} $ $x"
