"""Laws of the registrar: one token makes one node of one name, whatever breaks in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from credentials import DAY_S, RealmFolder, make_realm
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock, SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import identity_files, open_authority, realm_files
from maculaos.security.certificates import check_peer
from maculaos.security.enrolment.grant import (
    Grant,
    Wanted,
    check_grant,
    install,
    read_grant,
    write_grant,
)
from maculaos.security.enrolment.messages import (
    Answer,
    AskAuthority,
    AuthorityIs,
    Granted,
    Join,
    Refused,
    Renew,
)
from maculaos.security.enrolment.registrar import Invitation, Registrar
from maculaos.security.ledger import MAX_TOKEN_LIFE_S, Ledger
from maculaos.security.requests import new_request
from maculaos.security.revoker import renew_list, revoke
from maculaos.security.tokens import pin_of, read_token

if TYPE_CHECKING:
    from pathlib import Path

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()


@dataclass
class Office:
    realm: RealmFolder
    clock: FakeClock

    def registrar(self, days: int = 30) -> Registrar:
        """As after a restart: nothing but files is kept."""
        authority = open_authority(self.realm.authority)
        entropy = SystemEntropy()
        return Registrar(self.realm.authority, authority, self.clock, entropy, days=days)

    def token(self, name: str = "n1", valid_s: float = 60.0) -> str:
        return self.registrar().invite(Invitation(name=name, valid_s=valid_s))

    def join(self, token: str, key: Ed25519PrivateKey = KEY, name: str = "n1") -> Answer:
        return self.registrar().answer(Join(token, new_request(name, key)), None)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(make_realm(tmp_path), FakeClock(SystemClock().now()))


def grant(answer: Answer) -> Grant:
    assert isinstance(answer, Granted), answer
    return read_grant(answer.grant)


def refusal(answer: Answer) -> str:
    assert isinstance(answer, Refused)
    return answer.what


def test_token_makes_a_node_that_the_realm_believes(office: Office) -> None:
    token = office.token()
    given = grant(office.join(token))
    now = office.clock.now()
    identity = check_peer((given.certificate,), given.authority, "home", now)
    assert identity.name == "n1"
    check_grant(given, Wanted("n1", KEY.public_key(), read_token(token).pin))


def test_used_token_is_refused_to_any_other_key(office: Office) -> None:
    token = office.token()
    grant(office.join(token))
    assert "used already" in refusal(office.join(token, OTHER_KEY))
    assert "used already" in refusal(office.join(token, OTHER_KEY))


def test_lost_answer_can_be_asked_for_again_with_the_same_key(office: Office) -> None:
    token = office.token()
    assert grant(office.join(token)) == grant(office.join(token))
    assert len(Ledger(office.realm.authority).certificates_of("n1")) == 1


def test_crash_before_the_record_leaves_the_token_unused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = office.token()

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "use", power_cut)
        with pytest.raises(KeyboardInterrupt):
            office.join(token)
    # Nobody was given anything for it: whoever comes first gets it, once.
    grant(office.join(token, OTHER_KEY))
    assert "used already" in refusal(office.join(token, KEY))
    # What was signed before the power cut is on record, and can be revoked.
    assert len(revoke(office.realm.authority, "n1", now=office.clock.now()).serials) == 2


def test_token_is_for_one_name(office: Office) -> None:
    assert "for the node n1, not n2" in refusal(office.join(office.token(), name="n2"))


def test_expired_and_forged_tokens_are_refused(office: Office, tmp_path: Path) -> None:
    token = office.token(valid_s=60.0)
    office.clock.sleep(62.0)
    assert "expired" in refusal(office.join(token))
    stranger = Office(make_realm(tmp_path / "else"), office.clock)
    office.token()
    assert "not made by" in refusal(office.join(stranger.token()))
    assert "no token" in refusal(Office(make_realm(tmp_path / "new"), office.clock).join(token))


def test_token_stays_used_as_long_as_it_could_be_shown(office: Office) -> None:
    token = office.token(valid_s=MAX_TOKEN_LIFE_S)
    grant(office.registrar(days=1).answer(Join(token, new_request("n1", KEY)), None))
    office.clock.sleep(29 * DAY_S)
    office.registrar().forget_expired()
    assert "used already" in refusal(office.join(token, OTHER_KEY))
    office.clock.sleep(3 * DAY_S)
    office.registrar().forget_expired()
    assert list((office.realm.authority / "used").iterdir()) == []
    assert "expired" in refusal(office.join(token, OTHER_KEY))


@pytest.mark.parametrize("valid_s", [0.0, -1.0, MAX_TOKEN_LIFE_S + 1])
def test_token_lives_for_a_while(office: Office, valid_s: float) -> None:
    with pytest.raises(UsageError):
        office.token(valid_s=valid_s)


def test_authority_shows_itself_to_anybody(office: Office) -> None:
    answer = office.registrar().answer(AskAuthority(), None)
    assert isinstance(answer, AuthorityIs)
    assert answer.certificate == realm_files(office.realm.authority).certificate.read_bytes()


def test_renewal_keeps_key_name_and_hosts(office: Office) -> None:
    given = grant(office.join(office.token()))
    office.clock.sleep(20 * DAY_S)
    again = grant(office.registrar().answer(Renew(), given.certificate))
    assert again.certificate.public_key() == given.certificate.public_key()
    assert again.certificate.serial_number != given.certificate.serial_number
    assert again.certificate.not_valid_after_utc > given.certificate.not_valid_after_utc
    check_grant(again, Wanted("n1", KEY.public_key(), pin_of(given.authority)))


def test_renewal_is_refused_without_a_good_certificate(office: Office, tmp_path: Path) -> None:
    registrar = office.registrar()
    assert "no certificate" in refusal(registrar.answer(Renew(), None))
    stranger = Office(make_realm(tmp_path / "else"), office.clock)
    foreign = grant(stranger.join(stranger.token())).certificate
    assert "not signed" in refusal(registrar.answer(Renew(), foreign))
    given = grant(office.join(office.token())).certificate
    revoke(office.realm.authority, "n1", now=office.clock.now())
    assert "revoked" in refusal(registrar.answer(Renew(), given))
    office.clock.sleep(31 * DAY_S)
    assert "expired" in refusal(registrar.answer(Renew(), given))


def test_secrets_of_the_authority_are_its_owners_only(office: Office) -> None:
    grant(office.join(office.token()))
    files = realm_files(office.realm.authority)
    used = (office.realm.authority / "used").iterdir()
    assert {path.stat().st_mode & 0o777 for path in (files.key, files.token_key, *used)} == {0o600}


# Grants.


def test_installed_grant_is_good_credentials_for_its_owner_only(office: Office) -> None:
    office.realm.issue("n1")
    files = identity_files(office.realm.identities, "n1")
    ours = office.realm.credentials("n1")
    renew_list(office.realm.authority, now=office.clock.now())
    answer = office.registrar().answer(Renew(), ours.certificate)
    install(grant(answer), files)
    assert office.realm.credentials("n1").certificate == grant(answer).certificate
    written = (files.certificate, files.realm_ca, files.revocations)
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}


def test_older_list_in_a_grant_is_left_out(office: Office) -> None:
    office.realm.issue("n1")
    files = identity_files(office.realm.identities, "n1")
    ours = office.realm.credentials("n1")
    authority = open_authority(office.realm.authority)
    renew_list(office.realm.authority, now=office.clock.now())
    old = read_grant(write_grant(office.realm.authority, authority, ours.certificate))
    revoke(office.realm.authority, "n1", now=office.clock.now() + 60)
    new = read_grant(write_grant(office.realm.authority, authority, ours.certificate))
    install(new, files)
    install(old, files)
    assert files.revocations.read_bytes() == new.revocations


def test_grant_of_another_authority_key_or_name_is_refused(office: Office, tmp_path: Path) -> None:
    stranger = Office(make_realm(tmp_path / "else"), office.clock)
    given, foreign = grant(office.join(office.token())), grant(stranger.join(stranger.token()))
    pin = pin_of(given.authority)
    for wanted, offered in (
        (Wanted("n1", KEY.public_key(), pin), foreign),
        (Wanted("n1", OTHER_KEY.public_key(), pin), given),
        (Wanted("n2", KEY.public_key(), pin), given),
        (Wanted("n1", KEY.public_key()), Grant(foreign.certificate, given.authority)),
    ):
        with pytest.raises(UsageError):
            check_grant(offered, wanted)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_what_is_no_grant_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="no grant"):
        read_grant(content)


def test_grant_of_one_certificate_is_none(office: Office) -> None:
    ours = open_authority(office.realm.authority).certificate.public_bytes(Encoding.PEM)
    for content in (ours, ours * 3):
        with pytest.raises(UsageError, match="no grant"):
            read_grant(content)
