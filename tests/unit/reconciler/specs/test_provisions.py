"""Releases and secrets in a spec: what is accepted, what is a problem, and what an item holds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from reconciler.secrets.reference import SecretReference
from reconciler.specs.compilation import Compiler, compile_tree
from reconciler.specs.filling import SandboxFiller
from reconciler.specs.items import ciphertexts_of, decode_item, encode_item
from reconciler.specs.targets import MachineFacts
from reconciler.specs.templates import AsWritten

if TYPE_CHECKING:
    from reconciler.specs.desired import Desired

HEAD = "version: 1\nname: shop\nnode: n1\ncommand: [shop]\n"
NODE = "version: 1\nname: n1\nrealm: demo\nlisten: {address: 127.0.0.1, port: 4701}\n"
SHA = "a" * 64


def files(said: str) -> dict[str, bytes]:
    texts = {"realm.yaml": "version: 1\nname: demo\n", "nodes/n1.yaml": NODE}
    return {path: text.encode() for path, text in {**texts, "apps/shop.yaml": HEAD + said}.items()}


def compiled(said: str, **secrets: bytes) -> Desired:
    there = {f"s/{name}.age": content for name, content in secrets.items()}
    return Compiler(MachineFacts(), AsWritten()).compile(files(said), (), there)


NEEDY = "environment:\n  PASSWORD: {secret: s/one.age}\n"


def test_a_changed_ciphertext_changes_the_item_and_its_version_is_complete() -> None:
    one, two = compiled(NEEDY, one=b"1", other=b"x"), compiled(NEEDY, one=b"2")
    item = one.items["app/shop"]
    digest = hashlib.sha256(b"1").hexdigest()
    assert item.digest != two.items["app/shop"].digest
    assert ciphertexts_of(item.spec) == {digest}
    # Only what an item needs.
    assert dict(one.secrets) == {digest: b"1"}
    assert decode_item(encode_item(item)) == item
    assert compiled(NEEDY, one=b"1").items["app/shop"].digest == item.digest


def test_a_compiler_that_remembers_sees_a_changed_ciphertext() -> None:
    compiler = Compiler(MachineFacts(), AsWritten())
    tree = files(NEEDY)
    one = compiler.compile(tree, (), {"s/one.age": b"1"})
    two = compiler.compile(tree, (), {"s/one.age": b"2"})
    assert one.items["app/shop"].digest != two.items["app/shop"].digest
    assert compiler.compile(tree).broken.keys() == {"app/shop"}


@pytest.mark.parametrize(
    ("said", "where", "what"),
    [
        (NEEDY, "6:22", "there is no s/one.age in the repository"),
        ("environment:\n  P: {secret: s/one.txt}\n", "6:15", "not encrypted by its name"),
        ("environment:\n  P: {secret: ../one.age}\n", "6:15", "no path in the repository"),
        ("environment:\n  P: {secret: s/x.sops.yaml}\n", "6:6", "say which one by key"),
        ("environment:\n  P: {secret: s/two.age, keys: a}\n", "6:26", "unknown key 'keys'"),
        ("environment:\n  P: {key: a}\n", "6:6", "the key 'secret' is missing"),
        (f"environment:\n  P: {{secret: s/two.age, sha256: {SHA}}}\n", "6:34", "another file"),
        ("environment:\n  P: 1\n", "6:6", "must be text, not 1"),
        ("environment:\n  P: ${NONE}\n", "6:6", "which nobody defines"),
        ("environment:\n  A: ${B}\n  B: ${A}\n", ":6", "round in a circle"),
        (f"release: {{url: ftp://x/a, sha256: {SHA}}}\n", "5:16", "is not fetched"),
        ("release: {url: https://x/a, sha256: abc}\n", "5:37", "64 of 0-9"),
        (f"release: {{url: 'ftp://{{{{ realm }}}}/a', sha256: {SHA}}}\n", "5:16", "not fetched"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(said: str, where: str, what: str) -> None:
    desired = compiled(said, two=b"2")
    problems = desired.broken["app/shop"]
    text = "\n".join(map(str, problems))
    assert what in text
    assert len(problems) == 1
    assert where in text
    assert "apps/shop.yaml" in text


def test_what_the_machine_offers_may_be_mentioned() -> None:
    assert compiled("environment:\n  A: ${MACULA_SOCKET} ${MACULA_REALM} $$ $x\n").is_whole


def test_templates_fill_urls_and_plain_values() -> None:
    said = (
        f"release: {{url: 'https://h/{{{{ realm }}}}.tar', sha256: {SHA}}}\n"
        'environment: {A: "{{ item.name }}", P: {secret: s/one.age}}\n'
    )
    compiler = Compiler(MachineFacts(), SandboxFiller())
    spec = compiler.compile(files(said), (), {"s/one.age": b"1"}).apps["shop"]
    assert spec.release is not None
    assert spec.release.url == "https://h/demo.tar"
    assert spec.environment["A"] == "shop"
    reference = spec.environment["P"]
    assert isinstance(reference, SecretReference)
    assert str(reference) == "s/one.age"


def test_a_filled_url_is_checked_again() -> None:
    said = f"release: {{url: 'https://h/{{{{ \"a b\" }}}}', sha256: {SHA}}}\n"
    desired = compile_tree(files(said), MachineFacts(), SandboxFiller())
    assert "no blanks" in str(desired.broken["app/shop"][0])
