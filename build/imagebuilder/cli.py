"""The ``imagebuilder`` command: it builds images, tells their sizes, verifies and boots them.

A verb per function; data on standard output, words for people on standard error. Run from a
checkout: ``PYTHONPATH=build python -m imagebuilder``.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from imagebuilder.image import build_image
from imagebuilder.order import RECIPE, Checkout, Wishes, settle
from imagebuilder.outputs import published, sizes_of, verify_folder
from imagebuilder.revision import Revision, revision_of, version_of
from imagebuilder.screen import Bars, Lines
from imagebuilder.vm.cli import boot
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SystemEntropy

if TYPE_CHECKING:
    from imagebuilder.screen import Screen

DONE: Final = 0
NOT_AS_WANTED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
_MIB: Final = 1 << 20
ROOT: Final = Path(__file__).resolve().parents[2]

# What typer raises for words that it does not know: the class above this one has no public name.
_WrongWords: Final[type[typer.BadParameter]] = typer.BadParameter.__mro__[1]
_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 a file is not as its maker left it, or a tool failed; "
    "2 wrong use, or something is missing."
)

app = typer.Typer(
    help=f"Build the appliance image on any Linux machine, without root.\n\n{_EXIT_CODES}",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="boot")(boot)
people = Console(stderr=True, highlight=False, soft_wrap=True)
data = Console(highlight=False, soft_wrap=True)

Out = Annotated[str, typer.Option(help="Where the image goes; var/image if empty.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(epilog=_EXIT_CODES)
def build(  # noqa: PLR0913  # one parameter for each option of the command
    profile: Annotated[
        str, typer.Option(help="A file of image/ laid over the recipe, as in installer.")
    ] = "",
    release: Annotated[str, typer.Option(help="FreeBSD release, as in 15.1.")] = "",
    arch: Annotated[str, typer.Option(help="amd64 or aarch64.")] = "",
    sets: Annotated[
        str,
        typer.Option(help="URL or folder with MANIFEST, base.txz, kernel.txz; or a repository."),
    ] = "",
    base: Annotated[
        str, typer.Option(help="What the base system is made of: sets or pkgbase.")
    ] = "",
    pkgs: Annotated[str, typer.Option(help="URL or folder of packages, or none.")] = "",
    out: Out = "",
    cache: Annotated[str, typer.Option(help="What is kept between builds.")] = "",
    wheels: Annotated[str, typer.Option(help="Folder of wheels and sources of the lock.")] = "",
    key: Annotated[str, typer.Option(help="The key that signs; made at first if empty.")] = "",
    lock: Annotated[str, typer.Option(help="Pins of releases; image/release.lock if empty.")] = "",
    recipe: Annotated[str, typer.Option(help="Instead of image/image.toml.")] = "",
    commit: Annotated[str, typer.Option(help="Where there is no Git: the commit.")] = "",
    epoch: Annotated[int, typer.Option(help="Where there is no Git: its time.")] = 0,
    refresh: Annotated[bool, typer.Option(help="Fetch the catalogue of packages anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build what is not up to date, and say how large everything became."""
    wishes = Wishes(
        profile=profile,
        release=release,
        arch=arch,
        sets=sets,
        base=base,
        packages=pkgs,
        out=out,
        cache=cache,
        wheels=wheels,
        key=key,
        lock=lock,
        refresh=refresh,
    )
    checkout = Checkout(folder=ROOT, recipe=Path(recipe or RECIPE))
    runner, clock = SystemRunner(), SystemClock()
    if commit or epoch:
        revision = Revision(version=version_of(ROOT), commit=commit, committed_at=epoch)
    else:
        revision = revision_of(ROOT, runner)
    order = settle(wishes, checkout, revision)
    if revision.is_changed:
        _say("the checkout has changes that are in no commit: the image is not of the commit alone")
    start = clock.monotonic()
    with ExitStack() as stack:
        bars = people.is_terminal
        screen: Screen = stack.enter_context(Bars(people)) if bars else Lines(people)
        done = build_image(order, runner, clock, SystemEntropy(), screen)
    _say(f"{len(done)} steps done in {clock.monotonic() - start:.1f} s" if done else "up to date")
    _show_sizes(order.out, as_json=as_json)
    _say(f"the image is in {order.out}")


@app.command(epilog=_EXIT_CODES)
def sizes(
    out: Annotated[Path, typer.Argument(help="Folder of an image.")] = Path("var/image"),
    as_json: AsJson = False,
) -> None:
    """Tell how large the parts of a built image are."""
    _show_sizes(out, as_json=as_json)


@app.command(epilog=_EXIT_CODES)
def verify(
    out: Annotated[Path, typer.Argument(help="Folder of an image.")],
    key: Annotated[
        Path, typer.Option(help="Public key of its maker; image.pem.pub of var/keys by default.")
    ] = ROOT / "var/keys/image.pem.pub",
) -> None:
    """Check the signature, every file, the update bundle, and that both slots are equal."""
    problems = verify_folder(out, key)
    for problem in problems:
        _say(problem)
    if problems:
        raise typer.Exit(NOT_AS_WANTED)
    data.print(f"{len(published(out))} files are as their maker left them", markup=False)


def _show_sizes(out: Path, *, as_json: bool) -> None:
    content = sizes_of(out)
    if as_json:
        data.print_json(json.dumps(content))
    else:
        people.print(_table("What is in a slot", _system_rows(content)))
        people.print(_table("What is in the folder", content["files"].items()))


def _system_rows(content: Any) -> list[tuple[str, int]]:
    system = content["system"]
    groups = (system["layers"], system["folders"], {"all files": system["whole"]})
    rows = [(name, part["bytes"]) for group in groups for name, part in group.items()]
    usage = content["slot"]
    return [*rows, ("used of the slot", usage["used_bytes"]), ("the slot", usage["size_bytes"])]


def _table(title: str, rows: Any) -> Table:
    table = Table(title=title)
    table.add_column("what")
    table.add_column("MiB", justify="right")
    for name, size in rows:
        table.add_row(name, f"{size / _MIB:.2f}")
    return table


def _say(text: str) -> None:
    people.print(text, markup=False)


def main() -> int:
    """Run the command; every error is one line for people. Returns the exit status."""
    try:
        # None at the end of a verb, or the status that it asked for.
        return int(app(standalone_mode=False) or DONE)
    except _WrongWords as error:
        _complain(error.format_message())
        return WRONG_USE
    except UsageError as error:
        _complain(str(error))
        return WRONG_USE
    except (MaculaError, OSError) as error:
        _complain(str(error))
        return NOT_AS_WANTED
    except (KeyboardInterrupt, typer.Abort):
        _say("imagebuilder: stopped; the next run goes on from what was done")
        return INTERRUPTED


def _complain(text: str) -> None:
    """Tell an error in one line."""
    _say(f"imagebuilder: {' '.join(text.split())}")


if __name__ == "__main__":
    sys.exit(main())
