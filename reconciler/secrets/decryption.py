"""Decryption of secrets by the programs age(1) and sops(1); the plain text comes back in memory.

The ciphertext goes in by a pipe, the key by the path of its file. A program gets no other
environment, no terminal, and no help from other services: a SOPS file that names any recipient but
age ones is refused before the program sees it, because it comes from Git and would say whom to ask.
An error names the file and the cause. It never quotes what a program wrote about content.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from maculaos.errors import UsageError
from maculaos.host.filters import NOT_FOUND_STATUS, Bound, Filter, SystemFilter
from reconciler.secrets.reference import AGE_SUFFIX

if TYPE_CHECKING:
    from maculaos.host.filters import Filtered

MOST_CIPHERTEXT_BYTES: Final = 1 << 20
# Key services that a SOPS file may name, and we never ask.
_OTHER_RECIPIENTS: Final = ("kms", "gcp_kms", "azure_kv", "hc_vault", "pgp", "key_groups")
_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{10,2000}")
_MOST_RECIPIENTS: Final = 4

# The first fragment found in what a program said decides; nothing else of it is repeated.
_CAUSES: Final[tuple[tuple[str, str], ...]] = (
    ("no identity matched", "it is not encrypted to a key of this machine"),
    ("passphrase-encrypted", "it is encrypted by a passphrase, and nobody is here to type it"),
    ("incorrect HMAC", "it was changed or damaged after it was encrypted"),
    ("failed to decrypt and authenticate", "it was changed or damaged after it was encrypted"),
    ("unexpected EOF", "it is cut short"),
    ("failed to read header", "it is no age file"),
    ("malformed", "the file of keys is damaged"),
    ("reading identity file", "the file of keys cannot be read"),
    ("MAC mismatch", "it was changed or damaged after it was encrypted"),
    ("Failed to get the data key", "it is not encrypted to a key of this machine"),
    ("metadata not found", "it is not encrypted by SOPS"),
)


class SecretUnavailable(UsageError):
    """One secret cannot be had; others are not touched by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decryption:
    """How this machine decrypts; ``secret_bytes`` bounds the plain text, ``timeout_s`` a run."""

    key_file: Path
    secret_bytes: int
    timeout_s: float
    age: Filter = field(default_factory=lambda: SystemFilter({"PATH": _PATH, "LC_ALL": "C"}))
    # sops(1) has no option for the file of keys; a variable names it.
    sops: Filter | None = None

    def decrypt(self, name: str, ciphertext: bytes) -> bytearray:
        """The plain text of the file ``name``; of a SOPS file as JSON. ``SecretUnavailable``."""
        if len(ciphertext) > MOST_CIPHERTEXT_BYTES:
            raise SecretUnavailable(f"{name}: larger than {MOST_CIPHERTEXT_BYTES} bytes")
        check_key_file(self.key_file)
        if name.endswith(AGE_SUFFIX):
            return self._by_age(name, ciphertext)
        return self._by_sops(name, ciphertext)

    def _by_age(self, name: str, ciphertext: bytes) -> bytearray:
        argv = ("age", "--decrypt", "--identity", str(self.key_file))
        return self._ran(name, "age", self.age.run(argv, ciphertext, self._bound()), "")

    def _by_sops(self, name: str, ciphertext: bytes) -> bytearray:
        recipients = sops_recipients(name, ciphertext)
        kind = "json" if name.endswith(".json") else "yaml"
        argv = ("sops", "--decrypt", "--input-type", kind, "--output-type", "json", "/dev/stdin")
        sops = self.sops or self._sops()
        shown = ", ".join(recipients[:_MOST_RECIPIENTS])
        return self._ran(name, "sops", sops.run(argv, ciphertext, self._bound()), shown)

    def _sops(self) -> Filter:
        nowhere = os.fspath(self.key_file.parent)
        return SystemFilter(
            {
                "PATH": _PATH,
                "LC_ALL": "C",
                "SOPS_AGE_KEY_FILE": str(self.key_file),
                # Where it looks for other keys and settings: nothing of a user is to be found.
                "HOME": nowhere,
                "XDG_CONFIG_HOME": nowhere,
                "SOPS_DISABLE_VERSION_CHECK": "true",
            }
        )

    def _bound(self) -> Bound:
        return Bound(self.secret_bytes, self.timeout_s)

    def _ran(self, name: str, program: str, done: Filtered, recipients: str) -> bytearray:
        if done.is_ok:
            return done.output
        if done.status == NOT_FOUND_STATUS:
            raise SecretUnavailable(f"{name}: there is no {program} program", f"install {program}")
        cause = _cause(program, done)
        whom = f" (it is for {recipients})" if recipients else ""
        hint = f"encrypt it to a key in {self.key_file}"
        raise SecretUnavailable(f"{name}: {cause}{whom}", hint)


_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def check_key_file(path: Path) -> None:
    """Raise ``SecretUnavailable`` unless it is a plain file that nobody else reads or writes."""
    try:
        found = path.lstat()
    except OSError as error:
        what = f"the file of keys {path}: {error.strerror}"
        raise SecretUnavailable(what, "make it with age-keygen, see secrets.key_file") from error
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        what = f"the file of keys {path} is no plain file of the user who reconciles"
        raise SecretUnavailable(what, "a link is not followed; see who owns it")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        what = f"the file of keys {path} has mode {mode:04o}: others may read it"
        raise SecretUnavailable(what, f"chmod 600 {path}")


def sops_recipients(name: str, ciphertext: bytes) -> tuple[str, ...]:
    """The age recipients of a SOPS file; raises ``SecretUnavailable`` if it names other keys."""
    metadata = _mapping(_document(name, ciphertext).get("sops"))
    others = [each for each in _OTHER_RECIPIENTS if metadata.get(each)]
    if others:
        what = f"{name}: it is encrypted by {', '.join(others)} as well, and only age is used here"
        raise SecretUnavailable(what, "encrypt it to age recipients only")
    listed = metadata.get("age")
    said = [_mapping(each).get("recipient") for each in listed] if isinstance(listed, list) else []
    found = tuple(each for each in said if isinstance(each, str) and _RECIPIENT.fullmatch(each))
    if not found:
        what = f"{name}: it is not encrypted by SOPS to an age recipient"
        raise SecretUnavailable(what, "encrypt it: sops --encrypt --age <recipient>")
    return found


def _document(name: str, content: bytes) -> dict[str, Any]:
    """JSON is YAML here; what is bent on exhausting its reader has no place in a SOPS file."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content)):
            raise SecretUnavailable(f"{name}: a SOPS file has no aliases")
        return _mapping(yaml.safe_load(content))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The text of the error would quote the file.
        raise SecretUnavailable(f"{name}: it is no YAML", "encrypt it again") from error


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def value_of(name: str, plain: bytes | bytearray, key: str) -> bytearray:
    """The value at ``key`` in the plain JSON of a SOPS file; raises ``SecretUnavailable``."""
    try:
        found: object = json.loads(plain)
    except (ValueError, RecursionError):
        raise SecretUnavailable(f"{name}: sops answered no JSON") from None
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            raise SecretUnavailable(f"{name}: there is no {key} in it", "see key in the spec")
        found = found[part]
    if not isinstance(found, str):
        raise SecretUnavailable(f"{name}: {key} is no text", "put it in quotes")
    return bytearray(found.encode())


def _cause(program: str, done: Filtered) -> str:
    if done.status is None:
        return f"{program} was {done.said}" if done.said.startswith("stopped") else done.said
    known = (cause for fragment, cause in _CAUSES if fragment in done.said)
    return next(known, f"{program} could not decrypt it (exit status {done.status})")
