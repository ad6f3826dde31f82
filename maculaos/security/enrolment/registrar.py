"""The registrar: decides who gets a certificate over the network, and signs it.

A token is good for one key. Whoever asks again with the same token and the same key, because an
answer was lost, gets the same certificate again; any other key is refused. What is signed is on
record before it is given away, so neither a replay nor a crash makes two nodes of one token.
It knows no sockets (``listener`` does), and blocks while it writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically
from maculaos.identity import check_name
from maculaos.security.authority import NODE_DAYS, Request, hosts_of, realm_files, sign_node
from maculaos.security.certificates import (
    CertificateRefused,
    NoCertificate,
    check_peer,
    realm_of_authority,
)
from maculaos.security.credentials import read_revocations
from maculaos.security.enrolment.grant import write_grant
from maculaos.security.enrolment.messages import (
    Answer,
    AskAuthority,
    AuthorityIs,
    Granted,
    Join,
    Question,
    Refused,
    Renew,
)
from maculaos.security.ledger import MAX_TOKEN_LIFE_S, Ledger, guarded
from maculaos.security.requests import SigningRequest, read_request
from maculaos.security.revocations import NOTHING_REVOKED, RevocationList
from maculaos.security.tokens import (
    NUMBER_SIZE,
    JoinToken,
    TokenRefused,
    check_token,
    pin_of,
    write_token,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from maculaos.host.clock import Clock
    from maculaos.host.entropy import Entropy
    from maculaos.security.authority import Authority

_KEY_SIZE: Final = 32
_SECRET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Who may join, for how long from now, and where to ask (``host:port``, may be empty)."""

    name: str
    valid_s: float
    address: str = ""


class Registrar:
    """The authority in ``directory``, as far as other machines meet it."""

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        clock: Clock,
        entropy: Entropy,
        *,
        days: int = NODE_DAYS,
    ) -> None:
        """Certificates are signed for ``days``."""
        self.directory = directory
        self.authority = authority
        self._clock = clock
        self._entropy = entropy
        self._days = days
        self._realm = realm_of_authority(authority.certificate)
        self._ledger = Ledger(directory)

    def invite(self, invitation: Invitation) -> str:
        """A new join token; raises ``UsageError`` for a life that is no life or too long."""
        if not 1 <= invitation.valid_s <= MAX_TOKEN_LIFE_S:
            raise UsageError("a token is good for a second up to 30 days", "choose --valid 1h")
        token = JoinToken(
            number=self._entropy.draw(NUMBER_SIZE),
            realm=self._realm,
            name=check_name(invitation.name),
            pin=pin_of(self.authority.certificate),
            expires_at=int(self._clock.now() + invitation.valid_s),
            address=invitation.address,
        )
        with guarded(self.directory):
            return write_token(token, self._token_key(may_make=True))

    def answer(self, question: Question, shown: x509.Certificate | None) -> Answer:
        """The answer to a machine that showed that certificate in its TLS handshake, if any."""
        try:
            if isinstance(question, AskAuthority):
                return AuthorityIs(self.authority.certificate.public_bytes(Encoding.PEM))
            return Granted(write_grant(self.directory, self.authority, self._give(question, shown)))
        except UsageError as error:
            return Refused(error.what, error.hint)
        except CertificateRefused as refusal:
            return Refused(str(refusal), "ask for a new identity")

    def sign(self, request: SigningRequest) -> x509.Certificate:
        """Sign a request that somebody brought by hand, and answers for."""
        wanted = Request(name=request.name, days=self._days)
        with guarded(self.directory):
            return self._sign(wanted, request)

    def forget_expired(self) -> None:
        """Delete the records of what has expired."""
        with guarded(self.directory):
            self._ledger.forget_expired(self._clock.now())

    def _give(self, question: Join | Renew, shown: x509.Certificate | None) -> x509.Certificate:
        return self._join(question) if isinstance(question, Join) else self._renew(shown)

    def _join(self, question: Join) -> x509.Certificate:
        request = read_request(question.request)
        with guarded(self.directory):
            token = check_token(question.token, self._token_key(), self._clock.now())
            if token.name != request.name:
                raise TokenRefused(f"the token is for the node {token.name}, not {request.name}")
            given = self._ledger.given_for(token.number)
            if given is not None:
                return _given_again(given, request)
            wanted = Request(name=request.name, days=self._days)
            certificate = self._sign(wanted, request)
            self._ledger.use(token.number, certificate)
            return certificate

    def _renew(self, shown: x509.Certificate | None) -> x509.Certificate:
        if shown is None:
            raise NoCertificate("no certificate was shown")
        with guarded(self.directory):
            now, ours = self._clock.now(), self.authority.certificate
            identity = check_peer((shown,), ours, self._realm, now, self._revoked())
            hosts = hosts_of(shown)
            wanted = Request(name=identity.name, days=self._days, hosts=hosts)
            key = shown.public_key()
            return self._sign(wanted, SigningRequest(identity.name, key))  # type: ignore[arg-type]  # ours are Ed25519

    def _sign(self, wanted: Request, request: SigningRequest) -> x509.Certificate:
        now = self._clock.now()
        certificate = sign_node(self.authority, wanted, request.key, now=now, entropy=self._entropy)
        self._ledger.record(wanted.name, certificate)
        return certificate

    def _revoked(self) -> RevocationList:
        path = realm_files(self.directory).revocations
        if not path.exists():
            return NOTHING_REVOKED
        return read_revocations(path, self.authority.certificate)

    def _token_key(self, *, may_make: bool = False) -> bytes:
        path = realm_files(self.directory).token_key
        if may_make and not path.exists():
            write_atomically(path, self._entropy.draw(_KEY_SIZE), _SECRET_MODE)
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            raise TokenRefused("this authority has made no token") from None
        if len(key) != _KEY_SIZE:
            raise UsageError(f"{path} is no token key", "delete it: all tokens end with it")
        return key


def _given_again(given: x509.Certificate, request: SigningRequest) -> x509.Certificate:
    if given.public_key() != request.key:
        raise TokenRefused("the token was used already", "ask for a new one: macula realm invite")
    return given
