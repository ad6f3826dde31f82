"""What a jail sees of a system, and what is hidden in that: looked up in folders made up here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jails.namespaces.bwrap import Bind, Link
from jails.namespaces.system import hidden_of, system_of
from jails.spec import Root, RootKind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    for name, mode in (("etc/open", 0o755), ("etc/closed", 0o700), ("etc/half", 0o751)):
        (base / name).mkdir(parents=True)
        (base / name / "public").touch(0o644)
        (base / name / "secret").touch(0o640)
        (base / name).chmod(mode)
    return base


def thin(base: Path) -> Root:
    return Root(kind=RootKind.THIN, base=str(base))


def hidden(base: Path, *private: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return hidden_of(thin(base), private, system_of(thin(base), names_hosts=False))


def test_what_not_everybody_may_read_is_hidden(base: Path) -> None:
    assert hidden(base) == (("/etc/open/secret",), ("/etc/closed", "/etc/half"))


def test_known_secrets_are_hidden_whoever_may_read_them(base: Path) -> None:
    (base / "etc/ssh").mkdir(0o755)
    (base / "etc/shadow").touch(0o644)
    files, folders = hidden(base)
    assert "/etc/shadow" in files
    assert "/etc/ssh" in folders


def test_a_link_hides_nothing_and_is_not_followed(base: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(0o700)
    (base / "etc/link").symlink_to(tmp_path / "elsewhere")
    (base / "etc/broken").symlink_to("nowhere")
    assert "/etc/link" not in hidden(base)[1]
    assert "/etc/broken" not in hidden(base)[0]


def test_private_folders_are_hidden_where_they_are_seen(base: Path, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(base)
    private = (tmp_path / "short/etc/open", tmp_path, base / "nowhere")
    files, folders = hidden(base, *private)
    assert folders == ("/etc/closed", "/etc/half", "/etc/open")
    assert files == ()


def test_nothing_is_hidden_within_what_is_hidden(base: Path) -> None:
    (base / "etc/closed/deeper").mkdir()
    private = (base / "etc/closed/deeper", base / "etc/open")
    assert hidden(base, *private) == ((), ("/etc/closed", "/etc/half", "/etc/open"))


def test_a_thick_root_is_the_jails_own_but_for_what_is_private(base: Path) -> None:
    root = Root(kind=RootKind.THICK, base=str(base))
    system = system_of(root, names_hosts=False)
    assert system == (Bind(str(base), "/", is_writable=True),)
    assert hidden_of(root, (), system) == ((), ())
    assert hidden_of(root, (base / "etc/open",), system) == ((), ("/etc/open",))


def test_links_of_the_base_stay_links_and_what_a_jail_has_of_its_own_is_left_out(
    base: Path,
) -> None:
    (base / "usr/bin").mkdir(parents=True)
    (base / "bin").symlink_to("usr/bin")
    (base / "var").mkdir()
    assert system_of(thin(base), names_hosts=False) == (
        Link("usr/bin", "/bin"),
        Bind(str(base / "etc"), "/etc"),
        Bind(str(base / "usr"), "/usr"),
    )
