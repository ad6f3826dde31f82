"""``macula realm``: make a realm, give its nodes their identities, take them back.

Keys are never shown. How other machines join is in ``maculaos.cli.enrolment``.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads annotations at run time
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from maculaos.cli import enrolment
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security import authority, revoker

app = typer.Typer(no_args_is_help=True, help="Make a realm and give its nodes their identities.")
_people = Console(stderr=True, soft_wrap=True)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The realm, for example home or plant.example.")],
    out: Annotated[Path, typer.Option(help="The folder of the authority; guard its realm.key.")],
    days: Annotated[int, typer.Option(help="How long the authority lives.")] = authority.REALM_DAYS,
) -> None:
    """Make the certificate authority of a new realm."""
    files = authority.create_realm(
        out, name, now=SystemClock().now(), entropy=SystemEntropy(), days=days
    )
    typer.echo(str(files.certificate))
    _tell(f"The realm {name} has an authority; whoever has {files.key} decides who is in it.")
    _tell(f"Next: macula realm issue NODE --realm-dir {out} --out DIR")


@app.command()
def issue(
    node: Annotated[str, typer.Argument(help="The node's name: a-z, 0-9 and -.")],
    realm_dir: Annotated[Path, typer.Option(help="The folder that macula realm init wrote.")],
    out: Annotated[Path, typer.Option(help="The folder that gets a folder NODE.")],
    days: Annotated[int, typer.Option(help="How long the identity lives.")] = authority.NODE_DAYS,
    host: Annotated[
        list[str] | None, typer.Option(help="A DNS name or IP address to put in; repeat it.")
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Keep the key, and so the node id; sign it anew.")
    ] = False,
) -> None:
    """Give a node its key and certificate, or renew its certificate."""
    request = authority.Request(name=node, days=days, hosts=tuple(host or ()), is_renewal=renew)
    files = authority.issue(
        realm_dir, out, request, now=SystemClock().now(), entropy=SystemEntropy()
    )
    typer.echo(str(files.certificate))
    _tell(f"The node {node} has its identity in {files.key.parent}.")


@app.command()
def revoke(
    word: Annotated[
        str, typer.Argument(metavar="[NAME|SERIAL]", help="Left out: sign the list again as it is.")
    ] = "",
    *,
    realm_dir: Annotated[Path, typer.Option(help="The folder that macula realm init wrote.")],
    days: Annotated[int, typer.Option(help="How long the list is good.")] = revoker.LIST_DAYS,
) -> None:
    """Take a node's certificates back: sign a revocation list that names them."""
    now = SystemClock().now()
    if word:
        done = revoker.revoke(realm_dir, word, now=now, days=days)
    else:
        done = revoker.renew_list(realm_dir, now=now, days=days)
    typer.echo(str(done.path))
    _tell(f"List {done.number} has {len(done.serials)} certificates more than the last.")
    _tell(
        "Next: copy it to where credentials.revocations of each node says; for a node from Git,"
        " to realm.crl beside its certificate."
    )


enrolment.add_to(app)


def _tell(text: str) -> None:
    _people.print(escape(text), highlight=False)
