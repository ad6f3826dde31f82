"""The verb by which an operator takes what the reconciler does not do by itself: ``consent``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from maculaos.errors import UsageError
from reconciler.assembly import load_settings, store_of
from reconciler.cli.speech import EXIT_CODES, Config, data
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.generations import not_awaited

if TYPE_CHECKING:
    from reconciler.settings import ReconcilerSettings

Refused = Annotated[str, typer.Argument(metavar="REVISION", help="The commit: its whole hash.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command(epilog=EXIT_CODES)(consent)


def consent(revision: Refused, config: Config = None) -> None:
    """Follow that one commit though its history is another, or though it removes much."""
    asyncio.run(_consent(load_settings(config), revision))
    data.print(f"consented to {revision}", markup=False)


async def _consent(settings: ReconcilerSettings, revision: str) -> None:
    request = {"do": "consent", "revision": revision}
    try:
        await ask(settings.run_dir / SOCKET_NAME, request)
    except NoReconciler:
        store = store_of(settings)
        with store.locked():
            progress = store.progress()
            if progress.awaits_consent(revision):
                store.save_progress(progress.consenting(revision))
            elif revision == progress.goal:
                store.save_progress(progress.consenting_removals(revision))
            else:
                raise UsageError(*not_awaited(progress)) from None
