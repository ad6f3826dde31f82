"""A repository: believed as a whole or not at all, whatever lies in its folder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from imagebuilder.packages.archive import BadArchive
from imagebuilder.packages.catalogue import BadCatalogue
from imagebuilder.packages.fingerprints import UntrustedRepository, trust_of
from imagebuilder.packages.repository import FolderFetcher, NotThere, open_repository
from imagebuilder.packages.store import ContentStore
from maculaos.errors import UsageError
from smallrepository import META_CONF, SmallKey, SmallPackage, SmallRepository

if TYPE_CHECKING:
    from pathlib import Path

TOOL = SmallPackage(name="tool", files={"usr/local/bin/tool": b"x"})


@pytest.fixture(scope="module")
def key() -> SmallKey:
    return SmallKey()


@pytest.mark.parametrize("form", ["data", "packagesite"])
def test_signed_catalogue_of_either_form_is_believed(
    form: str, key: SmallKey, tmp_path: Path
) -> None:
    SmallRepository(tmp_path, [TOOL]).write(key, form=form)
    found = open_repository(FolderFetcher(tmp_path), trust_of([key.fingerprint]))
    assert list(found.catalogue.by_name) == ["tool"]
    assert found.vouched_by == key.fingerprint


def test_newer_form_counts_where_both_are(key: SmallKey, tmp_path: Path) -> None:
    SmallRepository(tmp_path, [TOOL]).write(key, form="packagesite")
    SmallRepository(tmp_path, []).write(key)
    assert not len(open_repository(FolderFetcher(tmp_path), None).catalogue)


def test_old_name_of_an_archive_is_found(key: SmallKey, tmp_path: Path) -> None:
    SmallRepository(tmp_path, [TOOL]).write(key)
    (tmp_path / "data.pkg").rename(tmp_path / "data.tzst")
    assert len(open_repository(FolderFetcher(tmp_path), trust_of([key.fingerprint])).catalogue) == 1


def test_catalogue_changed_after_signing_is_refused(key: SmallKey, tmp_path: Path) -> None:
    class Liar(SmallKey):
        def __init__(self) -> None:
            self.key = key.key

        def sign(self, content: bytes) -> bytes:
            return super().sign(content + b" ")

    SmallRepository(tmp_path, [TOOL]).write(Liar())
    with pytest.raises(UntrustedRepository, match="is wrong"):
        open_repository(FolderFetcher(tmp_path), trust_of([key.fingerprint]))


def test_unsigned_catalogue_is_only_taken_when_that_is_said(tmp_path: Path) -> None:
    SmallRepository(tmp_path, [TOOL]).write()
    assert open_repository(FolderFetcher(tmp_path), None).vouched_by == ""
    with pytest.raises(UntrustedRepository, match="not signed"):
        open_repository(FolderFetcher(tmp_path), trust_of(["a" * 64]))


def test_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match=r"no file meta\.conf; put the whole repository there"):
        open_repository(FolderFetcher(tmp_path), None)
    (tmp_path / "meta.conf").write_text(META_CONF)
    with pytest.raises(NotThere, match=r"neither data\.pkg nor packagesite\.pkg"):
        open_repository(FolderFetcher(tmp_path), None)


def test_archive_without_catalogue_is_refused(tmp_path: Path) -> None:
    repository = SmallRepository(tmp_path, [])
    repository.write()
    repository.write_catalogue("data.pkg", "other", b"{}")
    with pytest.raises(BadCatalogue, match="holds no data"):
        open_repository(FolderFetcher(tmp_path), None)


def test_page_of_an_error_is_no_archive(tmp_path: Path) -> None:
    SmallRepository(tmp_path, []).write()
    (tmp_path / "data.pkg").write_bytes(b"<html>" * 200)
    with pytest.raises(BadArchive):
        open_repository(FolderFetcher(tmp_path), None)


def test_package_that_was_changed_is_refused(key: SmallKey, tmp_path: Path) -> None:
    SmallRepository(tmp_path, [TOOL]).write(key)
    found = open_repository(FolderFetcher(tmp_path), trust_of([key.fingerprint]))
    package = found.catalogue.by_name["tool"]
    store = ContentStore(tmp_path / "store")
    assert found.unpack(package, store).label == "tool-1.0"
    file = tmp_path / package.location
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match="SHA-256"):
        found.unpack(package, store)
    file.write_bytes(content + b"x")
    with pytest.raises(UsageError, match="bytes"):
        found.unpack(package, store)


def test_fetcher_stays_in_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "repository"
    (inside / "All").mkdir(parents=True)
    (inside / "Hashed").mkdir()
    (inside / "Hashed/x~1.pkg").write_bytes(b"x")
    (inside / "All/x.pkg").symlink_to("../Hashed/x~1.pkg")
    (tmp_path / "secret").write_bytes(b"s")
    (inside / "All/out.pkg").symlink_to(tmp_path / "secret")
    fetcher = FolderFetcher(inside)
    assert fetcher.fetch("All/x.pkg", hashlib.sha256(b"x").hexdigest(), 1).read_bytes() == b"x"
    with pytest.raises(NotThere):
        fetcher.fetch("All/out.pkg", "", 10)
    with pytest.raises(UsageError, match="no path"):
        fetcher.fetch("../secret", "", 10)
    with pytest.raises(UsageError, match="at most 0"):
        fetcher.fetch("All/x.pkg", "", 0)
