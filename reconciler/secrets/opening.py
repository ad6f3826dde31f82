"""From the settings of a machine to its vault and its places: where the parts are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.secrets.decryption import Decryption
from reconciler.secrets.placing import SecretPlaces
from reconciler.secrets.vault import Vault, machine_key

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.entropy import Entropy
    from reconciler.settings import SecretSettings

MACHINE_KEY: Final = "secrets.key"


def open_vault(
    settings: SecretSettings, state_dir: Path, entropy: Entropy, *, may_keep: bool = True
) -> Vault:
    """The vault of a machine; its key for digests is made below ``state_dir`` at the first call.

    Not ``may_keep``: no file is made. Raises ``SecretUnavailable`` if others may read that key, or
    ``OSError``.
    """
    decryption = None
    if settings.key_file is not None:
        decryption = Decryption(
            key_file=settings.key_file,
            secret_bytes=settings.secret_bytes,
            timeout_s=settings.timeout_s,
        )
    key = machine_key(state_dir / MACHINE_KEY, entropy, may_keep=may_keep)
    return Vault(decryption, key)


def open_places(settings: SecretSettings, run_dir: Path) -> SecretPlaces:
    """Where plain text lies while apps run; nothing is made yet."""
    return SecretPlaces(run_dir, allow_disk=settings.allow_disk)
