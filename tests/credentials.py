"""Real realm authorities and node credentials in a temporary folder, for tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509

from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.identity import Identity
from maculaos.security.authority import (
    IdentityFiles,
    Request,
    create_realm,
    identity_files,
    issue,
    open_authority,
)
from maculaos.security.credentials import Credentials, load_credentials
from maculaos.settings import CredentialSettings, ListenSettings, NodeSettings

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RealmFolder:
    """A realm authority on disk, and the identities that it issued beside it."""

    name: str
    path: Path

    @property
    def authority(self) -> Path:
        """The folder of the authority."""
        return self.path / "authority"

    @property
    def identities(self) -> Path:
        """The folder that holds one folder per node."""
        return self.path / "identities"

    def issue(self, node: str, *, now: float | None = None, days: int = 30) -> IdentityFiles:
        """Issue an identity, as if the time were ``now``."""
        moment = SystemClock().now() if now is None else now
        request = Request(name=node, days=days)
        return issue(self.authority, self.identities, request, now=moment, entropy=SystemEntropy())

    def renew(self, node: str, *, days: int = 30) -> IdentityFiles:
        """Sign the key of ``node`` once more."""
        request = Request(name=node, days=days, is_renewal=True)
        moment = SystemClock().now()
        return issue(self.authority, self.identities, request, now=moment, entropy=SystemEntropy())

    def settings_of(self, node: str) -> CredentialSettings:
        """Where a node's configuration would say that its identity lives."""
        files = identity_files(self.identities, node)
        return CredentialSettings(
            certificate=files.certificate, key=files.key, realm_ca=files.realm_ca
        )

    def credentials(self, node: str) -> Credentials:
        """Good credentials of ``node``, issued if they are not there yet."""
        if not identity_files(self.identities, node).key.exists():
            self.issue(node)
        return load_credentials(self.settings_of(node), node, self.name, SystemClock().now())

    def dated(self, node: str, *, starts_in_days: int, days: int = 2) -> Credentials:
        """Credentials of ``node`` for another time than now; no node would start with them."""
        issued_at = SystemClock().now() + starts_in_days * DAY_S
        if not identity_files(self.identities, node).key.exists():
            self.issue(node, now=issued_at, days=days)
        return load_credentials(self.settings_of(node), node, self.name, issued_at + 60)

    def node_settings(self, node: str, **changes: Any) -> NodeSettings:
        """Settings of ``node`` on the loopback interface; the port is for tests to override."""
        settings = NodeSettings(
            version=1,
            name=node,
            realm=self.name,
            listen=ListenSettings(port=4701),
            credentials=self.settings_of(node),
            control_socket=self.path / f"{node}.sock",
        )
        return replace(settings, **changes)

    def with_revocations(self, settings: NodeSettings, path: Path) -> NodeSettings:
        """``settings`` of a node that watches the revocation list at ``path``."""
        return replace(settings, credentials=replace(settings.credentials, revocations=path))


def make_realm(path: Path, name: str = "home") -> RealmFolder:
    """A new realm under ``path``."""
    folder = RealmFolder(name, path / name)
    start = SystemClock().now() - 10 * DAY_S
    create_realm(folder.authority, name, now=start, entropy=SystemEntropy())
    return folder


def signed_anew(
    folder: RealmFolder, credentials: Credentials, *, realm: str, usages: tuple[str, ...]
) -> Credentials:
    """The same key and name, signed by the folder's authority for another realm or other uses.

    ``usages`` are dotted object identifiers of extended key usages.
    """
    old = credentials.certificate
    uri = Identity(realm, credentials.identity.node_id, credentials.identity.name).uri
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number + 1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
        .add_extension(
            x509.ExtendedKeyUsage([x509.ObjectIdentifier(dotted) for dotted in usages]),
            critical=False,
        )
    )
    for kept in (x509.BasicConstraints, x509.KeyUsage):
        extension = old.extensions.get_extension_for_class(kept)
        builder = builder.add_extension(extension.value, critical=extension.critical)
    certificate = builder.sign(open_authority(folder.authority).key, None)
    return replace(credentials, certificate=certificate)
