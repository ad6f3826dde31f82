"""From a signed repository and a folder of wheels to what goes into an image, and its SBOM."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from imagebuilder.entries import Kind
from imagebuilder.packages import sbom
from imagebuilder.packages.accounts import add_groups, add_users, parse_accounts
from imagebuilder.packages.fingerprints import trust_of
from imagebuilder.packages.installation import Conflict
from imagebuilder.packages.lockfile import Locked
from imagebuilder.packages.provision import Provision, Shelf, provision
from imagebuilder.packages.python import Division, divide, parse_settings
from imagebuilder.packages.repository import FolderFetcher, open_repository
from imagebuilder.packages.solve import Wanted
from imagebuilder.packages.store import ContentStore
from imagebuilder.packages.wheel import PythonTarget, read_wheel
from imagebuilder.packages.wheelhouse import make_own
from maculaos.host.commands import SystemRunner
from smallrepository import SmallKey, SmallPackage, SmallRepository

ROOT = Path(__file__).parents[3]
SITE = "usr/local/lib/python3.12/site-packages"
PYTHON_TOML = """
version = "3.12"
flavour = "py312"
[[native]]
name = "fast"
from = "package"
package = "py312-fast"
minimum = "2"
why = "C"
"""
PACKAGES = [
    SmallPackage(
        name="python312",
        version="3.12.9_1",
        origin="lang/python312",
        files={"usr/local/bin/python3.12": b"\x7fELF", "usr/local/lib/libpython3.12.so.1.0": b"l"},
        modes={"usr/local/bin/python3.12": 0o755},
        links={"usr/local/bin/python3": "python3.12"},
        more={"shlibs_required": ["libc.so.7"], "licenses": ["PSFL"], "licenselogic": "single"},
    ),
    SmallPackage(
        name="py312-fast",
        version="2.1",
        origin="devel/py-fast@py312",
        files={f"{SITE}/fast.so": b"fast"},
        deps={"python312": "lang/python312", "py312-shared": "devel/py-shared@py312"},
    ),
    SmallPackage(
        name="py312-shared",
        origin="devel/py-shared@py312",
        files={f"{SITE}/shared.py": b"s = 1\n"},
        deps={"python312": "lang/python312"},
    ),
    SmallPackage(
        name="git-tiny",
        version="2.51.0",
        origin="devel/git",
        files={"usr/local/bin/git": b"git"},
        folders={"var/db/git": ("git_daemon", "git_daemon", 0o750)},
        more={
            "users": ["git_daemon"],
            "groups": ["git_daemon"],
            "scripts": {"post-install": "echo done", "post-deinstall": "echo gone"},
        },
    ),
    SmallPackage(name="unwanted", files={"usr/local/bin/unwanted": b"u"}),
]


def wheel(folder: Path, name: str) -> Locked:
    """A small pure wheel in ``folder``, as the lock names it."""
    info = f"{name}-1.0.dist-info"
    files = {f"{name}.py": b"p = 1\n", f"{info}/WHEEL": b"Wheel-Version: 1.0\n"}
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        lines = []
        for member, content in files.items():
            # Of one and the same time, whenever it is made.
            opened.writestr(zipfile.ZipInfo(member), content)
            lines.append(f"{member},sha256={_base64(content)},{len(content)}\n")
        opened.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join([*lines, f"{info}/RECORD,,\n"]))
    sums = frozenset({hashlib.sha256(path.read_bytes()).hexdigest()})
    return Locked(canonicalize_name(name), "1.0", sums)


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def locked(name: str) -> Locked:
    return Locked(canonicalize_name(name), "1.0", frozenset({"a" * 64}))


def provide(folder: Path, packages: list[SmallPackage]) -> Provision:
    """Everything in ``folder``: repository, wheels, store; and what comes of it."""
    key = SmallKey()
    repository = folder / "repository"
    repository.mkdir()
    SmallRepository(repository, packages).write(key)
    opened = open_repository(FolderFetcher(repository), trust_of([key.fingerprint]))
    settings = parse_settings(PYTHON_TOML)
    lock = (locked("fast"), wheel(folder / "wheels", "pure"), locked("shared"))
    division: Division = divide(lock, settings)
    shelf = Shelf(opened, "https://pkg.example.org", folder / "wheels", ContentStore(folder / "s"))
    return provision(shelf, [Wanted("python312"), Wanted("git-tiny")], division, settings, ())


@pytest.fixture(scope="module")
def provided(tmp_path_factory: pytest.TempPathFactory) -> Provision:
    return provide(tmp_path_factory.mktemp("provision"), PACKAGES)


def test_what_is_wanted_comes_with_what_it_needs_and_nothing_else(provided: Provision) -> None:
    names = [package.name for package in provided.solution.packages]
    assert names == ["git-tiny", "python312", "py312-shared", "py312-fast"]
    assert provided.solution.libraries == {"libc.so.7": ("python312",)}


def test_entries_of_packages_and_wheels_lie_side_by_side(provided: Provision) -> None:
    found = {entry.path: entry for entry in provided.installation.entries}
    assert found["usr/local/bin/python3.12"].mode == 0o755
    assert found["usr/local/bin/python3"].kind is Kind.SYMLINK
    assert {f"{SITE}/pure.py", f"{SITE}/fast.so", f"{SITE}/shared.py"} <= found.keys()
    assert found["var/db/git"].owner == "git_daemon"
    assert not any("unwanted" in path for path in found)


def test_what_a_package_brings_needs_no_wheel_and_is_told(provided: Provision) -> None:
    (note,) = provided.brought
    assert (note.name, note.package, note.locked) == ("shared", "py312-shared", "1.0")


def test_wanted_accounts_are_added_from_the_image_data(provided: Provision) -> None:
    known = parse_accounts((ROOT / "image/accounts.toml").read_text())
    base = "root:*:0:0::0:0:Charlie &:/root:/bin/sh\n"
    done = provided.installation
    assert ":964:964:" in add_users(base, done.users, known)
    assert "git_daemon:*:964:" in add_groups("wheel:*:0:root\n", done.groups, known)


def test_scripts_are_told_and_never_run(provided: Provision) -> None:
    (script,) = provided.installation.scripts
    assert (script.package, script.when, script.text) == (
        "git-tiny-2.51.0",
        "post-install",
        "echo done",
    )


def test_bill_of_materials_lists_everything_and_is_the_same_twice(
    provided: Provision, tmp_path: Path
) -> None:
    image = sbom.Image(name="maculaos", version="0.1.0", created_s=1_800_000_000)
    said = json.loads(sbom.document(image, provided.components))
    names = {package["name"] for package in said["packages"]}
    assert names == {"maculaos", "git-tiny", "python312", "py312-shared", "py312-fast", "pure"}
    again = provide(tmp_path, PACKAGES)
    assert sbom.document(image, again.components) == sbom.document(image, provided.components)
    paths = [(entry.path, entry.mode) for entry in again.installation.entries]
    assert paths == [(entry.path, entry.mode) for entry in provided.installation.entries]


def test_package_and_wheel_with_one_file_are_both_named(tmp_path: Path) -> None:
    clash = SmallPackage(name="git-tiny", files={f"{SITE}/pure.py": b"x"})
    with pytest.raises(Conflict, match=r"pure\.py \(git-tiny-1\.0 and pure-1\.0\)"):
        provide(tmp_path, [*PACKAGES[:3], clash])


def test_our_own_wheel_brings_both_commands(tmp_path: Path) -> None:
    made = make_own(ROOT, tmp_path / "wheels", SystemRunner())
    unpacked = read_wheel(made, ContentStore(tmp_path / "store"), PythonTarget("3.12"))
    assert unpacked.commands == ("macula", "reconciler")
    paths = {entry.path for entry in unpacked.entries}
    assert {f"{SITE}/maculaos/__init__.py", f"{SITE}/jails/__init__.py"} <= paths
    assert not any("imagebuilder/" in path for path in paths)
