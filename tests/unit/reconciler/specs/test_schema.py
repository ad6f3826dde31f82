"""The published documentation is what the types say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler.specs import schema
from reconciler.specs.compilation import compile_tree
from reconciler.specs.filling import SandboxFiller
from reconciler.specs.layers import OWN_KEYS
from reconciler.specs.targets import MachineFacts

ROOT = Path(__file__).parents[4]
DOCS = ROOT / "docs"
REFRESH = "run: python -m reconciler.specs.schema docs"
EXAMPLE = ROOT / "examples" / "mesh-config"
FOLDERS = {"realm": "realm.yaml", "node": "nodes/n1.yaml", "app": "apps/echo.yaml"}


def _examples() -> dict[str, str]:
    """The examples in docs/spec.md by the path that their section describes."""
    text = (DOCS / "spec.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    own = [block for block in blocks if not block.startswith("# ")]
    others = (block for block in blocks if block.startswith("# "))
    named = {block.partition("\n")[0].removeprefix("# "): block for block in others}
    return {**dict(zip(FOLDERS.values(), own, strict=True)), **named}


@pytest.mark.parametrize("name", sorted(schema.schemas()))
def test_published_schema_is_the_generated_one(name: str) -> None:
    published = (DOCS / "schema" / name).read_text(encoding="utf-8")
    assert published == schema.schemas()[name], REFRESH


def test_nothing_else_is_published_as_schema() -> None:
    published = {path.name for path in (DOCS / "schema").glob("*.json")}
    assert published == set(schema.schemas())


def test_tables_of_keys_are_the_generated_ones() -> None:
    text = (DOCS / "spec.md").read_text(encoding="utf-8")
    assert schema.with_tables(text) == text, REFRESH


def test_every_table_has_its_place_in_the_documentation() -> None:
    text = (DOCS / "spec.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- keys of (\w+) -->", text)) == set(schema.key_tables())


def test_every_key_is_described() -> None:
    for name, table in schema.key_tables().items():
        for row in table.splitlines()[2:]:
            assert not row.endswith("|  |"), f"{name}: {row}"


def test_documented_examples_are_accepted() -> None:
    tree = {path: text.encode() for path, text in _examples().items()}
    tree["nodes/n2.yaml"] = (
        b"version: 1\nname: n2\nrealm: demo\nlisten: {address: '::1', port: 9}\n"
    )
    machine = MachineFacts(name="edge-7", labels={"site": "cellar"})
    desired = compile_tree(tree, machine, SandboxFiller())
    assert not desired.all_problems()
    assert set(desired.nodes) == {"n1", "n2"}
    assert desired.apps["web"].command == ("web-server", "--site", "cellar")
    assert desired.apps["web"].environment == {"PORT": "8080", "GREETING": "hello from edge-7"}


@pytest.mark.parametrize("kind", ["realm", "node", "app"])
def test_schema_accepts_what_the_reconciler_accepts(kind: str) -> None:
    validator = _validator(kind)
    for text in (_examples()[FOLDERS[kind]], (EXAMPLE / FOLDERS[kind]).read_text(encoding="utf-8")):
        validator.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("realm", {"name": "Demo!"}),
        ("realm", {"colour": "blue"}),
        ("realm", {"defaults": {"swim": {"probe_interval_s": None}}}),
        ("node", {"listen": {"address": "127.0.0.1", "port": 0}}),
        ("node", {"peers": None}),
        ("app", {"command": []}),
        ("app", {"restart": {"policy": "sometimes"}}),
        ("app", {"environment": {"N": 1}}),
    ],
)
def test_schema_refuses_what_the_reconciler_refuses(kind: str, change: dict[str, Any]) -> None:
    document = yaml.safe_load(_examples()[FOLDERS[kind]])
    assert not _validator(kind).is_valid({**document, **change})


def test_every_file_of_the_example_with_layers_is_accepted_by_its_schema() -> None:
    files = _examples()
    assert not _validator("app").is_valid({"command": ["web"]})
    _validator("app").validate(yaml.safe_load(files["apps/web.yaml"]))
    _validator("profile").validate(yaml.safe_load(files["profiles/served.yaml"]))
    # What a profile gives need not stand in the spec.
    _validator("app").validate({"version": 1, "name": "web", "profiles": ["served"]})
    _validator("node").validate({"version": 1, "name": "n1", "listen": {"port": 4701}})


@pytest.mark.parametrize("layer", ["profile", "app-overlay", "node-overlay"])
@pytest.mark.parametrize("key", OWN_KEYS)
def test_layers_say_nothing_of_what_an_item_is(layer: str, key: str) -> None:
    assert _validator(layer).is_valid({"vars": {"site": "cellar"}})
    assert not _validator(layer).is_valid({"vars": {"site": "cellar"}, key: 1})


def test_profile_has_the_keys_of_one_kind() -> None:
    assert _validator("profile").is_valid({"command": ["web"], "restart": {"policy": "never"}})
    assert _validator("profile").is_valid({"listen": {"port": 4701}})
    assert not _validator("profile").is_valid({"command": ["web"], "listen": {"port": 4701}})
    assert not _validator("profile").is_valid({"restart": {"policy": "sometimes"}})


def test_overlay_may_remove_what_lies_below() -> None:
    assert _validator("app-overlay").is_valid({"health": None, "restart": {"max_s": None}})
    assert not _validator("profile").is_valid({"health": None})
    assert not _validator("app-overlay").is_valid({"restart": {"policy": "sometimes"}})


def _validator(kind: str) -> Draft202012Validator:
    made = json.loads(schema.schemas()[f"{kind}.json"])
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)
