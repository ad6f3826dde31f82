"""The verbs of a Git host: ``serve-git`` with its own verbs, and ``serve-git-shell`` for sshd."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from reconciler.assembly import load_settings
from reconciler.cli.speech import EXIT_CODES, data, print_json
from reconciler.control import SOCKET_NAME, ask
from reconciler.hosting.backend import HostingLimits
from reconciler.hosting.forced import ORIGINAL_COMMAND, asked_of, serve_asked
from reconciler.hosting.repositories import Repositories
from reconciler.hosting.requests import Service
from reconciler.hosting.server import GitHost
from reconciler.journal import Journal
from reconciler.web.listening import Certificate, check_privacy, parse_endpoint
from reconciler.web.server import WebLimits, serving_web, tls_context

_MIB: Final = 1024 * 1024

app = typer.Typer(help="Host Git repositories, for sites without a Git server.")
tokens = typer.Typer(help="Tokens: who may read or write over HTTP.", no_args_is_help=True)
app.add_typer(tokens, name="token")

Root = Annotated[
    Path,
    typer.Option(
        "--root", envvar="RECONCILER_GIT_ROOT", metavar="DIR", help="Where the repositories lie."
    ),
]
Sync = Annotated[
    Path | None,
    typer.Option(
        "--sync", metavar="FILE", help="Settings of a reconciler that shall fetch after a push."
    ),
]
MayWrite = Annotated[bool, typer.Option("--write/--read", help="May push, or only fetch.")]
PushMib = Annotated[int, typer.Option(min=1, max=65_536, help="What one push may bring.")]
Reached = Annotated[
    list[str] | None, typer.Option("--repository", help="Only this one; repeatable.")
]


def add_to(parent: typer.Typer) -> None:
    """Add the verbs of this module."""
    parent.add_typer(app, name="serve-git")
    parent.command("serve-git-shell", epilog=EXIT_CODES)(serve_git_shell)


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def serve_git(  # noqa: PLR0913  # one for each option of the command
    context: typer.Context,
    root: Root,
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "",
    certificate: Annotated[Path | None, typer.Option(help="TLS: the chain, in PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="TLS: its key, mode 0600.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Plain text, since a proxy adds TLS.")
    ] = False,
    push_mib: PushMib = 256,
    sync: Sync = None,
) -> None:
    """Serve repositories over smart HTTP until SIGTERM or SIGINT."""
    context.obj = Repositories(root)
    if context.invoked_subcommand is not None:
        return
    if not http:
        raise UsageError("no address is named", "give --http HOST:PORT")
    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key belong together", "give both or none")
    paper = Certificate(chain=certificate, key=key) if certificate and key else None
    limits = HostingLimits(push_bytes=push_mib * _MIB)
    asyncio.run(_serve(context.obj, http, paper, limits, behind_proxy, sync))


@app.command(epilog=EXIT_CODES)
def init(context: typer.Context, name: Annotated[str, typer.Argument()]) -> None:
    """Make an empty repository."""
    data.print(str(context.obj.create(name)), markup=False, soft_wrap=True)


@tokens.command("add", epilog=EXIT_CODES)
def add_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument()],
    write: MayWrite = False,
    repository: Reached = None,
) -> None:
    """Make a token and print it, this once: only its hash is kept."""
    reached = tuple(repository or ())
    entropy = SystemEntropy()
    token = context.obj.add_token(name, may_write=write, repositories=reached, entropy=entropy)
    sys.stdout.write(f"{token}\n")


@tokens.command("remove", epilog=EXIT_CODES)
def remove_token(context: typer.Context, name: Annotated[str, typer.Argument()]) -> None:
    """Let a token open nothing any more, from the next request on."""
    context.obj.remove_token(name)


@tokens.command("list", epilog=EXIT_CODES)
def list_tokens(context: typer.Context) -> None:
    """List the tokens and what they open, as JSON."""
    records = context.obj.tokens()
    print_json(
        [
            {"name": one.name, "access": one.access, "repositories": list(one.repositories)}
            for one in records
        ]
    )


def serve_git_shell(
    root: Root,
    write: MayWrite = False,
    repository: Reached = None,
    push_mib: PushMib = 256,
    sync: Sync = None,
) -> None:
    """Serve one ssh connection: the forced command of a key in authorized_keys."""
    command = os.environ.get(ORIGINAL_COMMAND, "")
    asked = asked_of(command, may_write=write, names=tuple(repository or ()))
    limits = HostingLimits(push_bytes=push_mib * _MIB)
    status = serve_asked(Repositories(root), asked, limits)
    if status == 0 and asked.service is Service.WRITE:
        asyncio.run(_ask_to_sync(sync, _journal()))
    raise typer.Exit(status)


async def _serve(
    repositories: Repositories,
    http: str,
    paper: Certificate | None,
    limits: HostingLimits,
    behind_proxy: bool,
    sync: Path | None,
) -> None:
    try:
        endpoint = parse_endpoint(http)
    except ValueError as error:
        raise UsageError(str(error), "give --http HOST:PORT") from error
    check_privacy(endpoint, has_tls=paper is not None, behind_proxy=behind_proxy)
    repositories.prepare()
    repositories.tokens()
    journal = _journal()
    host = GitHost(repositories, limits, journal, lambda: _ask_to_sync(sync, journal))
    web = WebLimits(exchange_timeout_s=limits.timeout_s + 1, idle_timeout_s=60.0)
    tls = None if paper is None else tls_context(paper)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with serving_web(endpoint, host.handle, web, tls) as at:
        journal.note("serving", "", at=at, tls=tls is not None)
        await stopping.wait()
    journal.note("stopped")


def _journal() -> Journal:
    return Journal(sys.stderr, SystemClock())


async def _ask_to_sync(sync: Path | None, journal: Journal) -> None:
    """Tell a reconciler of this machine that there was a push; that none runs is no error."""
    if sync is None:
        return
    try:
        settings = load_settings(sync)
        await ask(settings.run_dir / SOCKET_NAME, {"do": "sync", "wait": False})
    except MaculaError as error:
        journal.cannot("ask the reconciler to sync", error)
