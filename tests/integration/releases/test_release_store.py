"""Releases on the disk, from a real server to the link; killed, and out of room, at every write."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from reconciler.releases.members import BadArchive
from reconciler.releases.opening import open_releases
from reconciler.releases.shelf import ReleaseState, WrongState
from reconciler.releases.signature import NAMESPACE, BadSignature
from reconciler.releases.spec import ReleaseSpec
from reconciler.releases.transport import ReleaseUnavailable
from reconciler.settings import ReleaseSettings
from releasehouse import digest_of, serving, tar_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.releases.store import ReleaseStore

APP = "shop"


def store_in(folder: Path, **settings: object) -> ReleaseStore:
    said = ReleaseSettings(plain_http_hosts=("localhost",), **settings)  # type: ignore[arg-type]
    return open_releases(said, folder / "state", SystemClock())


def released(folder: Path, version: str, **more: object) -> ReleaseSpec:
    """An archive of that version as a file of this machine, and what a spec says of it."""
    content = tar_of(
        {f"app-{version}/bin/run": version.encode(), f"app-{version}/x/y": b"y"}, "bz2"
    )
    path = folder / f"{version}.tar.bz2"
    path.write_bytes(content)
    return ReleaseSpec(url=f"file://{path}", sha256=digest_of(content), strip=1, **more)  # type: ignore[arg-type]


def running(store: ReleaseStore) -> str | None:
    """The version that the link leads to, by looking at the disk."""
    link = store.link(APP)
    return (link / "bin" / "run").read_text() if link.is_symlink() else None


def test_a_release_comes_from_a_server_and_is_switched_to(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    content = tar_of({"bin/run": b"1", "lib/x": b"x"}, "xz")
    with serving() as server:
        server.files["/shop.tar.xz"] = content
        server.truncate("/shop.tar.xz", content, 100)
        spec = ReleaseSpec(url=server.url("/shop.tar.xz"), sha256=digest_of(content))
        with pytest.raises(ReleaseUnavailable):
            store.prepare(APP, spec)
        assert store.shelf(APP).releases == ()
        path = store.prepare(APP, spec)
        assert store.prepare(APP, spec) == path
        assert len(server.asked) == 2
    assert tree_of(path) == {"bin": None, "bin/run": b"1", "lib": None, "lib/x": b"x"}
    assert running(store) is None
    store.install(APP, spec.identity)
    assert running(store) == "1"
    assert {each.name for each in path.parent.iterdir()} == {
        spec.identity,
        "current",
        "releases.json",
    }


def test_what_was_not_made_permanent_is_undone_by_a_start(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    one, two = released(tmp_path, "1"), released(tmp_path, "2")
    for spec in (one, two):
        store.prepare(APP, spec)
    store.install(APP, one.identity)
    assert store.recover().running == {APP: None}
    assert running(store) is None
    store.install(APP, one.identity)
    store.make_permanent(APP, one.identity)
    store.install(APP, two.identity)
    assert running(store) == "2"
    assert store_in(tmp_path).recover().running == {APP: one.identity}
    assert running(store) == "1"
    assert store.shelf(APP).state(two.identity) is ReleaseState.OLD


def test_fall_back_switches_to_the_permanent_release(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    one, two = released(tmp_path, "1"), released(tmp_path, "2")
    store.prepare(APP, one)
    store.install(APP, one.identity)
    store.make_permanent(APP, one.identity)
    store.prepare(APP, two)
    store.install(APP, two.identity)
    assert store.fall_back(APP) == one.identity
    assert running(store) == "1"
    with pytest.raises(WrongState):
        store.forget(APP, one.identity)


def test_retention_keeps_the_last_ones(tmp_path: Path) -> None:
    store = store_in(tmp_path, keep_old=1)
    specs = [released(tmp_path, str(number)) for number in range(4)]
    for spec in specs:
        store.prepare(APP, spec)
        store.install(APP, spec.identity)
        store.make_permanent(APP, spec.identity)
    gone = store.retain(APP)
    assert gone == (specs[0].identity, specs[1].identity)
    assert [store.path(APP, spec.identity).exists() for spec in specs] == [False, False, True, True]
    store.forget_app(APP)
    assert list((tmp_path / "state" / "releases").iterdir()) == []


def test_a_bad_archive_leaves_nothing_behind(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    content = tar_of({"../x": b"1"})
    (tmp_path / "bad.tar").write_bytes(content)
    spec = ReleaseSpec(url=f"file://{tmp_path}/bad.tar", sha256=digest_of(content))
    with pytest.raises(BadArchive):
        store.prepare(APP, spec)
    assert list((tmp_path / "state" / "releases" / APP).iterdir()) == []


def test_states_that_cannot_be_read_stop_their_own_app_only(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    one = released(tmp_path, "1")
    for app in (APP, "other"):
        store.prepare(app, one)
        store.install(app, one.identity)
        store.make_permanent(app, one.identity)
    (tmp_path / "state" / "releases" / "other" / "releases.json").write_text("{")
    found = store.recover()
    assert found.running == {APP: one.identity}
    assert list(found.problems) == ["other"]
    assert store.path("other", one.identity).is_dir()


def test_a_release_that_lost_its_folder_is_fetched_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    one = released(tmp_path, "1")
    shutil.rmtree(store.prepare(APP, one))
    assert store.prepare(APP, one).is_dir()
    store.install(APP, one.identity)
    shutil.rmtree(store.path(APP, one.identity))
    assert store.recover().running == {APP: None}


@pytest.mark.parametrize("app", ["", "..", "a/b", "A", "-a", "a" * 28])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, app: str) -> None:
    with pytest.raises(UsageError):
        store_in(tmp_path).path(app, "a" * 64)
    with pytest.raises(UsageError):
        store_in(tmp_path).path(APP, "../" + "a" * 61)


needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen"
)


def make_key(folder: Path, name: str) -> str:
    """A key pair; its public key as one line."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
    subprocess.run(words, check=True)
    return (folder / f"{name}.pub").read_text().strip()


