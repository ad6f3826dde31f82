"""``macula realm invite``, ``serve``, ``join`` and ``sign``: how a new machine becomes a node.

The private key is made on the new machine and never leaves it. Over the network a token opens the
door; without one, a request and its answer are carried by hand.
"""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.files import make_private_directory, write_atomically
from maculaos.identity import InvalidIdentity, check_name
from maculaos.security.authority import (
    NODE_DAYS,
    IdentityFiles,
    identity_files,
    new_key,
    open_authority,
    write_key,
)
from maculaos.security.credentials import read_key
from maculaos.security.enrolment.asking import Ticket
from maculaos.security.enrolment.asking import join as ask_to_join
from maculaos.security.enrolment.grant import (
    MAX_GRANT_SIZE,
    Wanted,
    check_grant,
    install,
    read_grant,
    write_grant,
)
from maculaos.security.enrolment.listener import listening
from maculaos.security.enrolment.registrar import Invitation, Registrar
from maculaos.security.requests import MAX_REQUEST_SIZE, new_request, read_request
from maculaos.security.tokens import JoinToken, read_token

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from maculaos.addresses import Address

DEFAULT_PORT: Final = 4700
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_people = Console(stderr=True, soft_wrap=True)

RealmDir = Annotated[Path, typer.Option(help="The folder that macula realm init wrote.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (invite, serve, join, sign):
        app.command()(verb)


def invite(
    node: Annotated[str, typer.Argument(help="The name of the node that may join.")],
    realm_dir: RealmDir,
    valid: Annotated[str, typer.Option(help="For how long: 90s, 15m, 1h, 7d.")] = "1h",
    at: Annotated[str, typer.Option(help="Where macula realm serve listens, host:port.")] = "",
) -> None:
    """Print a join token: good for one node, once, and for a while."""
    address = str(_address(at)) if at else ""
    invitation = Invitation(name=_name(node), valid_s=seconds(valid), address=address)
    typer.echo(_registrar(realm_dir).invite(invitation))
    _tell(f"Whoever has this line can become {node} within {valid}: pass it on in secret.")
    _tell("Next, on the new machine: macula realm join TOKEN --out DIR")


def serve(
    realm_dir: RealmDir,
    listen: Annotated[str, typer.Option(help="Where to listen.")] = f"127.0.0.1:{DEFAULT_PORT}",
    days: Annotated[int, typer.Option(help="How long certificates live.")] = NODE_DAYS,
) -> None:
    """Let machines join and renew until a signal ends it; beside the authority's key."""
    asyncio.run(_serve(_registrar(realm_dir, days), _address(listen)))


def join(
    token: Annotated[str, typer.Argument(help="The line that macula realm invite printed.")] = "",
    out: Annotated[Path, typer.Option(help="The folder that gets a folder NODE.")] = Path(),
    at: Annotated[str, typer.Option(help="Where to ask, if the token does not say.")] = "",
    request: Annotated[Path | None, typer.Option(help="Write a request; ask nobody.")] = None,
    answer: Annotated[Path | None, typer.Option(help="Take the answer to a request.")] = None,
    name: Annotated[str, typer.Option(help="The node's name, if there is no token.")] = "",
) -> None:
    """Make a key on this machine and get it a certificate, with a token or by hand."""
    invited = read_token(token) if token else None
    node = invited.name if invited else _name(name)
    files = identity_files(out, node)
    if answer is not None:
        _take_answer(_read(answer, MAX_GRANT_SIZE), node, files, invited)
        return
    key = _key(files)
    if request is not None:
        write_atomically(request, new_request(node, key))
        typer.echo(str(request))
        _tell(f"Next, where the authority is: macula realm sign {request} --out FILE")
        return
    if invited is None:
        raise UsageError("a token is missing", "ask for one, or use --name with --request")
    address = _address(at or invited.address)
    ticket = Ticket(token, invited.pin, new_request(node, key))
    grant = asyncio.run(ask_to_join(address, ticket))
    check_grant(grant, Wanted(node, key.public_key(), invited.pin))
    install(grant, files)
    _tell_joined(files, invited.realm)


def sign(
    request: Annotated[Path, typer.Argument(help="What macula realm join --request wrote.")],
    realm_dir: RealmDir,
    out: Annotated[Path, typer.Option(help="Where to write the answer; nothing in it is secret.")],
    days: Annotated[int, typer.Option(help="How long the certificate lives.")] = NODE_DAYS,
) -> None:
    """Sign a request that was brought by hand; you answer for who made it."""
    registrar = _registrar(realm_dir, days)
    wanted = read_request(_read(request, MAX_REQUEST_SIZE))
    certificate = registrar.sign(wanted)
    write_atomically(out, write_grant(realm_dir, registrar.authority, certificate))
    typer.echo(str(out))
    _tell(f"The answer makes its reader the node {wanted.name}.")
    _tell(f"Next, on that machine: macula realm join --name {wanted.name} --answer FILE --out DIR")


def seconds(text: str) -> float:
    """A length of time such as ``90s``, ``15m``, ``1h`` or ``7d``; raises ``UsageError``."""
    matched = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if matched is None:
        raise UsageError(f"{text!r} is not a length of time", "write 90s, 15m, 1h or 7d")
    return float(int(matched[1]) * _UNITS[matched[2]])


async def _serve(registrar: Registrar, where: Address) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    clock, entropy = SystemClock(), SystemEntropy()
    async with listening(registrar, where.host, where.port, clock, entropy) as address:
        typer.echo(str(address))
        _tell("Machines can join and renew here; Ctrl-C ends it.")
        await stopping.wait()


def _registrar(realm_dir: Path, days: int = NODE_DAYS) -> Registrar:
    authority = open_authority(realm_dir)
    return Registrar(realm_dir, authority, SystemClock(), SystemEntropy(), days=days)


def _key(files: IdentityFiles) -> Ed25519PrivateKey:
    """A key of this machine: made now, or left by an attempt that got no answer."""
    if files.certificate.exists():
        renew = f"macula cert renew {files.key.parent} --at HOST:PORT"
        raise UsageError(
            f"{files.certificate} exists already",
            f"renew it with: {renew}; if it has expired, delete it and join again: the key stays",
        )
    if files.key.exists():
        return read_key(files.key)
    key = new_key(files, SystemEntropy())
    make_private_directory(files.key.parent)
    write_key(files.key, key)
    return key


def _take_answer(
    content: bytes, node: str, files: IdentityFiles, invited: JoinToken | None
) -> None:
    grant = read_grant(content)
    pin = None if invited is None else invited.pin
    identity = check_grant(grant, Wanted(node, read_key(files.key).public_key(), pin))
    install(grant, files)
    _tell_joined(files, identity.realm)


def _tell_joined(files: IdentityFiles, realm: str) -> None:
    typer.echo(str(files.certificate))
    node = files.key.parent.name
    _tell(f"This machine is the node {node} of {realm}; its identity is in {files.key.parent}.")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name a file") from error


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except InvalidAddress as error:
        raise UsageError(str(error), "say where with --at HOST:PORT") from error


def _name(name: str) -> str:
    try:
        return check_name(name)
    except InvalidIdentity as error:
        raise UsageError(str(error), "give a token, or a name") from error


def _tell(text: str) -> None:
    _people.print(escape(text), highlight=False)
