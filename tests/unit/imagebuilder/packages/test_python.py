"""Where Python distributions come from: each from one place, and the data of the image holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from imagebuilder.packages.accounts import parse_accounts
from imagebuilder.packages.catalogue import Package
from imagebuilder.packages.lockfile import Locked, on_freebsd, parse_lock
from imagebuilder.packages.python import divide, left_to_wheels, parse_settings
from imagebuilder.packages.selection import parse_selection
from imagebuilder.packages.version import Version
from maculaos.errors import UsageError

ROOT = Path(__file__).parents[4]
HEAD = 'version = "3.12"\nflavour = "py312"\n'


def locked(name: str, version: str = "1.0") -> Locked:
    return Locked(canonicalize_name(name), version, frozenset({"a" * 64}))


def native(**said: str) -> str:
    words = {"name": "Fast_C", "from": "package", "package": "py312-fast-c", "why": "C", **said}
    return HEAD + "[[native]]\n" + "".join(f'{key} = "{word}"\n' for key, word in words.items())


def test_every_locked_distribution_has_one_origin() -> None:
    settings = parse_settings((ROOT / "image/python.toml").read_text())
    lock = parse_lock((ROOT / "requirements/run.lock").read_text(), "run.lock")
    everything = on_freebsd(lock, settings.target.version)
    division = divide(everything, settings)
    native = {one.name for one in everything} - {one.name for one in division.pure}
    assert native == set(settings.natives), "image/python.toml names what the lock has not"
    assert len(division.built) + len(division.packages) == len(native)


def test_aioquic_is_built_and_never_older_than_its_floor() -> None:
    settings = parse_settings((ROOT / "image/python.toml").read_text())
    said = settings.natives["aioquic"]
    assert (said.origin, Version(said.minimum) >= Version("1.7.2")) == ("crossbuild", True)
    with pytest.raises(UsageError, match=r"aioquic is locked at 1\.7\.1, older than 1\.7\.2"):
        divide([locked("aioquic", "1.7.1")], settings)


def test_packages_of_the_image_are_read() -> None:
    selection = parse_selection((ROOT / "image/packages.toml").read_text())
    assert {"python312", "git-tiny", "age"} <= {want.what for want in selection.wanted}
    assert selection.repository_url(15, "amd64").endswith("FreeBSD:15:amd64/quarterly")
    assert all(want.why for want in selection.wanted)


def test_accounts_of_the_image_are_read() -> None:
    accounts = parse_accounts((ROOT / "image/accounts.toml").read_text())
    assert accounts.users["git_daemon"].gid == accounts.groups["git_daemon"].gid


def test_named_as_native_is_wanted_as_a_package() -> None:
    division = divide([locked("fast-c"), locked("pure")], parse_settings(native(minimum="2")))
    assert [one.name for one in division.pure] == ["pure"]
    assert [(want.what, want.minimum) for want in division.packages] == [("py312-fast-c", "2")]


def test_what_a_package_brings_is_not_brought_by_a_wheel() -> None:
    package = Package(
        name="py312-typing-extensions", version="4.12", origin="devel/x", sha256="a" * 64
    )
    wheels, notes = left_to_wheels(
        [locked("typing_extensions", "4.16"), locked("rich")], [package], "py312"
    )
    assert [one.name for one in wheels] == ["rich"]
    assert [(note.name, note.locked, note.version) for note in notes] == [
        ("typing-extensions", "4.16", "4.12")
    ]


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("3.12", "3"),
        native(package=""),
        native(**{"from": "crossbuild"}),
        native(**{"from": "magic"}),
        native(colour="blue"),
        native() + native().removeprefix(HEAD),
        native(folder="../outside"),
        "version = 3",
        "[[",
    ],
)
def test_settings_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"python\.toml|Python"):
        parse_settings(text)


@pytest.mark.parametrize(
    "text",
    [
        '[repository]\nurl = "x"\ntrusted = ["abc"]\n',
        '[repository]\nurl = "x"\n',
        '[repository]\nurl = "x"\ntrusted = []\n[[package]]\nname = "a"\n',
        '[repository]\nurl = "x"\ntrusted = []\n' + '[[package]]\nname = "a"\nwhy = "b"\n' * 2,
    ],
)
def test_selection_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_selection(text)
