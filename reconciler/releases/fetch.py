"""From a spec to an archive on the disk that is known to be the right one.

The digest says that it is the archive that was meant, a signature who made it. What the machine
insists on comes from its settings; where both lie, from the spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.releases.download import Downloader, Wanted
from reconciler.releases.signature import MOST_SIGNATURE_BYTES, BadSignature, SignatureCheck

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.releases.spec import ReleaseSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How archives come to this machine; without ``signatures`` none is checked."""

    downloader: Downloader
    signatures: SignatureCheck | None = None
    # Whether an archive without a signature is refused.
    is_signature_required: bool = False

    def bring(
        self, spec: ReleaseSpec, target: Path, is_given_up: Callable[[], bool] = lambda: False
    ) -> None:
        """Have the archive at ``target``; raises ``ReleaseUnavailable`` or ``BadSignature``."""
        self._refuse(spec)
        wanted = Wanted(url=spec.url, sha256=spec.sha256, size=spec.size)
        self.downloader.fetch(wanted, target, is_given_up)
        if spec.signature is not None and self.signatures is not None:
            signature = self.downloader.fetch_small(spec.signature, MOST_SIGNATURE_BYTES)
            with target.open("rb") as archive:
                self.signatures.verify(archive, signature)

    def _refuse(self, spec: ReleaseSpec) -> None:
        """Before anything is fetched."""
        if spec.signature is None and self.is_signature_required:
            raise BadSignature(
                "the release has no signature, and this machine takes none without",
                "name it in release.signature, or see releases.signatures of the settings",
            )
        if spec.signature is not None and self.signatures is None:
            raise BadSignature(
                "the release has a signature, and this machine knows no keys to check it",
                "name the file of allowed signers in releases.allowed_signers of the settings",
            )