def sign(folder: Path, name: str, path: Path, namespace: str = NAMESPACE) -> str:
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(folder / name), "-n", namespace, str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return f"file://{path}.sig"


@needs_ssh_keygen
def test_only_a_signature_of_an_allowed_key_counts(tmp_path: Path) -> None:
    ours, other = make_key(tmp_path, "ours"), make_key(tmp_path, "other")
    allowed = tmp_path / "allowed"
    allowed.write_text(f'rel@shop namespaces="{NAMESPACE}" {ours}\n')
    store = store_in(tmp_path, allowed_signers=allowed, signatures="required")
    spec = released(tmp_path, "1")
    archive = tmp_path / "1.tar.bz2"

    def attempt(signature: str | None) -> None:
        store.prepare(APP, released(tmp_path, "1", signature=signature))

    with pytest.raises(BadSignature, match="has no signature"):
        attempt(None)
    with pytest.raises(BadSignature, match="does not count"):
        attempt(sign(tmp_path, "other", archive))
    (tmp_path / "1.tar.bz2.sig").unlink()
    with pytest.raises(BadSignature, match="does not count"):
        attempt(sign(tmp_path, "ours", archive, "file"))
    (tmp_path / "1.tar.bz2.sig").unlink()
    (tmp_path / "not.it").write_text("something else")
    with pytest.raises(BadSignature, match="does not count"):
        attempt(sign(tmp_path, "ours", tmp_path / "not.it"))
    assert store.shelf(APP).releases == ()
    signature = sign(tmp_path, "ours", archive)
    revoked = tmp_path / "revoked"
    revoked.write_text(f"{other}\n{ours}\n")
    with pytest.raises(BadSignature, match="does not count"):
        store_in(tmp_path, allowed_signers=allowed, revoked_keys=revoked).prepare(
            APP, released(tmp_path, "1", signature=signature)
        )
    attempt(signature)
    assert store.shelf(APP).state(spec.identity) is ReleaseState.UNPACKED


def test_a_signature_that_nobody_can_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSignature, match="knows no keys"):
        store_in(tmp_path).prepare(APP, released(tmp_path, "1", signature="file:///x"))


# Every call by which the disk changes. Python reaches them all through the module ``os``.
WRITES = ("open", "write", "fsync", "mkdir", "rename", "replace", "symlink", "unlink", "rmdir")
WRITES_WITH_ROOM = ("unlink", "rmdir", "rename", "replace", "fsync")


def upgrade(folder: Path, old: ReleaseSpec, new: ReleaseSpec) -> None:
    """What happens to an app when its release changes, from its start on."""
    store = store_in(folder, keep_old=0)
    store.recover()
    store.prepare(APP, new)
    store.install(APP, new.identity)
    store.make_permanent(APP, new.identity)
    store.retain(APP)
    assert store.shelf(APP).running == new.identity != old.identity


def at_call(number: int, act: Callable[[str], None]) -> None:
    """Let ``act`` happen instead of the call of that number that changes the disk."""
    left = [number]

    def watched(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*given: object, **named: object) -> object:
            is_reading = name == "open" and not int(str(given[1])) & (os.O_CREAT | os.O_WRONLY)
            if not is_reading:
                left[0] -= 1
                if left[0] == 0:
                    act(name)
            return real(*given, **named)

        return call

    for name in WRITES:
        setattr(os, name, watched(name))


def in_child(work: Callable[[], None]) -> int:
    """The exit status of ``work`` in a child: 0, 3 when refused, or what it ended with."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            work()
            status = 0
        except UsageError:
            status = 3
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(_name: str) -> NoReturn:
    os._exit(42)


def be_full(name: str) -> None:
    if name not in WRITES_WITH_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("act", [die, be_full])
def test_whatever_write_fails_a_start_finds_the_old_or_the_new(
    tmp_path: Path, act: Callable[[str], None]
) -> None:
    old, new = released(tmp_path, "1"), released(tmp_path, "2")
    store = store_in(tmp_path, keep_old=0)
    store.prepare(APP, old)
    store.install(APP, old.identity)
    store.make_permanent(APP, old.identity)
    clean = tmp_path / "clean"
    (tmp_path / "state").rename(clean)
    seen = set()
    for number in range(1, 500):
        shutil.copytree(clean, tmp_path / "state", symlinks=True)

        def work(number: int = number) -> None:
            at_call(number, act)
            upgrade(tmp_path, old, new)

        status = in_child(work)
        assert status in (0, 3, 42)
        assert store.recover().problems == {}
        version = running(store)
        seen.add(version)
        _check_that_nothing_is_half(store, str(version))
        upgrade(tmp_path, old, new)
        assert running(store) == "2"
        _check_that_nothing_is_half(store, "2")
        shutil.rmtree(tmp_path / "state")
        if status == 0 and number > 60:
            break
    assert seen == {"1", "2"}
    assert 60 < number < 499


def _check_that_nothing_is_half(store: ReleaseStore, version: str) -> None:
    shelf = store.shelf(APP)
    folder = store.link(APP).parent
    names = {each.name for each in folder.iterdir() if not each.name.endswith((".part", ".etag"))}
    assert names == {each.identity for each in shelf.releases} | {"current", "releases.json"}
    assert os.readlink(folder / "current") == shelf.running == shelf.permanent
    for release in shelf.releases:
        tree = tree_of(folder / release.identity)
        assert set(tree) == {"bin", "bin/run", "x", "x/y"}
        assert tree["x/y"] == b"y"
    assert version in ("1", "2")
