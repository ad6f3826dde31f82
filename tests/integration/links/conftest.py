"""The realm whose nodes link up in these tests."""

from __future__ import annotations

import pytest

from credentials import RealmFolder, make_realm


@pytest.fixture(scope="session")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    """A realm with three nodes, made once for all; tests may add identities, and change none."""
    made = make_realm(tmp_path_factory.mktemp("links"))
    for name in ("n1", "n2", "n3"):
        made.issue(name)
    return made
