"""The documentation of the spec format, made from its types: JSON Schemas and tables of keys.

``docs/schema/`` and the tables in ``docs/spec.md`` are what this module says; a test compares.
``python -m reconciler.specs.schema docs`` writes both anew, and touches no other text.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from reconciler.specs.layers import OWN_KEYS
from reconciler.specs.overrides import NODE_DEFAULTS, Setting
from reconciler.specs.spec import AppSpec, NodeSpec, RealmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import core_schema

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
KINDS: Final[Mapping[str, type]] = MappingProxyType(
    {"realm": RealmSpec, "node": NodeSpec, "app": AppSpec}
)
# The mappings inside of them, by the word that the tables call them.
PARTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "defaults": "Defaults",
        "exec": "ExecProbe",
        "health": "Health",
        "hooks": "LifeHooks",
        "http": "HttpProbe",
        "listen": "Listen",
        "swim": "SwimOverrides",
        "link": "LinkOverrides",
        "topology": "TopologyOverrides",
        "events": "EventOverrides",
        "limits": "LimitOverrides",
        "mesh": "MeshProbe",
        "port": "PortSpec",
        "release": "ReleaseSpec",
        "restart": "RestartRule",
        "secret": "SecretReference",
        "strategy": "Strategy",
        "targets": "Targets",
        "tcp": "TcpProbe",
    }
)
_WORDS: Final = MappingProxyType(
    {
        "string": "text",
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
        "array": "list of text",
        "object": "mapping of text to text",
    }
)
_MARKED: Final = re.compile(r"<!-- keys of (\w+) -->\n.*?<!-- end -->", re.DOTALL)

Schema = dict[str, Any]


def schemas() -> dict[str, str]:
    """The JSON Schema of each kind of file, by file name, as it lies in ``docs/schema/``.

    What is required of a node or an app may stand in any of the files that make it up, so each of
    them alone is only asked for what no other may say.
    """
    whole = {kind: _schema(kind, of) for kind, of in KINDS.items()}
    specs = {kind: whole[kind] for kind in KINDS if kind != "realm"}
    made = {
        "realm": whole["realm"],
        **{kind: _part(spec, frozenset(OWN_KEYS)) for kind, spec in specs.items()},
        **{f"{kind}-overlay": _overlay(kind, spec) for kind, spec in specs.items()},
        "profile": _profile(specs),
    }
    return {
        f"{name}.json": json.dumps(one, indent=2, ensure_ascii=False) + "\n"
        for name, one in made.items()
    }


def _part(schema: Schema, required: frozenset[str]) -> Schema:
    """``schema`` for one of several files: of its keys only those in ``required`` are."""
    schema = dict(schema)
    said = schema.pop("required", ())
    inner = schema.get("$defs", {}).items()
    loose = {name: {k: v for k, v in one.items() if k != "required"} for name, one in inner}
    wanted = [key for key in said if key in required]
    return {**schema, "$defs": loose, **({"required": wanted} if wanted else {})}


def _without_own_keys(schema: Schema) -> Schema:
    loose = _part(schema, frozenset())
    kept = {key: of for key, of in schema["properties"].items() if key not in OWN_KEYS}
    return {**loose, "properties": kept}


def _overlay(kind: str, schema: Schema) -> Schema:
    """What may be laid over a spec: a key without a value removes what lies below."""
    title = f"MaculaOS overlay of a {kind} spec, version 1"
    loose = _without_own_keys(schema)
    inner = {name: _removable(one) for name, one in loose["$defs"].items()}
    return {**_removable(loose), "$defs": inner, "title": title}


def _removable(of: Schema) -> Schema:
    if "properties" not in of:
        return of
    keys = {key: {"anyOf": [one, {"type": "null"}]} for key, one in of["properties"].items()}
    return {**of, "properties": keys}


def _profile(specs: Mapping[str, Schema]) -> Schema:
    """What nodes or apps may share: the keys of one kind."""
    loose = {kind: _without_own_keys(schema) for kind, schema in specs.items()}
    inner = {name: one for schema in loose.values() for name, one in schema["$defs"].items()}
    outer = ("$schema", "$defs", "title")
    kinds = [
        {key: value for key, value in schema.items() if key not in outer}
        for schema in loose.values()
    ]
    title = "MaculaOS profile of node or app specs, version 1"
    return {"$schema": DRAFT, "$defs": inner, "anyOf": kinds, "title": title}


def with_tables(text: str) -> str:
    """``text`` with every table between its marks made anew."""
    tables = key_tables()
    return _MARKED.sub(lambda mark: _between_marks(mark[1], tables[mark[1]]), text)


def key_tables() -> dict[str, str]:
    """A table of keys for each kind of file and each mapping in it, in Markdown."""
    tables: dict[str, str] = {}
    for kind, of in KINDS.items():
        schema = _schema(kind, of)
        tables[kind] = _table(schema, MappingProxyType({}))
        for part, definition in PARTS.items():
            inner = schema.get("$defs", {}).get(definition)
            if inner is not None:
                tables[part] = _table(inner, NODE_DEFAULTS.get(part, MappingProxyType({})))
    return tables


def refresh(docs: Path) -> None:
    """Write the schemas and tables below the folder ``docs`` anew."""
    for name, text in schemas().items():
        (docs / "schema" / name).write_text(text, encoding="utf-8")
    spec = docs / "spec.md"
    spec.write_text(with_tables(spec.read_text(encoding="utf-8")), encoding="utf-8")


def _between_marks(name: str, table: str) -> str:
    return f"<!-- keys of {name} -->\n{table}<!-- end -->"


def _schema(kind: str, of: type) -> Schema:
    made = _tidy(TypeAdapter(of).json_schema(schema_generator=_Documented))
    title = f"MaculaOS {kind} spec, version 1"
    return {"$schema": DRAFT, **cast("Schema", made), "title": title}


class _Documented(GenerateJsonSchema):
    """Takes the text under each field for its description.

    pydantic would do so itself, and read the sources whenever a type is first used: a good part of
    what a short command takes.
    """

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> dict[str, Any]:
        made = super().dataclass_schema(schema)
        for name, text in _texts_under_fields(schema["cls"]).items():
            made["properties"][name]["description"] = text
        return made


def _texts_under_fields(of: type) -> dict[str, str]:
    (tree,) = ast.parse(inspect.getsource(of)).body
    lines = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(lines)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _tidy(node: Any) -> Any:
    """Without what only says how we store a key that was left out, and without made-up titles."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _tidy(value) for key, value in node.items() if not _is_noise(key, value)}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    return kept


