"""From the settings of a machine to its store of releases: where the parts are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.releases.download import DownloadBounds, Downloader
from reconciler.releases.fetch import Fetch
from reconciler.releases.members import ArchiveBudget
from reconciler.releases.signature import SignatureCheck
from reconciler.releases.store import ReleaseStore
from reconciler.releases.transport import HttpTransport

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.clock import Clock
    from reconciler.settings import ReleaseSettings

FOLDER: Final = "releases"


def open_releases(settings: ReleaseSettings, state_dir: Path, clock: Clock) -> ReleaseStore:
    """The releases of a machine, below ``state_dir``; nothing is read or made yet.

    Raises ``UsageError`` if the file of certificates cannot be read.
    """
    transport = HttpTransport(
        frozenset(settings.plain_http_hosts), settings.stall_s, settings.authorities
    )
    bounds = DownloadBounds(
        most_bytes=settings.archive_bytes,
        timeout_s=settings.timeout_s,
        stall_s=settings.stall_s,
        slowest_bytes_s=settings.slowest_bytes_s,
    )
    budget = ArchiveBudget(
        entries=settings.entries, unpacked_bytes=settings.unpacked_bytes, ratio=settings.ratio
    )
    fetch = Fetch(
        downloader=Downloader(transport, clock, bounds),
        signatures=_signatures(settings),
        is_signature_required=settings.signatures == "required",
    )
    return ReleaseStore(state_dir / FOLDER, fetch, budget, settings.keep_old)


def _signatures(settings: ReleaseSettings) -> SignatureCheck | None:
    if settings.allowed_signers is None:
        return None
    return SignatureCheck(
        allowed_signers=settings.allowed_signers,
        revoked=settings.revoked_keys,
        timeout_s=settings.timeout_s,
    )
