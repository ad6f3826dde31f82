"""A package: what its manifest vouches for is taken, everything else is refused."""

from __future__ import annotations

import hashlib
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.entries import Entry, Kind
from imagebuilder.packages.manifest import BadPackage, parse_manifest, relative_path
from imagebuilder.packages.package import Unpacked, read_package
from imagebuilder.packages.store import ContentStore
from smallrepository import SmallPackage, tar

if TYPE_CHECKING:
    from pathlib import Path

TOOL = "usr/local/bin/tool"


def tool(**more: Any) -> SmallPackage:
    return SmallPackage(name="tool", files={TOOL: b"#!/bin/sh\n"}, modes={TOOL: 0o755}, **more)


def read(package: SmallPackage, folder: Path, name: str = "") -> Unpacked:
    return read_package(package.write(folder / "p.pkg"), ContentStore(folder / "store"), name)


def read_members(members: list[tuple[tarfile.TarInfo, bytes]], folder: Path) -> Unpacked:
    path = folder / "p.pkg"
    path.write_bytes(zstandard.compress(tar(members)))
    return read_package(path, ContentStore(folder / "store"))


def by_path(unpacked: Unpacked) -> dict[str, Entry]:
    return {entry.path: entry for entry in unpacked.entries}


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.uname, info.gname = "root", "wheel"
    return info


def test_file_keeps_bytes_mode_and_owner(tmp_path: Path) -> None:
    package = tool(owners={TOOL: ("git_daemon", "daemon")})
    package.modes[TOOL] = 0o4555
    entry = by_path(read(package, tmp_path))[TOOL]
    assert (entry.kind, entry.mode) == (Kind.FILE, 0o4555)
    assert (entry.owner, entry.group) == ("git_daemon", "daemon")
    assert entry.source is not None
    assert entry.source.read_bytes() == b"#!/bin/sh\n"


def test_links_hard_links_and_folders_are_told(tmp_path: Path) -> None:
    package = tool(
        links={"usr/local/bin/t": "tool", "usr/local/bin/abs": "/usr/local/bin/tool"},
        hard_links={"usr/local/bin/twin": TOOL},
        folders={"var/db/tool": ("daemon", "daemon", 0o750)},
    )
    found = by_path(read(package, tmp_path))
    assert found["usr/local/bin/t"].target == "tool"
    assert found["usr/local/bin/abs"].target == "/usr/local/bin/tool"
    twin = found["usr/local/bin/twin"]
    assert (twin.same_as, twin.mode, twin.source) == (TOOL, 0o755, found[TOOL].source)
    assert found["var/db/tool"] == Entry(
        path="var/db/tool", kind=Kind.FOLDER, mode=0o750, owner="daemon", group="daemon"
    )


def test_checksum_of_an_absolute_link_is_also_taken_as_pkg_writes_it(tmp_path: Path) -> None:
    package = tool(links={"usr/local/abs": "/a/b"})
    manifest = package.manifest()
    odd = hashlib.sha256(b"a/b\0").hexdigest()
    manifest["files"]["/usr/local/abs"]["sum"] = f"1${odd}"
    package.more["files"] = manifest["files"]
    assert by_path(read(package, tmp_path))["usr/local/abs"].target == "/a/b"


def test_old_manifest_with_bare_sums_is_read(tmp_path: Path) -> None:
    package = tool(links={"usr/local/l": "tool"})
    package.more["files"] = {
        f"/{TOOL}": hashlib.sha256(b"#!/bin/sh\n").hexdigest(),
        "/usr/local/l": "-",
    }
    assert set(by_path(read(package, tmp_path))) == {TOOL, "usr/local/l"}


def test_encoded_paths_are_decoded(tmp_path: Path) -> None:
    package = SmallPackage(name="p", files={"usr/local/50% é": b"x"})
    assert set(by_path(read(package, tmp_path))) == {"usr/local/50% é"}


def test_flags_of_the_archive_are_kept(tmp_path: Path) -> None:
    members = tool().members()
    members[2][0].pax_headers = {"SCHILY.fflags": "uarch,schg"}
    assert by_path(read_members(members, tmp_path))[TOOL].flags == ("schg", "uarch")


def test_the_root_among_the_folders_is_the_images_own(tmp_path: Path) -> None:
    package = tool(folders={"": ("root", "wheel", 0o755), ".": ("root", "wheel", 0o755)})
    assert set(by_path(read(package, tmp_path))) == {TOOL}