def _is_noise(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


def _table(schema: Schema, inherited: Mapping[str, Setting]) -> str:
    head = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n"
    return head + "".join(_rows(schema, inherited))


def _rows(schema: Schema, inherited: Mapping[str, Setting]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for key, of in schema["properties"].items():
        default = "required" if key in required else _default(key, of, inherited)
        yield f"| `{key}` | {_type(of)} | {default} | {of.get('description', '')} |\n"


def _default(key: str, of: Schema, inherited: Mapping[str, Setting]) -> str:
    value = inherited.get(key, of.get("default"))
    return f"`{json.dumps(value)}`" if value not in (None, "", [], {}) else "-"


def _type(of: Schema) -> str:
    if "$ref" in of:
        definition = of["$ref"].rpartition("/")[2]
        word = next(part for part, name in PARTS.items() if name == definition)
        return f"mapping, see [{word}](#{word})"
    if "const" in of:
        return f"`{of['const']}`"
    if "enum" in of:
        return " or ".join(f"`{word}`" for word in of["enum"])
    if "oneOf" in of.get("additionalProperties", ()):
        return "mapping of text to text, or to a mapping, see [secret](#secret)" + _bounds(of)
    if "oneOf" in of:
        return " or ".join(_type(choice) for choice in of["oneOf"])
    if "$ref" in of.get("items", ()):
        listed = _type(of["items"]).removeprefix("mapping, ")
        return f"list of mappings{_bounds(of)}, {listed}"
    if "anyOf" in of.get("additionalProperties", ()):
        return "mapping of text to text, or to a list of text"
    return _WORDS[of["type"]] + _bounds(of)


def _bounds(of: Schema) -> str:
    low = f", above {of['exclusiveMinimum']}" if "exclusiveMinimum" in of else ""
    low = f", {of['minimum']}" if "minimum" in of else low
    high = f" to {of['maximum']}" if "maximum" in of else ""
    items = f", at most {of['maxItems']}" if "maxItems" in of else ""
    length = f", at most {of['maxLength']} characters" if "maxLength" in of else ""
    return low + high + items + length


if __name__ == "__main__":
    refresh(Path(sys.argv[1]))
