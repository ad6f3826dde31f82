"""SSH signatures of archives, checked by ssh-keygen(1) against keys that this machine allows.

Who may sign is said on the machine (ssh-keygen(1), ALLOWED SIGNERS), never in the repository. The
exit status decides, never the text.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from maculaos.errors import UsageError
from maculaos.host.filters import NOT_FOUND_STATUS, Bound, Filter, SystemFilter
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from maculaos.host.filters import Filtered

NAMESPACE: Final = "macula-release"
MOST_SIGNATURE_BYTES: Final = 16 * 1024
_MOST_ANSWER_BYTES: Final = 64 * 1024
_FIND_S: Final = 30.0


class BadSignature(UsageError):
    """The signature of an archive is not one of an allowed key."""


def _ssh_keygen() -> Filter:
    return SystemFilter({"PATH": os.defpath, "LC_ALL": "C"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCheck:
    """Whose signatures count; ``revoked`` is a list or KRL of keys that do not any more."""

    allowed_signers: Path
    revoked: Path | None = None
    # A large archive is hashed by the program: the time for that.
    timeout_s: float = 600.0
    program: Filter = field(default_factory=_ssh_keygen)

    def verify(self, archive: IO[bytes], signature: bytes) -> str:
        """Who signed the whole of ``archive``, a file at its start; raises ``BadSignature``.

        Raises ``UsageError`` if this machine cannot check.
        """
        for path in filter(None, (self.allowed_signers, self.revoked)):
            if not path.is_file():
                raise UsageError(f"{path} is no file", "see releases.allowed_signers")
        with tempfile.NamedTemporaryFile(prefix="macula-signature-") as file:
            file.write(signature)
            file.flush()
            signer = self._signer(file.name)
            words = ("-I", signer, "-n", NAMESPACE, "-s", file.name)
            done = self._run("verify", words, archive, self.timeout_s)
        if not done.is_ok:
            raise _bad(done)
        return signer

    def _signer(self, signature: str) -> str:
        """Under which name the list has the key; the check itself comes after."""
        done = self._run("find-principals", ("-s", signature), b"", _FIND_S)
        names = done.output.decode(errors="replace").splitlines()
        if not done.is_ok or not names or names[0].startswith("-"):
            raise _bad(done)
        return names[0]

    def _run(
        self, verb: str, words: tuple[str, ...], stdin: bytes | IO[bytes], timeout_s: float
    ) -> Filtered:
        revoked = () if self.revoked is None or verb != "verify" else ("-r", str(self.revoked))
        done = self.program.run(
            ("ssh-keygen", "-Y", verb, "-f", str(self.allowed_signers), *words, *revoked),
            stdin,
            Bound(_MOST_ANSWER_BYTES, timeout_s),
        )
        if done.status == NOT_FOUND_STATUS:
            raise UsageError("there is no ssh-keygen on this machine", "install OpenSSH")
        return done


def _bad(done: Filtered) -> BadSignature:
    said = one_line(done.said or done.output.decode(errors="replace")) or "no allowed key made it"
    return BadSignature(f"its signature does not count: {said}", "see releases.allowed_signers")
