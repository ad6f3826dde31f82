"""OpenPGP keys that may sign commits: a home folder for gpg(1) that holds one keyring and no more.

The folder is made anew for each use, from the keyring that the settings name; neither the keys of
the operator nor a key server is ever asked. Building the commands and reading what they say stand
side by side.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from maculaos.host.commands import CommandFailed
from maculaos.host.files import make_private_directory
from reconciler.sources.access import read_guarded
from reconciler.sources.unreachable import CannotVerify, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.commands import CommandRunner

TIMEOUT_S: Final = 30.0
# Whoever is in the keyring is trusted: the web of trust plays no part.
_SETTINGS: Final = "trust-model always\nno-autostart\nno-auto-key-locate\nno-auto-key-retrieve\n"
# Revoked, expired, disabled or invalid: see "doc/DETAILS" of GnuPG, field 2.
_UNUSABLE: Final = frozenset("redin")


def open_keyring(keyring: Path, home: Path, runner: CommandRunner) -> frozenset[str]:
    """Fill ``home`` from ``keyring``; return the fingerprints of its primary keys.

    Raises ``SourceUnreachable`` if the keyring cannot be used, or if there is no gpg.
    """
    content = read_guarded(keyring, "gpg_keyring")
    shutil.rmtree(home, ignore_errors=True)
    make_private_directory(home)
    (home / "gpg.conf").write_text(_SETTINGS)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet")
    try:
        runner.run(*gpg, "--import", stdin=content, timeout_s=TIMEOUT_S)
        listed = runner.run(*gpg, "--with-colons", "--list-keys", timeout_s=TIMEOUT_S)
    except CommandFailed as error:
        if error.exit_status == 127:
            raise CannotVerify("there is no gpg program on the PATH", "install gnupg") from error
        said = one_line(error.stderr)
        raise CannotVerify(f"gpg_keyring {keyring}: gpg says: {said}", "export it again") from error
    keys = primary_keys(listed)
    if not keys:
        raise CannotVerify(f"gpg_keyring {keyring} holds no usable key", "export it again")
    return keys


def primary_keys(listed: str) -> frozenset[str]:
    """The fingerprints of usable primary keys in what ``gpg --with-colons --list-keys`` says."""
    keys, is_wanted = set(), False
    for line in listed.splitlines():
        fields = line.split(":")
        if fields[0] in {"pub", "sub"}:
            is_wanted = fields[0] == "pub" and fields[1] not in _UNUSABLE
        elif fields[0] == "fpr" and is_wanted and len(fields) > 9:
            keys.add(fields[9])
            is_wanted = False
    return frozenset(keys)
