"""An image from an order: locks, key, steps, and what they made put where people look for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from imagebuilder.assembly import assemble
from imagebuilder.builder import Builder
from imagebuilder.disk.signature import generate_key, load_signing_key
from imagebuilder.ledger import Ledger
from imagebuilder.outputs import publish
from imagebuilder.packages.store import ContentStore
from imagebuilder.release.download import Downloader
from imagebuilder.steps.workshop import Workshop
from imagebuilder.system import product_of
from maculaos.errors import UsageError
from maculaos.host.files import exclusive_lock, make_private_directory

if TYPE_CHECKING:
    from pathlib import Path

    from imagebuilder.builder import Outcome
    from imagebuilder.disk.signature import SigningKey
    from imagebuilder.order import Order
    from imagebuilder.screen import Screen
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner
    from maculaos.host.entropy import Entropy


def build_image(
    order: Order, runner: CommandRunner, clock: Clock, entropy: Entropy, screen: Screen
) -> tuple[str, ...]:
    """Build what is not up to date into ``order.out``; the names of the steps that were done.

    Raises ``AlreadyLocked`` while another build uses the folder or the cache, ``UsageError`` for
    what is missing, and ``CommandFailed`` when a tool fails.
    """
    for folder in (order.cache, order.work, order.out):
        _make(folder)
    with ExitStack() as stack:
        for folder in (order.cache, order.work):
            stack.enter_context(exclusive_lock(folder / "lock"))
        workshop = Workshop(
            order=order,
            store=ContentStore(order.cache / "store"),
            downloader=Downloader(
                clock=clock, report=lambda _, done, total: screen.advance(done, total or 0)
            ),
            key=signing_key(order, entropy),
        )
        ledger = Ledger(order.work / "steps")
        builder = Builder(
            ledger=ledger,
            logs=order.work / "logs",
            runner=runner,
            clock=clock,
            screen=screen,
            family=product_of(order).family,
        )
        outcome = builder.run(assemble(workshop))
        publish(_published(order, ledger, outcome), order.out)
    return outcome.done


def signing_key(order: Order, entropy: Entropy) -> SigningKey:
    """The key of the order; the usual one is made when it is used first."""
    if not order.key.exists():
        if not order.makes_key:
            raise UsageError(f"KEY={order.key}: no such file", "leave KEY away to have a key made")
        make_private_directory(order.key.parent)
        generate_key(order.key, entropy)
    return load_signing_key(order.key)


def _published(order: Order, ledger: Ledger, outcome: Outcome) -> list[Path]:
    """Every output that bears the name of the image, and all that the last step made."""
    sums = product_of(order).step("sums")
    return [
        ledger.folder_of(step) / name
        for step, receipt in outcome.receipts.items()
        for name in receipt.outputs
        if name.startswith(f"{order.stem}.") or step == sums
    ]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make {folder}: {error.strerror}", "name another folder"
        ) from error
