"""The command: wrong use is one line and status 2; data and words keep apart."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from imagebuilder import cli

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = ("--commit", "ab" * 20, "--epoch", "1750000000")


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr(sys, "argv", ["imagebuilder", *argv])
    return cli.main()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "Missing command"),
        (("frob",), "No such command"),
        (("build", "--frob"), "No such option"),
        (("build", *COMMIT, "--base", "ports"), "BASE=ports is unknown; say sets or pkgbase"),
        (("build", *COMMIT, "--base", "pkgbase", "--sets", "/nowhere"), "SETS=/nowhere: no such"),
        (("build", *COMMIT, "--release", "new"), "RELEASE=new is no release"),
        (("build", *COMMIT, "--arch", "i386"), "ARCH=i386 is unknown; choose amd64 or aarch64"),
        (("build", *COMMIT, "--sets", "/nowhere"), "SETS=/nowhere: no such folder"),
        (("build", *COMMIT, "--pkgs", "some"), "PKGS=some: no such folder; give a URL or a"),
        (("build", *COMMIT, "--recipe", "/nowhere.toml"), "cannot read /nowhere.toml"),
        (("build", *COMMIT, "--profile", "gone"), "image/gone.toml: No such file"),
        (("build", *COMMIT, "--profile", "../x"), "'../x' is no profile"),
        (("build", *COMMIT, "--profile", "prune"), "image/prune.toml: remove: Extra inputs"),
        (("build", *COMMIT, "--profile", "installer", "--pkgs", "none"), "installer needs Python"),
        (("build", "--commit", "x", "--epoch", "1750000000"), "'x' is no commit"),
        (("build", "--commit", "ab" * 20, "--epoch", "7"), "7 is no time of a commit"),
        (("build", "--epoch", "soon"), "--epoch"),
        (("sizes", "/nowhere"), "no whole image in /nowhere; build one: make image"),
        (("verify", "/nowhere"), "no whole image in /nowhere"),
        (("verify",), "Missing"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
    told: str,
) -> None:
    assert run(monkeypatch, *argv) == cli.WRONG_USE
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("imagebuilder: ")
    assert told in line


def test_a_folder_without_sets_is_told_what_belongs_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sets = tmp_path / "sets"
    sets.mkdir()
    places = [
        *("--sets", str(sets), "--pkgs", "none", "--out", str(tmp_path / "out")),
        *("--cache", str(tmp_path / "cache"), "--lock", str(tmp_path / "lock")),
    ]
    key = tmp_path / "key.pem"
    status = run(monkeypatch, "build", *COMMIT, *places, "--key", str(key))
    assert status == cli.WRONG_USE
    assert f"KEY={key}: no such file" in capsys.readouterr().err
    from imagebuilder.disk.signature import generate_key
    from maculaos.host.entropy import SeededEntropy

    generate_key(key, SeededEntropy(1))
    assert run(monkeypatch, "build", *COMMIT, *places, "--key", str(key)) == cli.WRONG_USE
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        f"imagebuilder: MANIFEST, base.txz, kernel.txz not found in {sets};"
        " put the files of 15.1-RELEASE amd64 there, or name another folder"
    )


def test_help_lists_the_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "build", "--help") == cli.DONE
    assert "Exit codes" in capsys.readouterr().out
