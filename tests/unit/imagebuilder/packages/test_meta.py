"""meta.conf: names of catalogues, with pkg's defaults, and never a path."""

from __future__ import annotations

import pytest

from imagebuilder.packages.meta import RepositoryMeta, parse_meta
from maculaos.errors import UsageError
from smallrepository import META_CONF


def test_what_pkg_repo_writes_is_read() -> None:
    assert parse_meta(META_CONF) == RepositoryMeta()


def test_defaults_are_those_of_pkg() -> None:
    meta = parse_meta("version = 2")
    assert (meta.data, meta.data_archive, meta.packing) == ("data", "data", "tzst")
    assert (meta.manifests, meta.manifests_archive) == ("packagesite.yaml", "packagesite")


def test_other_names_are_taken() -> None:
    meta = parse_meta('version = 2; data_archive = "other"; packing_format = txz')
    assert (meta.data_archive, meta.packing) == ("other", "txz")


@pytest.mark.parametrize(
    "text",
    [
        "version = 1",
        'version = "2"',
        "packing_format = tzst",
        "version = 2; packing_format = rar",
        'version = 2; data = "../data"',
        'version = 2; data = "a/b"',
        'version = 2; data = ".hidden"',
        "version = 2; data = [data]",
    ],
)
def test_other_versions_and_stray_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^meta\.conf: "):
        parse_meta(text)
