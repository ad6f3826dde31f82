"""The secrets of this machine: decrypted when they are wanted, kept in memory while they are.

A secret is known by the digest of its ciphertext, so an unchanged one is decrypted once. What
stands for it elsewhere is a keyed digest: it changes with the secret, and without the key of this
machine it tells nothing, not even to who can guess the secret. Wiping is as good as Python allows:
the bytes that we hold are overwritten, copies that a program or the interpreter made are not.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.host.files import write_atomically
from reconciler.secrets.decryption import SecretUnavailable, check_key_file, value_of
from reconciler.secrets.expansion import LONGEST_VALUE, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from maculaos.host.entropy import Entropy
    from reconciler.secrets.decryption import Decryption
    from reconciler.secrets.expansion import Expanded
    from reconciler.secrets.reference import SecretReference

KEY_BYTES: Final = 32


class Vault:
    """Secrets in memory; without ``decryption`` this machine has no key, and no secret."""

    def __init__(self, decryption: Decryption | None, machine_key: bytes) -> None:
        self._decryption = decryption
        self._machine_key = machine_key
        # By name and digest of the ciphertext.
        self._plain: dict[tuple[str, str], bytearray] = {}
        self._used: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return f"Vault({len(self._plain)} secrets)"

    def fill(
        self, environment: Mapping[str, Expanded], read: Callable[[str], bytes | None]
    ) -> dict[str, bytearray]:
        """The variables that hold secrets, in plain; ``read`` gives files of the commit.

        Blocks while a program decrypts. Raises ``SecretUnavailable`` for the first that fails.
        """
        return {
            name: self._filled(name, value, read)
            for name, value in environment.items()
            if isinstance(value, Template)
        }

    def digest(self, values: Mapping[str, bytes | bytearray]) -> str:
        """What stands for these variables where digests are compared and shown."""
        mac = hmac.new(self._machine_key, digestmod=hashlib.sha256)
        for name, value in sorted(values.items()):
            for part in (name.encode(), value):
                mac.update(len(part).to_bytes(8, "big"))
                mac.update(part)
        return mac.hexdigest()

    def wipe_unused(self) -> None:
        """Forget what nobody asked for since the last time: once after each pass over all apps."""
        for known in [each for each in self._plain if each not in self._used]:
            wipe(self._plain.pop(known))
        self._used.clear()

    def wipe_all(self) -> None:
        """Forget everything: the reconciler ends."""
        self._used.clear()
        self.wipe_unused()

    def _filled(
        self, name: str, template: Template, read: Callable[[str], bytes | None]
    ) -> bytearray:
        value = bytearray()
        for part in template.parts:
            value += part.encode() if isinstance(part, str) else self._reveal(part, read)
        if b"\0" in value or len(value) > LONGEST_VALUE:
            wipe(value)
            what = f"{name}: a variable has at most {LONGEST_VALUE} bytes, and none is NUL"
            raise SecretUnavailable(what, "see the secrets in it")
        return value

    def _reveal(
        self, reference: SecretReference, read: Callable[[str], bytes | None]
    ) -> bytes | bytearray:
        ciphertext = read(reference.secret)
        if ciphertext is None:
            what = f"{reference.secret}: there is no such file in the repository"
            raise SecretUnavailable(what, "commit it, encrypted")
        plain = self._decrypted(reference.secret, ciphertext)
        if reference.key is not None:
            return value_of(reference.secret, plain, reference.key)
        # Editors end a file with a line break that nobody means.
        return plain.removesuffix(b"\n").removesuffix(b"\r")

    def _decrypted(self, name: str, ciphertext: bytes) -> bytearray:
        known = name, hashlib.sha256(ciphertext).hexdigest()
        if known not in self._plain:
            if self._decryption is None:
                what = f"{name}: this machine has no key for secrets"
                raise SecretUnavailable(what, "name its file in secrets.key_file of the settings")
            self._plain[known] = self._decryption.decrypt(name, ciphertext)
        self._used.add(known)
        return self._plain[known]


def wipe(content: bytearray) -> None:
    """Overwrite ``content`` by zeros."""
    content[:] = bytes(len(content))


def machine_key(path: Path, entropy: Entropy, *, may_keep: bool = True) -> bytes:
    """The key of this machine for digests of secrets, made at the first call.

    Unless it ``may_keep`` one, a key that is not there is drawn for this time only, and no file is
    touched: for who only looks. Raises ``SecretUnavailable`` if others may read it. A new key
    restarts every app with a secret.
    """
    with suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            check_key_file(path)
            return key
        if may_keep:
            os.unlink(path)
    key = entropy.draw(KEY_BYTES)
    if may_keep:
        write_atomically(path, key, 0o600)
    return key