def test_scripts_and_accounts_are_reported_and_nothing_is_run(tmp_path: Path) -> None:
    more = {
        "scripts": {"post-install": "echo %68i"},
        "lua_scripts": {"pre-install": ["print(1)"]},
        "users": ["git_daemon"],
        "groups": [{"git_daemon": "git_daemon:*:964:"}],
    }
    manifest = read(tool(more=more), tmp_path).manifest
    assert manifest.scripts == {"lua pre-install": "print(1)", "post-install": "echo hi"}
    assert (manifest.users, manifest.groups) == (("git_daemon",), ("git_daemon",))


def test_changed_byte_is_refused(tmp_path: Path) -> None:
    members = tool().members()
    members[2] = (members[2][0], b"#!/bin/sH\n")
    with pytest.raises(BadPackage, match="tool has other bytes"):
        read_members(members, tmp_path)


def test_file_that_no_manifest_lists_is_refused(tmp_path: Path) -> None:
    members = [*tool().members(), (member("/usr/local/bin/extra"), b"x")]
    with pytest.raises(BadPackage, match="extra is not in its manifest"):
        read_members(members, tmp_path)


def test_listed_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="tool is listed and not there"):
        read_members(tool().members()[:2], tmp_path)


def test_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    members = tool().members()
    with pytest.raises(BadPackage, match="comes twice"):
        read_members([*members, members[2]], tmp_path)


def test_file_without_checksum_is_refused(tmp_path: Path) -> None:
    package = tool(more={"files": {f"/{TOOL}": "-"}})
    with pytest.raises(BadPackage, match="no checksum"):
        read(package, tmp_path)


def test_other_kind_of_checksum_is_refused_by_number(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="checksum of kind 2"):
        read(tool(more={"files": {f"/{TOOL}": "2$abc"}}), tmp_path)


def test_link_that_leads_elsewhere_than_said_is_refused(tmp_path: Path) -> None:
    members = tool(links={"usr/local/l": "tool"}).members()
    members[3][0].linkname = "/etc/passwd"
    with pytest.raises(BadPackage, match="links elsewhere"):
        read_members(members, tmp_path)


def test_hard_link_out_of_the_package_is_refused(tmp_path: Path) -> None:
    members = tool(hard_links={"usr/local/h": TOOL}).members()
    members[3][0].linkname = "/etc/master.passwd"
    with pytest.raises(BadPackage, match="hard link to no file before it"):
        read_members(members, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_is_refused(kind: bytes, tmp_path: Path) -> None:
    package = tool(more={"files": {"/dev/x": "-"}})
    with pytest.raises(BadPackage, match="neither file, folder nor link"):
        read_members([*package.members()[:2], (member("/dev/x", kind), b"")], tmp_path)


@pytest.mark.parametrize("name", ["/../etc/x", "/a/./b", "//", "/a\nb", "/" + "a" * 1025])
def test_path_that_strays_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="no path that a package may have"):
        read_members([*tool().members(), (member(name), b"x")], tmp_path)


def test_owner_without_a_name_is_refused_unless_root(tmp_path: Path) -> None:
    members = tool().members()
    info = members[2][0]
    info.uname, info.gname, info.uid, info.gid = "", "", 0, 0
    manifest = tool().manifest()
    manifest["files"][f"/{TOOL}"] = manifest["files"][f"/{TOOL}"]["sum"]
    members[:2] = tool(more={"files": manifest["files"]}).members()[:2]
    entry = by_path(read_members(members, tmp_path))[TOOL]
    assert (entry.owner, entry.group) == ("root", "wheel")
    info.uid = 1001
    with pytest.raises(BadPackage, match="number 1001"):
        read_members(members, tmp_path)


def test_other_name_than_the_catalogue_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="it is tool, the catalogue says other"):
        read(tool(), tmp_path, "other")


def test_files_before_the_manifest_are_refused(tmp_path: Path) -> None:
    members = tool().members()
    with pytest.raises(BadPackage, match=r"no \+MANIFEST before"):
        read_members([members[2], *members[:2]], tmp_path)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_manifest_or_refused(content: bytes) -> None:
    with pytest.raises(BadPackage):
        parse_manifest(content, "p")


@given(st.text(max_size=40))
def test_relative_path_stays_below_the_root(text: str) -> None:
    try:
        path = relative_path(text, "p")
    except BadPackage:
        return
    assert path
    assert not path.startswith("/")
    assert ".." not in path.split("/")
