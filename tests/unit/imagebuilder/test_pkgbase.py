"""Base packages from a server: believed, pinned, kept, and asked for once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import imageyard
import smallpkgbase
from imagebuilder.builder import Site
from imagebuilder.disk.signature import generate_key, load_signing_key
from imagebuilder.ledger import Ledger
from imagebuilder.order import Checkout, Order, Wishes, settle
from imagebuilder.packages.fingerprints import UntrustedRepository
from imagebuilder.packages.store import ContentStore
from imagebuilder.plan import Step
from imagebuilder.release.download import Downloader
from imagebuilder.release.transport import Answer, TransportError
from imagebuilder.steps.pkgbase import are_packages_there, fetch_base, place_of_packages
from imagebuilder.steps.workshop import Workshop, read_json
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock
from maculaos.host.commands import ScriptedRunner
from maculaos.host.entropy import SeededEntropy
from smallrepository import SmallKey

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://base.invalid/base_release_1"
KEY = SmallKey()


def _pass_over(done: int, total: int) -> None:
    del done, total


@dataclass
class Town:
    """A server with a signed repository of base packages, and a checkout that trusts its key."""

    folder: Path
    is_silent: bool = False
    asked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def served(self) -> Path:
        """What the server has."""
        return self.folder / "served"

    @contextmanager
    def get(self, url: str, offset: int) -> Iterator[Answer]:
        """See ``Transport.get``."""
        path = url.removeprefix(f"{URL}/")
        self.asked.append(path)
        if self.is_silent:
            raise TransportError(f"{url}: no route")
        file = self.served / path
        if not file.is_file():
            raise TransportError(f"{url}: 404 Not Found", is_final=True)
        content = file.read_bytes()
        yield Answer(offset, len(content), iter([content[offset:]]))

    def order(self, *, refresh: bool = False) -> Order:
        """An order of the repository of this server."""
        wishes = Wishes(
            base="pkgbase",
            packages="none",
            sets=URL,
            cache=str(self.folder / "cache"),
            lock=str(self.folder / "release.lock"),
            refresh=refresh,
        )
        return settle(wishes, Checkout(folder=self.folder / "checkout"), imageyard.REVISION)

    def fetch(self, *, refresh: bool = False) -> Path:
        """Fetch the base packages; the folder with what the step made."""
        self.asked.clear()
        made = self.folder / f"made{len(list(self.folder.glob('made*')))}"
        made.mkdir()
        key = self.folder / "key.pem"
        if not key.exists():
            generate_key(key, SeededEntropy(1))
        workshop = Workshop(
            order=self.order(refresh=refresh),
            store=ContentStore(self.folder / "store"),
            downloader=Downloader(self, FakeClock()),
            key=load_signing_key(key),
        )
        site = Site(
            step=Step(name="sets", title="fetch"),
            folder=made,
            runner=ScriptedRunner({}),
            note=self.notes.append,
            progress=_pass_over,
            ledger=Ledger(self.folder / "steps"),
        )
        fetch_base(workshop, site)
        return made


@pytest.fixture
def town(tmp_path: Path) -> Town:
    imageyard.make_checkout(tmp_path / "checkout")
    text = (imageyard.ROOT / "image/pkgbase.toml").read_text()
    start, _, rest = text.partition("trusted = [")
    trusting = f'{start}trusted = ["{KEY.fingerprint}"]{rest.partition("]")[2]}'
    (tmp_path / "checkout/image/pkgbase.toml").write_text(trusting)
    town = Town(tmp_path)
    smallpkgbase.make(town.served, KEY)
    return town


def test_packages_are_fetched_once_and_kept_as_the_server_lays_them_out(town: Town) -> None:
    made = town.fetch()
    release = read_json(made / "release.json")
    assert release["freebsd"] == "15.1-RELEASE"
    kept = town.folder / "cache/pkgbase/15.1-RELEASE-amd64"
    for name in ("meta.conf", "data.pkg", "All/FreeBSD-runtime-15.1.pkg"):
        assert (kept / name).read_bytes() == (town.served / name).read_bytes()
    assert not (kept / "All/FreeBSD-clang-15.1.pkg").exists()
    assert not list(kept.glob(".new-*"))
    assert f"{URL}: vouched for by {KEY.fingerprint}" in town.notes
    assert are_packages_there(town.order(), made)
    assert not are_packages_there(town.order(refresh=True), made)
    town.is_silent = True
    assert read_json(town.fetch() / "release.json") == release
    assert town.asked == []


def test_a_kept_package_that_was_spoilt_is_fetched_again(town: Town) -> None:
    made = town.fetch()
    (spoilt,) = (town.folder / "cache").rglob("FreeBSD-rc-15.1.pkg")
    spoilt.write_bytes(b"spoilt")
    town.fetch()
    assert town.asked == ["All/FreeBSD-rc-15.1.pkg"]
    spoilt.unlink()
    assert not are_packages_there(town.order(), made)


def test_without_a_network_the_error_says_what_to_put_where(town: Town) -> None:
    town.is_silent = True
    with pytest.raises(
        UsageError, match=r"the base packages of 15\.1-RELEASE amd64 cannot"
    ) as told:
        town.fetch()
    folder = town.folder / "cache/pkgbase/15.1-RELEASE-amd64"
    assert f"put a copy of {URL} (meta.conf, data.pkg and its packages" in str(told.value)
    assert f"into {folder}, or say SETS= a folder" in str(told.value)
    assert not town.order().lock.exists()
    # And just that makes it build.
    smallpkgbase.make(folder, KEY)
    town.fetch()
    assert town.asked == []


@pytest.mark.parametrize(("keys", "told"), [((), "is not signed"), ((SmallKey(),), "no trusted")])
def test_a_server_that_nobody_trusted_signed_is_refused_and_not_pinned(
    town: Town, keys: tuple[SmallKey, ...], told: str
) -> None:
    smallpkgbase.make(town.served, *keys)
    with pytest.raises(UntrustedRepository, match=told):
        town.fetch()
    assert not town.order().lock.exists()
    assert not list((town.folder / "cache").rglob("data.pkg"))


def test_a_wrong_signature_of_a_trusted_key_is_refused(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SmallKey()
    monkeypatch.setattr(SmallKey, "public", KEY.public)
    smallpkgbase.make(town.served, other)
    with pytest.raises(UntrustedRepository, match="is wrong"):
        town.fetch()


def test_a_new_catalogue_is_taken_only_when_a_person_says_so(town: Town) -> None:
    town.fetch()
    pins = town.order().lock.read_text()
    old = next((town.folder / "cache").rglob("data.pkg")).read_bytes()
    smallpkgbase.make(town.served, KEY, version="15.1p1")
    town.fetch()
    assert town.asked == []
    with pytest.raises(UsageError, match=r"catalogue of base packages .* has changed"):
        town.fetch(refresh=True)
    # What was refused takes the place of nothing.
    assert town.order().lock.read_text() == pins
    assert next((town.folder / "cache").rglob("data.pkg")).read_bytes() == old
    town.order().lock.unlink()
    made = town.fetch(refresh=True)
    assert read_json(made / "release.json")["freebsd"] == "15.1-RELEASE-p1"


def test_packages_of_another_release_are_refused_and_not_pinned(town: Town) -> None:
    smallpkgbase.make(town.served, KEY, version="15.0p3")
    with pytest.raises(UsageError, match=r"is of FreeBSD 15\.0, not 15\.1; say RELEASE=15\.0"):
        town.fetch()
    assert not town.order().lock.exists()
    assert not list((town.folder / "cache").rglob("data.pkg"))


def test_a_kept_catalogue_that_is_not_the_pinned_one_is_fetched_anew(town: Town) -> None:
    town.fetch()
    kept = town.folder / "cache/pkgbase/15.1-RELEASE-amd64"
    smallpkgbase.make(kept, KEY, version="15.1p1")
    town.fetch()
    assert town.asked[:2] == ["meta.conf", "data.pkg"]
    assert (kept / "data.pkg").read_bytes() == (town.served / "data.pkg").read_bytes()


def test_a_package_that_the_server_dropped_is_told_with_the_way_on(town: Town) -> None:
    (town.served / "All/FreeBSD-rc-15.1.pkg").unlink()
    with pytest.raises(UsageError, match=r"FreeBSD-rc-15\.1\.pkg: 404.*IMAGE_ARGS=--refresh"):
        town.fetch()


def test_the_repository_follows_from_release_and_architecture(tmp_path: Path) -> None:
    checkout = Checkout(folder=imageyard.make_checkout(tmp_path))
    (tmp_path / "image/pkgbase.toml").write_text(
        (imageyard.ROOT / "image/pkgbase.toml").read_text()
    )
    wishes = Wishes(base="pkgbase", release="15.2", arch="aarch64")
    order = settle(wishes, checkout, imageyard.REVISION)
    assert (order.is_pkgbase, order.base_layers) == (True, ("base", "kernel"))
    place = "https://pkg.FreeBSD.org/FreeBSD:15:aarch64/base_release_2"
    assert place_of_packages(order) == place
    assert not settle(Wishes(), checkout, imageyard.REVISION).is_pkgbase
