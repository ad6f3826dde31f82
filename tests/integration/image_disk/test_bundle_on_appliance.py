"""Bundles that the builder writes, read by the appliance's own reader."""

from __future__ import annotations

import importlib
import io
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagebuilder.disk.bundle import write_bundle
from imagebuilder.disk.manifest import Release
from imagebuilder.disk.partitions import MIB
from imagebuilder.disk.signature import SigningKey

if TYPE_CHECKING:
    import pytest

APPLIANCE = Path(__file__).parents[3] / "overlays/base/usr/local/lib/macula"
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
SLOT = random.Random(1).randbytes(64 * 1024) * 40 + b"end" * 512
RELEASE = Release(
    name="maculaos", version="0.1.0", arch="amd64", commit="c" * 40, committed_at=1_700_000_000
)


def _reader(module: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    if "appliance" not in sys.modules:
        monkeypatch.syspath_prepend(str(APPLIANCE))
    return importlib.import_module(f"appliance.{module}")


def test_appliance_reads_what_the_builder_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles, keys = _reader("bundle", monkeypatch), _reader("keys", monkeypatch)
    (tmp_path / "slot").write_bytes(SLOT)
    manifest = write_bundle(tmp_path / "slot", tmp_path / "bundle", RELEASE, KEY, chunk_bytes=MIB)
    keyring = keys.Keyring({KEY.public.digest: KEY.public.raw})
    opened = bundles.open_bundle(io.BytesIO((tmp_path / "bundle").read_bytes()), keyring)
    assert b"".join(chunk.unpack() for chunk in opened.chunks()) == SLOT
    assert opened.manifest.slot_sha256 == manifest.slot_sha256
    assert opened.manifest.version == RELEASE.version
