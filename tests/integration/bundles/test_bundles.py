"""Bundles: made, carried, refused when touched, and followed by a reconciler; real Git and SSH."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from reconciler.bundles.manifest import BadBundle
from reconciler.bundles.media import create, put, verified
from reconciling import TWO_NODES, Bench, a_bench, node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_bench() as bench:
        bench.pretend_credentials("n1", "n2", "n3")
        yield bench


def reconciler(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "reconciler.cli", "bundle", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def members(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read() for name, file in found.items() if file is not None}


def pack(bundle: Path, parts: dict[str, bytes]) -> Path:
    with tarfile.open(bundle, "w") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return bundle


def check(bundle: Path, signers: Path | None = None) -> str:
    with verified(bundle, bundle.parent, signers) as (manifest, content):
        assert content.stat().st_size == manifest.size
        return manifest.revision


def refuses(bundle: Path) -> bool:
    try:
        check(bundle)
    except BadBundle:
        return True
    return False


def test_a_carried_branch_is_applied_and_the_next_one_too(bench: Bench) -> None:
    bundle = bench.root / "carried.tar"
    bench.configure(repository={"url": "state/site.bundle"}, poll={"interval_s": 3600.0})
    (bench.root / "state").mkdir(mode=0o700)

    def carry() -> None:
        made = reconciler("create", str(bundle), "--repository", str(bench.upstream.work))
        assert made.returncode == 0, made.stderr
        applied = reconciler("apply", str(bundle), "--config", str(bench.config))
        assert applied.returncode == 0, applied.stderr

    async def main() -> None:
        first = bench.upstream.commit(TWO_NODES)
        carry()
        async with bench.running(within_s=40) as running:
            await running.applied(first)
            second = bench.upstream.commit({"nodes/n3.yaml": node("n3", 4703)})
            await asyncio.to_thread(carry)
            await running.applied(second)

    asyncio.run(main())


def test_what_was_touched_is_refused(bench: Bench) -> None:
    revision = bench.upstream.commit(TWO_NODES)
    bundle = bench.root / "b.tar"
    create(bench.upstream.path, "main", bundle, 0.0)
    assert check(bundle) == revision
    parts = members(bundle)
    name = "repository.bundle"
    other = revision[::-1].encode()
    broken = {
        "cut": {**parts, name: parts[name][:-1]},
        "longer": {**parts, name: parts[name] + b"x"},
        "changed": {**parts, name: parts[name][:-1] + b"\0"},
        "another": {
            **parts,
            "manifest.json": parts["manifest.json"].replace(revision.encode(), other),
        },
        "more": {**parts, "more": b"x"},
        "turned": dict(reversed(parts.items())),
        "none": {},
        "climbing": {"../manifest.json": parts["manifest.json"]},
        "garbage": {**parts, "manifest.json": b"["},
    }
    touched = bench.root / "touched.tar"
    passed = [kind for kind, content in broken.items() if not refuses(pack(touched, content))]
    for raw in (b"", b"x" * 2000, bundle.read_bytes()[:900]):
        touched.write_bytes(raw)
        assert refuses(touched)
    assert not passed
    assert not list(bench.root.glob(".bundle-*"))


def test_a_link_in_a_bundle_is_refused(bench: Bench) -> None:
    bundle = bench.root / "b.tar"
    with tarfile.open(bundle, "w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(BadBundle, match="no manifest"):
        check(bundle)


def test_only_trusted_signers_pass_where_they_are_asked_for(bench: Bench) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    for name in ("good", "bad"):
        words = ("-q", "-t", "ed25519", "-N", "", "-f", str(bench.root / name))
        subprocess.run(["ssh-keygen", *words], check=True)
    signers = bench.root / "signers"
    signers.write_text(f"ada@example.test {(bench.root / 'good.pub').read_text()}")
    revision = bench.upstream.commit(TWO_NODES)
    bundle = bench.root / "b.tar"
    create(bench.upstream.path, "main", bundle, 0.0, bench.root / "good")
    assert check(bundle, signers) == revision
    signed = members(bundle)
    create(bench.upstream.path, "main", bundle, 1.0)
    with pytest.raises(BadBundle, match="not signed"):
        check(bundle, signers)
    mixed = {**signed, "manifest.json": members(bundle)["manifest.json"]}
    with pytest.raises(BadBundle, match="nobody"):
        check(pack(bench.root / "mixed.tar", mixed), signers)
    create(bench.upstream.path, "main", bundle, 0.0, bench.root / "bad")
    with pytest.raises(BadBundle, match="nobody"):
        check(bundle, signers)


def test_a_bundle_replaces_the_last_one_as_a_whole(bench: Bench) -> None:
    bench.upstream.commit(TWO_NODES)
    bundle, place = bench.root / "b.tar", bench.root / "site.bundle"
    place.write_text("old")
    create(bench.upstream.path, "main", bundle, 0.0)
    with verified(bundle, bench.root, None) as (manifest, content):
        put(content, place)
    assert place.stat().st_size == manifest.size
    assert place.stat().st_mode & 0o777 == 0o600
    assert os.listdir(bench.root).count("site.bundle") == 1
