"""The book of ports survives restarts, forgets what is gone, and says what is wrong with it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from jails.spec import JailFacts, JailState
from maculaos.errors import UsageError
from reconciler.ports.book import PortBook, table_of
from reconciler.ports.spec import PortSpec
from reconciler.specs.desired import Desired
from reconciler.specs.spec import AppSpec, RealmSpec

if TYPE_CHECKING:
    from pathlib import Path

SPAN = range(20_000, 20_100)
REALM = RealmSpec(version=1, name="demo")


def app(name: str = "shop", *ports: str, instances: int = 1) -> AppSpec:
    made = tuple(PortSpec(name=port, port=8080 + n) for n, port in enumerate(ports or ("web",)))
    return AppSpec(version=1, name=name, node="n1", command=("x",), ports=made, instances=instances)


def desired(*apps: AppSpec) -> Desired:
    return Desired.of(REALM, (), apps)


def test_next_reconciler_finds_the_same_ports(tmp_path: Path) -> None:
    shop = app(instances=3)
    book = PortBook(tmp_path, SPAN)
    made = book.allot(desired(shop), [shop], {})
    book.keep(made)
    assert PortBook(tmp_path, range(30_000, 30_100)).allot(desired(shop), [shop], {}) == made
    assert (tmp_path / "ports.json").stat().st_mode & 0o777 == 0o600


def test_book_that_was_lost_is_written_again_as_it_was(tmp_path: Path) -> None:
    shop = app()
    made = PortBook(tmp_path, SPAN).allot(desired(shop), [shop], {})
    with socket.create_server(("127.0.0.1", made["app-shop", "web"])):
        # Its own instance listens there.
        found = {"app-shop": JailFacts(name="app-shop", state=JailState.RUNNING)}
        again = PortBook(tmp_path, SPAN).allot(desired(shop), [shop], found)
        assert again["app-shop", "web"] == made["app-shop", "web"]
        # A stranger does.
        other = PortBook(tmp_path, SPAN).allot(desired(shop), [shop], {})
        assert other["app-shop", "web"] != made["app-shop", "web"]


def test_app_that_is_gone_gives_its_ports_back(tmp_path: Path) -> None:
    shop, store = app("shop"), app("store")
    book = PortBook(tmp_path, SPAN)
    book.keep(book.allot(desired(shop, store), [shop, store], {}))
    book.keep(book.allot(desired(shop), [shop], {}))
    known = table_of(PortBook(tmp_path, SPAN).allot(desired(shop), [shop], {}))
    assert all(jail.endswith("-shop") for jail in known)


def test_versions_of_an_app_share_its_ports_by_name(tmp_path: Path) -> None:
    old, new = app("shop", "web", "old"), app("shop", "web", "new")
    book = PortBook(tmp_path, SPAN)
    before = table_of(book.allot(desired(old), [old], {}))["app-shop"]
    book.keep(book.allot(desired(old), [old], {}))
    both = table_of(book.allot(desired(new), [old, new], {}))["app-shop"]
    assert set(both) == {"web", "old", "new"}
    assert both["web"] == before["web"]


def test_port_that_the_machine_listens_at_is_nobodys_own(tmp_path: Path) -> None:
    listened = tuple(PortSpec(name=f"p{n}", port=20_000 + n) for n in range(8))
    shop = AppSpec(version=1, name="shop", node="n1", command=("x",), ports=listened)
    made = PortBook(tmp_path, range(20_000, 20_040)).allot(desired(shop), [shop], {})
    assert not set(made.values()) & {each.port for each in listened}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"ports": {"app-shop": {"web": "x"}}}',
        b'{"ports": {"app-shop": {"web": 70000}}}',
        b'{"ports": {"app-shop": {"web": 20001, "dns": 20001}}}',
    ],
)
def test_book_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ports.json").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        PortBook(tmp_path, SPAN).allot(desired(app()), [app()], {})


def test_app_that_is_renamed_takes_its_ports_along(tmp_path: Path) -> None:
    shop, store = app("shop"), app("store")
    book = PortBook(tmp_path, SPAN)
    before = book.allot(desired(shop), [shop], {})
    book.keep(before)
    after = book.allot(desired(store), [store], {}, {"shop": "store"})
    assert after["app-store", "web"] == before["app-shop", "web"]
    assert after["g1-store", "web"] == before["g1-shop", "web"]
