"""``macula cert``: what a certificate says. It reads certificates only, and refuses key files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003  # typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from cryptography.hazmat.primitives.hashes import SHA256
from rich.console import Console
from rich.markup import escape

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.security.certificates import (
    CertificateExpired,
    CertificateNotYetValid,
    MalformedIdentity,
    check_dates,
    identity_of,
    is_authority,
    realm_of_authority,
    written_moment,
)
from maculaos.security.credentials import read_certificate

if TYPE_CHECKING:
    from cryptography import x509

app = typer.Typer(no_args_is_help=True, help="Look at certificates.")
_COLOURS = {"valid": "green", "EXPIRED": "bold red", "NOT YET VALID": "bold yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A certificate in words; an authority has no name and no node id."""

    kind: str
    realm: str
    name: str | None
    node_id: str | None
    uri: str | None
    issuer: str
    not_before: str
    not_after: str
    state: str
    sha256: str


# A callback keeps ``show`` a word of its own while it is the only command.
@app.callback()
def _cert() -> None:
    pass


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A PEM file: node.crt or realm.crt.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whose certificate it is, who issued it, and how long it is good."""
    try:
        description = describe(read_certificate(file), SystemClock().now())
    except MalformedIdentity as error:
        raise UsageError(f"{file}: {error}", "name a certificate of a Macula realm") from error
    if as_json:
        typer.echo(json.dumps(asdict(description), indent=2))
        return
    console = Console(soft_wrap=True, highlight=False)
    for field, text in asdict(description).items():
        if text is not None:
            style = _COLOURS.get(text) if field == "state" else None
            console.print(f"{field.replace('_', ' '):<12}{escape(text)}", style=style)


def describe(certificate: x509.Certificate, now: float) -> Description:
    """What ``certificate`` says, at ``now`` in epoch seconds.

    Raises ``MalformedIdentity`` if it is not one of ours. It does not say who would believe it:
    that takes the realm's authority.
    """
    identity = None if is_authority(certificate) else identity_of(certificate)
    return Description(
        kind="realm authority" if identity is None else "node",
        realm=realm_of_authority(certificate) if identity is None else identity.realm,
        name=None if identity is None else identity.name,
        node_id=None if identity is None else identity.node_id.hex(),
        uri=None if identity is None else identity.uri,
        issuer=certificate.issuer.rfc4514_string(),
        not_before=written_moment(certificate.not_valid_before_utc),
        not_after=written_moment(certificate.not_valid_after_utc),
        state=_state(certificate, now),
        sha256=certificate.fingerprint(SHA256()).hex(),
    )


def _state(certificate: x509.Certificate, now: float) -> str:
    try:
        check_dates(certificate, now)
    except CertificateExpired:
        return "EXPIRED"
    except CertificateNotYetValid:
        return "NOT YET VALID"
    return "valid"
