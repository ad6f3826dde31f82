"""Releases from folders and mirrors: checked, cached, and without a network if need be."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import smallrelease
from imagebuilder.release.download import Downloader
from imagebuilder.release.lock import read_pins
from imagebuilder.release.source import Release, Wanted, default_url, obtain, sha256_of
from imagebuilder.release.transport import HttpTransport
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

WANTED = Wanted("15.1-RELEASE", "amd64")
NOBODY = "http://127.0.0.1:1/releases"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smallrelease.make(tmp_path_factory.mktemp("sets"))


def take(place: str, work: Path) -> Release:
    downloader = Downloader(HttpTransport(5), FakeClock(), attempts=2)
    lock = work / "release.lock"
    return obtain(WANTED, place, cache=work / "cache", lock=lock, downloader=downloader)


def serve(shelf: Any, sets: Path) -> str:
    shelf.files = {f"/r/{file.name}": file.read_bytes() for file in sets.iterdir()}
    return f"{shelf.url}/r"


def test_a_folder_is_read_in_place_and_pinned(sets: Path, tmp_path: Path) -> None:
    release = take(str(sets), tmp_path)
    assert release.archives == {"base": sets / "base.txz", "kernel": sets / "kernel.txz"}
    pins = read_pins(tmp_path / "release.lock")
    assert pins == {("15.1-RELEASE", "amd64"): sha256_of(sets / "MANIFEST")}
    assert not (tmp_path / "cache").exists()


def test_a_folder_says_what_it_lacks(tmp_path: Path, sets: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(sets, folder)
    (folder / "kernel.txz").unlink()
    with pytest.raises(UsageError, match=r"kernel\.txz not found in .*half; put the files"):
        take(str(folder), tmp_path)


def test_a_damaged_set_is_refused(tmp_path: Path, sets: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(sets, folder)
    with (folder / "base.txz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UsageError, match=r"base\.txz is damaged"):
        take(str(folder), tmp_path)


def test_a_mirror_fills_the_cache_once(shelf: Any, tmp_path: Path, sets: Path) -> None:
    place = serve(shelf, sets)
    first = take(place, tmp_path)
    assert sorted(path for path, _ in shelf.asked) == [
        "/r/MANIFEST",
        "/r/base.txz",
        "/r/kernel.txz",
    ]
    assert sha256_of(first.archives["base"]) == sha256_of(sets / "base.txz")
    assert take(NOBODY, tmp_path) == first


def test_another_manifest_than_the_pinned_one_is_refused(
    shelf: Any, tmp_path: Path, sets: Path
) -> None:
    place = serve(shelf, sets)
    take(place, tmp_path)
    shutil.rmtree(tmp_path / "cache")
    shelf.files["/r/MANIFEST"] = shelf.files["/r/MANIFEST"].replace(b"(small)", b"(large)")
    with pytest.raises(UsageError, match=r"MANIFEST of 15.1-RELEASE amd64 has changed"):
        take(place, tmp_path)


def test_nonsense_is_never_pinned(shelf: Any, tmp_path: Path) -> None:
    shelf.files["/r/MANIFEST"] = b"<html>Welcome to the hotel</html>"
    with pytest.raises(UsageError, match="MANIFEST: line 1"):
        take(f"{shelf.url}/r", tmp_path)
    assert not (tmp_path / "release.lock").exists()


def test_without_network_the_error_says_which_files_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        take(NOBODY, tmp_path)
    folder = tmp_path / "cache" / "15.1-RELEASE-amd64"
    assert caught.value.hint == (
        f"without a network, put MANIFEST, base.txz, kernel.txz of that release into {folder}"
    )


def test_files_that_people_put_into_the_cache_are_enough(tmp_path: Path, sets: Path) -> None:
    folder = tmp_path / "cache" / "15.1-RELEASE-amd64"
    shutil.copytree(sets, folder)
    assert take(NOBODY, tmp_path).archives["kernel"] == folder / "kernel.txz"


def test_only_what_is_missing_is_asked_of_people(tmp_path: Path, sets: Path) -> None:
    folder = tmp_path / "cache" / "15.1-RELEASE-amd64"
    shutil.copytree(sets, folder)
    (folder / "kernel.txz").unlink()
    with pytest.raises(UsageError, match=r"put kernel\.txz of that release into"):
        take(NOBODY, tmp_path)


def test_a_damaged_file_in_the_cache_is_fetched_again(
    shelf: Any, tmp_path: Path, sets: Path
) -> None:
    place = serve(shelf, sets)
    archive = take(place, tmp_path).archives["base"]
    archive.write_bytes(b"bit rot")
    assert sha256_of(take(place, tmp_path).archives["base"]) == sha256_of(sets / "base.txz")


def test_each_machine_has_its_place_on_the_projects_server() -> None:
    assert default_url(WANTED).endswith("/amd64/amd64/15.1-RELEASE")
    assert default_url(Wanted("15.1-RELEASE", "aarch64")).endswith("/arm64/aarch64/15.1-RELEASE")
    with pytest.raises(UsageError, match="choose amd64 or aarch64"):
        default_url(Wanted("15.1-RELEASE", "vax"))
