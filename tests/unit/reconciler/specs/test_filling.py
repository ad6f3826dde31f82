"""Templates are filled in a real child, within bounds, and the guilty one is named."""

from __future__ import annotations

import json

import pytest

from maculaos.host.confined import Bounds
from reconciler.specs.filling import DEATHS_MAX, SandboxFiller
from reconciler.specs.sandbox import RESULT_MAX
from reconciler.specs.templates import Template, Unfillable

NAMES = json.dumps(
    {
        "machine": {"name": "edge-7", "labels": {"site": "cellar", "a-b": "c", "items": "none"}},
        "realm": "demo",
        "item": {"name": "web", "kind": "app"},
        "vars": {"level": "info"},
    }
)
# The power is worked out in C, where nothing but the kernel ends it.
ENDLESS = "{{ (9 ** (9 ** 9)) | string }}"


def template(text: str) -> Template:
    return Template(text, NAMES)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ machine.name }}", "edge-7"),
        ("{{ machine.labels.site | upper }}-{{ realm }}", "CELLAR-demo"),
        ('{{ machine.labels["a-b"] }}', "c"),
        ("{{ machine.labels.items }}", "none"),
        ("{{ item.kind }}/{{ item.name }}", "app/web"),
        ('{{ vars.more | default("d") }}', "d"),
        ('{{ "{{" }} {% if %} {# #}', "{{ {% if %} {# #}"),
        ("{{ 6 * 7 }}\n", "42\n"),
    ],
)
def test_names_and_filters_are_filled(text: str, filled: str) -> None:
    assert SandboxFiller().fill([template(text)]) == (filled,)


HOSTILE = [
    "{{ ''.__class__.__mro__ }}",
    "{{ vars._Names__held }}",
    "{{ vars.__class__ }}",
    "{{ lipsum() }}",
    "{{ range(9) }}",
    "{{ self }}",
    "{{ cycler }}",
    "{{ vars }}",
    "{{ vars.nothing }}",
    "{{ nothing }}",
    "{{",
    "{{ }}",
    "{{ 1 / 0 }}",
    "{{ 'a' * 2000000000 }}",
    "{{ 'a' * 70000 }}",
    "{{ [] }}",
    "{{ none }}",
    "{{ '%s' | format(vars) | attr('__class__') }}",
]


def test_hostile_templates_are_told_one_by_one_by_one_child() -> None:
    filler = SandboxFiller()
    told = filler.fill([*map(template, HOSTILE), template("{{ realm }}")])
    assert told[-1] == "demo"
    for text, answer in zip(HOSTILE, told[:-1], strict=True):
        # The text of a mapping would say nothing but its address.
        assert isinstance(answer, Unfillable), (text, answer)
    assert filler.children == 1


def test_unknown_name_is_named() -> None:
    (answer,) = SandboxFiller().fill([template("{{ machine.labels.sit }}")])
    assert isinstance(answer, Unfillable)
    assert "nothing is known as 'sit'" in answer.what


def test_template_that_ends_its_child_is_blamed_alone() -> None:
    filler = SandboxFiller(Bounds(cpu_s=1))
    first, endless, last = filler.fill(list(map(template, ["{{ realm }}", ENDLESS, "{{ 1 }}"])))
    assert (first, last) == ("demo", "1")
    assert isinstance(endless, Unfillable)
    assert "too much time" in endless.what
    assert filler.children == 2


def test_flood_of_deadly_templates_ends_soon() -> None:
    filler = SandboxFiller(Bounds(output_bytes=1))
    told = filler.fill([template(f"{{{{ {number} }}}}") for number in range(50)])
    assert all(isinstance(answer, Unfillable) for answer in told)
    assert filler.children == DEATHS_MAX


def test_what_was_filled_once_needs_no_child() -> None:
    filler = SandboxFiller()
    assert filler.fill([]) == ()
    assert filler.children == 0
    for _ in range(2):
        assert filler.fill([template("{{ realm }}")] * 2) == ("demo", "demo")
    assert filler.children == 1


def test_longest_result_is_taken() -> None:
    (text,) = SandboxFiller().fill([template(f"{{{{ 'a' * {RESULT_MAX} }}}}")])
    assert text == "a" * RESULT_MAX
