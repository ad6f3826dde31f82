"""``macula cert``: what a certificate says, and a new one for the key that is there.

Keys are read by ``renew`` alone, to show the authority whose they are, and never shown.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path  # noqa: TC003  # typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from cryptography.hazmat.primitives.hashes import SHA256
from rich.console import Console
from rich.markup import escape

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.security.authority import identity_files
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
from maculaos.security.credentials import read_certificate, read_key
from maculaos.security.enrolment.asking import renew as ask_to_renew
from maculaos.security.enrolment.grant import Wanted, check_grant, install
from maculaos.security.tokens import pin_of

if TYPE_CHECKING:
    from cryptography import x509

app = typer.Typer(no_args_is_help=True, help="Look at certificates, and renew them.")
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
    serial: str
    state: str
    sha256: str


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


@app.command()
def renew(
    folder: Annotated[Path, typer.Argument(help="The node's folder, with node.crt and node.key.")],
    at: Annotated[str, typer.Option(help="Where macula realm serve listens, host:port.")],
) -> None:
    """Get a new certificate for the key that is there, before the old one expires."""
    files = identity_files(folder.parent, folder.absolute().name)
    try:
        address = parse_address(at)
        identity = identity_of(read_certificate(files.certificate))
    except InvalidAddress as error:
        raise UsageError(str(error), "say where with --at HOST:PORT") from error
    except MalformedIdentity as error:
        raise UsageError(f"{files.certificate}: {error}", "name a node's folder") from error
    authority, key = read_certificate(files.realm_ca), read_key(files.key)
    grant = asyncio.run(ask_to_renew(address, files))
    check_grant(grant, Wanted(identity.name, key.public_key(), pin_of(authority)))
    install(grant, files)
    typer.echo(str(files.certificate))
    typer.echo("Next: macula reload, or SIGHUP to the node; no link is lost.", err=True)


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
        serial=f"{certificate.serial_number:x}",
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
