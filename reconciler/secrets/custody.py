"""The secrets of the apps of this machine, from their ciphertext to the file that a keeper reads.

``unseal`` tells rendering a keyed digest for each app, or why there is none; ``place`` writes the
plain text of one jail before it is started; ``tidy`` ends a pass. Between the calls plain text
lies in the vault and nowhere else. An app that cannot have its secrets keeps nobody from theirs.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from reconciler.render import split_environment
from reconciler.secrets.expansion import BadExpansion
from reconciler.secrets.placing import FOLDER as PLACES
from reconciler.secrets.reference import references_in
from reconciler.secrets.unsealed import Sealed, Unsealed, sealed_environment
from reconciler.secrets.vault import wipe
from reconciler.specs.items import ciphertexts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from jails.spec import JailFacts
    from reconciler.fleet import Fleet
    from reconciler.render import MachinePaths, Rendered
    from reconciler.secrets.placing import SecretPlaces
    from reconciler.secrets.sealed import SealedFiles
    from reconciler.secrets.vault import Vault
    from reconciler.specs.spec import AppSpec


class Custody:
    """The secrets of one machine; every call blocks, none at the same time as another."""

    def __init__(
        self,
        open_vault: Callable[[], Vault],
        places: SecretPlaces,
        sealed: SealedFiles,
        run_dir: Path,
    ) -> None:
        """The vault is opened when the first secret is wanted: it may make a key."""
        self._open_vault = open_vault
        self._vault: Vault | None = None
        self._places = places
        self._sealed = sealed
        self._folder = run_dir / PLACES
        # Of the commit that was unsealed last, by SHA-256.
        self._fresh: Mapping[str, bytes] = {}
        self._realm = ""
        self._machine: MachinePaths | None = None
        self._members: Fleet = {}

    def unseal(
        self, apps: Iterable[AppSpec], fresh: Mapping[str, bytes], realm: str, machine: MachinePaths
    ) -> Unsealed:
        """What can be told of the secrets of ``apps``; ``fresh`` are files of the commit."""
        self._fresh, self._realm, self._machine = fresh, realm, machine
        digests: dict[Sealed, str] = {}
        obstacles: dict[Sealed, str] = {}
        for app in apps:
            known = sealed_environment(app)
            if known is None or known in digests or known in obstacles:
                continue
            try:
                digests[known] = self._digest(app)
            except UsageError as error:
                obstacles[known] = str(error)
            except (OSError, BadExpansion) as error:
                obstacles[known] = f"its secrets cannot be had: {error}"
        return Unsealed(folder=self._folder, digests=digests, obstacles=obstacles)

    def keep(self, apps: Iterable[AppSpec], members: Fleet) -> None:
        """Keep the ciphertext of ``apps``, and know who runs what; raises ``OSError``."""
        self._members = members
        needed = frozenset[str]().union(*map(ciphertexts_of, apps))
        self._sealed.keep({each: self._fresh[each] for each in needed & self._fresh.keys()})

    def place(self, jail: str) -> None:
        """Have the plain text of that jail where its keeper reads it; raises ``UsageError``."""
        member = self._members.get(jail)
        if member is None or not references_in(member.app.environment):
            return
        values = self._values(member.app)
        try:
            self._places.place(jail, values)
        finally:
            for value in values.values():
                wipe(value)

    def tidy(
        self, rendered: Rendered, found: Mapping[str, JailFacts], apps: Iterable[AppSpec]
    ) -> None:
        """At the end of a pass: delete and forget what nobody needs, put back what is missing.

        ``apps`` are all that are kept, of whatever version. What fails fails again at the next
        step that needs it, and is told then.
        """
        with suppress(UsageError):
            self._places.keep_only(_still_read(rendered, found))
        for jail, spec in rendered.jails.items():
            if spec.secrets is not None and jail in found:
                facts = found[jail]
                if facts.program_digest == spec.program_digest():
                    with suppress(UsageError):
                        self.place(jail)
        with suppress(OSError):
            self._sealed.keep_only(frozenset[str]().union(*map(ciphertexts_of, apps)))
        if self._vault is not None:
            self._vault.wipe_unused()

    def end(self) -> None:
        """Forget all plain text; what is placed stays for the keepers that go on."""
        if self._vault is not None:
            self._vault.wipe_all()

    def _digest(self, app: AppSpec) -> str:
        values = self._values(app)
        try:
            return self._opened().digest(values)
        finally:
            for value in values.values():
                wipe(value)

    def _values(self, app: AppSpec) -> dict[str, bytearray]:
        if self._machine is None:
            return {}
        _, secret = split_environment(app, self._realm, self._machine)
        digests = {each.secret: each.sha256 for each in references_in(app.environment).values()}
        return self._opened().fill(secret, lambda path: self._ciphertext(digests.get(path)))

    def _ciphertext(self, digest: str | None) -> bytes | None:
        if digest is None:
            return None
        return self._fresh.get(digest) or self._sealed.read(digest)

    def _opened(self) -> Vault:
        if self._vault is None:
            self._vault = self._open_vault()
        return self._vault


def _still_read(rendered: Rendered, found: Mapping[str, JailFacts]) -> frozenset[str]:
    """The jails whose file some keeper may still read, or is about to."""
    wanted = {jail for jail, spec in rendered.jails.items() if spec.secrets is not None}
    kept = {
        jail
        for jail, facts in found.items()
        if jail not in rendered.jails
        or facts.program_digest != rendered.jails[jail].program_digest()
    }
    return frozenset(wanted | kept)
