"""Laws of believing a certificate: one typed refusal per cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maculaos.identity import Identity, node_id_of
from maculaos.security.certificates import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    MalformedIdentity,
    MissingUsage,
    NoCertificate,
    NotIssuedByRealm,
    WrongRealm,
    check_peer,
    identity_of,
    is_authority,
    realm_of_authority,
    written_moment,
)

NOW = 1_800_000_000.0
MOMENT = datetime.fromtimestamp(NOW, UTC)
DAY = timedelta(days=1)
BOTH_ENDS = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]


def name_of(common_name: str | None, realm: str | None = None) -> x509.Name:
    attributes = []
    if realm is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, realm))
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(signs, False, False, False, False, False, False, False, False)


@dataclass
class Draft:
    """A node certificate before it is signed; every field can be made wrong."""

    authority: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    realm: str = "home"
    name: str | None = "n1"
    uris: list[str] | None = None
    first: datetime = MOMENT - DAY
    last: datetime = MOMENT + DAY
    usages: list[x509.ObjectIdentifier] | None = field(default_factory=lambda: list(BOTH_ENDS))
    signs: bool | None = True
    is_ca: bool = False
    more: tuple[x509.GeneralName, ...] = ()

    @property
    def identity(self) -> Identity:
        key = self.key.public_key()
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return Identity(self.realm, node_id_of(der), "n1")

    def ca(self) -> x509.Certificate:
        return self._builder(self.authority, name_of("authority", "home"), is_ca=True).sign(
            self.authority, None
        )

    def sign(self) -> x509.Certificate:
        builder = self._builder(self.key, name_of(self.name), is_ca=self.is_ca)
        uris = [self.identity.uri] if self.uris is None else self.uris
        names = [*(x509.UniformResourceIdentifier(uri) for uri in uris), *self.more]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if self.usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.usages), critical=False)
        if self.signs is not None:
            builder = builder.add_extension(usage(signs=self.signs), critical=True)
        return builder.sign(self.authority, None)

    def _builder(
        self, key: Ed25519PrivateKey, subject: x509.Name, *, is_ca: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name_of("authority", "home"))
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(self.first)
            .not_valid_after(self.last)
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )


def check(draft: Draft, now: float = NOW, realm: str = "home") -> Identity:
    return check_peer((draft.sign(),), draft.ca(), realm, now)


def test_good_certificate_gives_the_identity_it_states() -> None:
    draft = Draft()
    assert check(draft) == draft.identity
    assert identity_of(draft.sign()) == draft.identity


def test_extra_names_for_other_tools_do_no_harm() -> None:
    more = (x509.DNSName("n1.example"), x509.UniformResourceIdentifier("https://n1.example/"))
    draft = Draft(more=more)
    assert check(draft) == draft.identity


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"last": MOMENT - timedelta(seconds=1)}, CertificateExpired),
        ({"first": MOMENT + timedelta(seconds=1)}, CertificateNotYetValid),
        ({"usages": BOTH_ENDS[:1]}, MissingUsage),
        ({"usages": BOTH_ENDS[1:]}, MissingUsage),
        ({"usages": None}, MissingUsage),
        ({"signs": False}, MissingUsage),
        ({"signs": None}, MissingUsage),
        ({"is_ca": True}, MissingUsage),
        ({"realm": "work"}, WrongRealm),
        ({"name": None}, MalformedIdentity),
        ({"name": "Not A Name"}, MalformedIdentity),
        ({"uris": []}, MalformedIdentity),
        ({"uris": ["macula://home/1234"]}, MalformedIdentity),
        ({"uris": ["https://home/"]}, MalformedIdentity),
        ({"uris": [f"macula://home/{'0' * 64}"]}, MalformedIdentity),
        ({"uris": [f"macula://home/{'0' * 64}"] * 2}, MalformedIdentity),
    ],
)
def test_each_fault_has_its_own_refusal(
    changes: dict[str, Any], refusal: type[CertificateRefused]
) -> None:
    with pytest.raises(refusal) as refused:
        check(Draft(**changes))
    assert type(refused.value) is refusal


def test_two_identities_in_one_certificate_are_refused() -> None:
    draft = Draft()
    draft.uris = [draft.identity.uri, Draft().identity.uri]
    with pytest.raises(MalformedIdentity):
        check(draft)


def test_foreign_authority_of_the_same_name_is_refused() -> None:
    with pytest.raises(NotIssuedByRealm):
        check_peer((Draft().sign(),), Draft().ca(), "home", NOW)


def test_foreign_certificate_is_refused_before_anything_in_it_is_believed() -> None:
    stranger = Draft(realm="work", last=MOMENT - timedelta(seconds=1))
    with pytest.raises(NotIssuedByRealm):
        check_peer((stranger.sign(),), Draft().ca(), "home", NOW)


def test_issuer_of_the_peers_own_choice_in_the_chain_counts_for_nothing() -> None:
    stranger = Draft()
    with pytest.raises(NotIssuedByRealm):
        check_peer((stranger.sign(), stranger.ca()), Draft().ca(), "home", NOW)


def test_authority_itself_is_not_a_node() -> None:
    draft = Draft()
    with pytest.raises(MissingUsage):
        check_peer((draft.ca(),), draft.ca(), "home", NOW)


def test_empty_chain_is_refused() -> None:
    with pytest.raises(NoCertificate):
        check_peer((), Draft().ca(), "home", NOW)


def test_every_cause_has_its_own_word() -> None:
    causes = [refusal.cause for refusal in CertificateRefused.__subclasses__()]
    assert len(set(causes)) == len(causes) == 8


def test_authority_is_told_from_node() -> None:
    draft = Draft()
    assert is_authority(draft.ca())
    assert not is_authority(draft.sign())
    assert realm_of_authority(draft.ca()) == "home"
    with pytest.raises(MalformedIdentity):
        realm_of_authority(draft.sign())


def test_moment_is_written_in_utc() -> None:
    assert written_moment(MOMENT) == "2027-01-15T08:00:00Z"
