"""The verbs of media carried by hand: ``bundle create``, ``bundle verify`` and ``bundle apply``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from reconciler.assembly import load_settings
from reconciler.bundles.media import create, folder_of, put, verified
from reconciler.cli.speech import EXIT_CODES, Config, data, say
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.settings import check_branch
from reconciler.status import short_revision

if TYPE_CHECKING:
    from reconciler.bundles.manifest import Manifest
    from reconciler.settings import ReconcilerSettings

app = typer.Typer(help="Carry a branch by hand, in one file.", no_args_is_help=True)

Bundle = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.")]
Repository = Annotated[
    Path, typer.Option("--repository", metavar="DIR", help="A clone, or a bare repository.")
]
SigningKey = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="An SSH key to sign it with.")
]
Signers = Annotated[
    Path | None,
    typer.Option(
        "--signers", metavar="FILE", help="Allowed signers; without one, unsigned is fine."
    ),
]


def add_to(parent: typer.Typer) -> None:
    """Add the verbs of this module."""
    parent.add_typer(app, name="bundle")


@app.command("create", epilog=EXIT_CODES)
def bundle_create(
    bundle: Bundle,
    repository: Repository,
    branch: Annotated[str, typer.Option(help="The branch to carry.")] = "main",
    sign: SigningKey = None,
) -> None:
    """Write a branch with its whole history into FILE."""
    try:
        check_branch(branch)
    except ValueError as error:
        raise UsageError(str(error), "give --branch NAME") from error
    _print(create(repository, branch, bundle.absolute(), SystemClock().now(), sign))


@app.command("verify", epilog=EXIT_CODES)
def bundle_verify(bundle: Bundle, signers: Signers = None) -> None:
    """Check that FILE is whole, and with --signers who signed it; change nothing."""
    with verified(bundle, bundle.absolute().parent, signers) as (manifest, _):
        _print(manifest)


@app.command("apply", epilog=EXIT_CODES)
def bundle_apply(bundle: Bundle, config: Config = None, signers: Signers = None) -> None:
    """Check FILE, put it where the settings fetch a bundle from, and let the reconciler look."""
    settings = load_settings(config)
    destination = _destination(settings)
    with verified(bundle, folder_of(destination), signers) as (manifest, content):
        if manifest.branch != settings.repository.branch:
            followed = settings.repository.branch
            what = f"the bundle carries {manifest.branch}, and {followed} is followed"
            raise UsageError(what, "make one of that branch")
        put(content, destination)
    _print(manifest)
    try:
        asyncio.run(ask(settings.run_dir / SOCKET_NAME, {"do": "sync", "wait": False}))
    except NoReconciler:
        say(["none runs here; the next one fetches it"])


def _destination(settings: ReconcilerSettings) -> Path:
    """The local remote whose name ends in ``.bundle``; raises ``UsageError``."""
    repository = settings.repository
    for url in (repository.url, *(one.url for one in repository.fallbacks)):
        if "://" not in url and url.endswith(".bundle"):
            return Path(url)
    raise UsageError(
        "the settings fetch from no bundle",
        "let repository.url, or the url of a fallback, be a path that ends in .bundle",
    )


def _print(manifest: Manifest) -> None:
    said = f"{manifest.branch} {short_revision(manifest.revision)} {manifest.size} bytes"
    data.print(said, markup=False)
