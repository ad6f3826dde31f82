"""What specs may know of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maculaos.documents import InvalidDocument, read_document
from reconciler.machine import machine_facts
from reconciler.settings import ReconcilerSettings

HEAD = "version: 1\nrepository: {url: /r}\nstate_dir: s\ncredentials_dir: c\nrun_dir: r\n"


def settings(more: str = "") -> ReconcilerSettings:
    return read_document((HEAD + more).encode(), "reconciler.yaml", ReconcilerSettings).value


def test_machine_is_called_as_the_settings_say_or_by_its_host_name() -> None:
    named = machine_facts(settings("machine: {name: edge-7, labels: {site: Cellar}}"))
    assert (named.name, dict(named.labels)) == ("edge-7", {"site": "Cellar"})
    assert machine_facts(settings()).name == os.uname().nodename.lower()
    assert settings().state_dir == Path("s")


@pytest.mark.parametrize(
    "machine", ["{name: Edge}", "{name: ''}", "{labels: {A: b}}", "{labels: {a: 'b c'}}", ""]
)
def test_names_and_labels_that_no_path_could_hold_are_refused(machine: str) -> None:
    with pytest.raises(InvalidDocument):
        settings(f"machine: {machine}")
