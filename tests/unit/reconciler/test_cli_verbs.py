"""The command loads the module of its verb, and no verb is lost by that."""

from __future__ import annotations

from importlib import import_module

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from reconciler.cli import VERBS, app_for


def verbs_of(app: typer.Typer) -> set[str]:
    command = get_command(app)
    return set(getattr(command, "commands", {}))


@pytest.mark.parametrize("module", VERBS)
def test_table_names_the_verbs_that_a_module_adds(module: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    import_module(f"reconciler.cli.{module}").add_to(app)
    assert verbs_of(app) == set(VERBS[module])


@pytest.mark.parametrize("verb", [verb for verbs in VERBS.values() for verb in verbs])
def test_verb_is_found_by_its_first_word(verb: str) -> None:
    assert verb in verbs_of(app_for((verb, "--json")))


@pytest.mark.parametrize("words", [(), ("--help",), ("nosuch",)])
def test_whoever_names_no_verb_sees_all(words: tuple[str, ...]) -> None:
    every = {verb for verbs in VERBS.values() for verb in verbs}
    assert verbs_of(app_for(words)) == every


def test_sole_verb_of_a_module_keeps_its_name() -> None:
    said = CliRunner().invoke(app_for(["consent"]), ["consent", "--help"])
    assert said.exit_code == 0
    assert "REVISION" in said.output
