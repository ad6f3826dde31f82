"""What specs may know of this machine, and which credentials lie on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maculaos.documents import InvalidDocument, read_document
from reconciler.machine import CREDENTIAL_FILES, held_credentials, machine_facts
from reconciler.settings import ReconcilerSettings

if TYPE_CHECKING:
    from reconciler.render import HeldCredentials

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The credentials of n1."""
    for file in CREDENTIAL_FILES:
        (tmp_path / "n1").mkdir(exist_ok=True)
        (tmp_path / "n1" / file).write_text(file)
    return tmp_path


def held(folder: Path) -> HeldCredentials:
    return held_credentials(folder, ["n1"])["n1"]


@pytest.mark.parametrize("file", CREDENTIAL_FILES)
def test_node_that_lacks_a_file_has_no_credentials(folder: Path, file: str) -> None:
    (folder / "n1" / file).unlink()
    assert held_credentials(folder, ["n1", "n2"]) == {}


def test_certificate_is_told_apart_from_what_a_node_reads_only_at_its_start(folder: Path) -> None:
    before = held(folder)
    (folder / "n1" / "node.crt").write_text("renewed")
    renewed = held(folder)
    assert renewed.fixed == before.fixed
    assert renewed.certificate != before.certificate
    for file in ("node.key", "realm.crt"):
        former = held(folder)
        (folder / "n1" / file).write_text("other")
        assert held(folder).fixed != former.fixed


def test_newer_revocation_list_changes_nothing(folder: Path) -> None:
    assert not held(folder).has_revocations
    path = folder / "n1" / "realm.crl"
    path.write_text("list 1")
    first = held(folder)
    assert first.has_revocations
    path.write_text("list 2")
    assert held(folder) == first
    path.unlink()
    shutil.copytree(folder / "n1", folder / "n2")
    assert held_credentials(folder, ["n2"])["n2"] == held(folder)


def test_revocation_list_that_cannot_be_read_is_one(folder: Path) -> None:
    (folder / "n1" / "realm.crl").symlink_to("nowhere")
    assert held(folder).has_revocations
