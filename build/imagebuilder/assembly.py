"""From an order to jobs: which steps a build has, what each is made from, and what does it.

The one place where they are put together. A fact stands beside every step whose outputs it decides
about; what is missing here would be built from yesterday's files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import digests
from imagebuilder.builder import Job
from imagebuilder.disk.formats import Format
from imagebuilder.plan import Step
from imagebuilder.release.source import is_url
from imagebuilder.steps import media, papers, pkgbase, release, software, stick, system
from imagebuilder.steps.workshop import are_readable
from imagebuilder.system import CHECKSUMS, appliance_of, installer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.recipe import InstallerPart
    from imagebuilder.steps.workshop import Workshop
    from imagebuilder.system import System


def assemble(workshop: Workshop) -> tuple[Job, ...]:
    """Every job of this build, in order.

    An installer has all that the appliance's slot and boot partitions need, by the same names and
    from the same facts: what an image left behind is not made again.
    """
    order = workshop.order
    above = _software(workshop) if order.has_packages else ()
    appliance, installer = appliance_of(order), order.recipe.installer
    below = (*_release(workshop), *above, *_system(workshop, appliance), _boot(workshop))
    if installer is None:
        return (*below, *_appliance(workshop, appliance))
    return (*below, *_stick(workshop, installer))


def _appliance(workshop: Workshop, appliance: System) -> tuple[Job, ...]:
    """What becomes of a slot: a disk for machines, and an update for those that run."""
    order = workshop.order
    volumes = Step(name="volumes", title="make the empty partitions", facts=_sizes(order))
    disk = _disk(order, appliance, ("slot", "boot", "volumes"))
    shipped = (
        _job(workshop, disk, media.make_disk),
        *_forms(workshop, appliance),
        _bundle(workshop),
        _materials(workshop, appliance),
    )
    return (
        _job(workshop, volumes, media.make_volumes),
        *shipped,
        _sums(workshop, appliance, shipped),
    )


def _stick(workshop: Workshop, installer: InstallerPart) -> tuple[Job, ...]:
    """The system that installs, and the stick that holds both."""
    order = workshop.order
    own = installer_of(order, installer)
    checksums = Step(
        name=own.step(CHECKSUMS),
        title="write down what machines are to get",
        needs=("slot", "boot"),
    )
    size = {"seed_mib": str(installer.seed_mib)}
    seed = Step(
        name=own.step("seed"),
        title="make the partition for answers",
        facts={"seed": order.seed} | size | _time(order),
    )
    disk = _disk(order, own, ("slot", "boot", own.step("slot"), seed.name), size)
    shipped = (
        _job(workshop, disk, partial(stick.make_stick, installer, own)),
        *_forms(workshop, own),
        _materials(workshop, own),
    )
    return (
        _job(workshop, checksums, stick.write_checksums, are_readable),
        *_system(workshop, own),
        _job(workshop, seed, partial(stick.make_seed, installer)),
        *shipped,
        _sums(workshop, own, shipped),
    )


def _job(
    workshop: Workshop,
    step: Step,
    action: Callable[[Workshop, Site], None],
    is_whole: Callable[[Path], bool] | None = None,
) -> Job:
    if is_whole is None:
        return Job(step=step, action=partial(action, workshop))
    return Job(step=step, action=partial(action, workshop), is_whole=is_whole)


def _release(workshop: Workshop) -> tuple[Job, ...]:
    """The base system; of packages it has the same steps, so that all others are the same."""
    order = workshop.order
    if order.is_pkgbase:
        return _base_packages(workshop)
    facts = {
        "release": order.release,
        "arch": order.arch,
        "sets": " ".join(order.recipe.release.sets),
        "place": release.place_of_sets(order),
    }
    sets = Step(name="sets", title="fetch and check the sets of the release", facts=facts)
    unpack = Step(name="unpack", title="read the sets", needs=("sets",))
    return (
        _job(workshop, sets, release.fetch_sets, partial(release.are_sets_there, order)),
        _job(workshop, unpack, release.unpack_sets, are_readable),
    )


def _base_packages(workshop: Workshop) -> tuple[Job, ...]:
    order = workshop.order
    facts = {
        "release": order.release,
        "arch": order.arch,
        "place": pkgbase.place_of_packages(order),
    }
    fetched = Step(
        name="sets",
        title="fetch and check the packages of the base system",
        facts=facts | _data(order, order.recipe.release.pkgbase),
    )
    unpack = Step(name="unpack", title="read the base packages", needs=("sets",))
    return (
        _job(workshop, fetched, pkgbase.fetch_base, partial(pkgbase.are_packages_there, order)),
        _job(workshop, unpack, pkgbase.unpack_base, are_readable),
    )


def _software(workshop: Workshop) -> tuple[Job, ...]:
    order = workshop.order
    selection = software.selection_of(order)
    url = software.url_of(order, selection)
    return (
        _job(workshop, _wheel(order), software.make_wheel),
        _job(
            workshop,
            Step(
                name="catalogue",
                title="fetch and believe the catalogue of packages",
                facts={"url": url, "files": _catalogue_files(url)}
                | _data(order, order.recipe.contents.packages),
            ),
            software.fetch_catalogue,
            # A catalogue that is there stays, so that builds repeat, until it is asked for anew.
            lambda _: not order.refresh,
        ),
        _job(workshop, _packages(order), software.gather, are_readable),
    )


def _wheel(order: Order) -> Step:
    own = [digests.of_folder(order.checkout / name) for name in software.OWN_FOLDERS]
    files = digests.of_files(order.checkout / name for name in software.OWN_FILES)
    return Step(
        name="wheel",
        title="make the wheel of our own packages",
        facts={"sources": digests.of_words(*own, files)},
    )


def _packages(order: Order) -> Step:
    contents = order.recipe.contents
    return Step(
        name="packages",
        title="gather packages and wheels",
        needs=("wheel", "catalogue"),
        facts={"release": order.version, "arch": order.arch}
        | _data(order, contents.packages, contents.python, contents.requirements),
    )


def _catalogue_files(url: str) -> str:
    """What a folder's catalogue is; a server's is looked at when it is fetched."""
    if is_url(url):
        return ""
    # Catalogues lie at the top, whatever they are called; packages below, with their digests.
    return digests.of_files(sorted(path for path in Path(url).iterdir() if path.is_file()))


def _system(workshop: Workshop, which: System) -> tuple[Job, ...]:
    order = workshop.order
    names = which.overlays
    trees = [digests.of_folder(order.checkout / "overlays" / name) for name in names]
    overlays = Step(
        name=which.step("overlays"),
        title="read the overlays",
        facts={"names": " ".join(names), "trees": digests.of_words(*trees)},
    )
    slot = Step(
        name=which.step("slot"),
        title="write the file system of a slot",
        needs=(which.step("tree"),),
        facts={"bytes": str(order.recipe.disk.sizes().slot_bytes)} | _time(order),
    )
    return (
        _job(workshop, overlays, partial(system.read_overlays, which), are_readable),
        _job(workshop, _tree(workshop, which), partial(system.make_tree, which), are_readable),
        _job(workshop, slot, partial(system.write_slot, which)),
    )


def _tree(workshop: Workshop, which: System) -> Step:
    order = workshop.order
    contents = order.recipe.contents
    modules = (f"{part.names} {part.why}" for part in order.recipe.module)
    return Step(
        name=which.step("tree"),
        title="lay everything together, prune, check",
        needs=("unpack", *(("packages",) if order.has_packages else ()), *which.sources),
        facts={
            "stem": which.stem,
            "layers": ", ".join(upper.title for upper in which.uppers),
            "wanted": " ".join(which.wanted),
            "release": order.release,
            "commit": order.revision.commit,
            "key": workshop.key.public.key_id,
            "modules": digests.of_words(*modules),
            "sysctls": digests.of_folder(order.data(contents.sysctls)),
        }
        | _time(order)
        | _data(order, contents.prune, contents.accounts, contents.layout),
    )


def _boot(workshop: Workshop) -> Job:
    order = workshop.order
    facts = {"seed": order.system_seed, "arch": order.arch} | _sizes(order)
    boot = Step(name="boot", title="make the boot partitions", needs=("unpack",), facts=facts)
    return _job(workshop, boot, media.make_boot)


def _disk(
    order: Order, which: System, needs: tuple[str, ...], more: Mapping[str, str] | None = None
) -> Step:
    facts = {"seed": order.seed, "arch": order.arch} | _sizes(order) | dict(more or {})
    return Step(name=which.step("disk"), title="write the disk", needs=needs, facts=facts)


def _forms(workshop: Workshop, which: System) -> tuple[Job, ...]:
    wanted, stem = workshop.order.recipe.formats, {"stem": workshop.order.stem}

    def form(name: str, facts: Mapping[str, str] = stem) -> Step:
        return Step(
            name=which.step(name),
            title=f"write the disk as {name}",
            needs=(which.step("disk"),),
            facts=facts,
        )

    zstd = form("zstd", stem | {"window": str(wanted.zstd_window_log)})
    return (
        *(
            _job(workshop, form(name), partial(media.convert, Format(name)))
            for name in wanted.disks
        ),
        _job(workshop, zstd, media.compress_zstd),
        *((_job(workshop, form("xz"), media.compress_xz),) if wanted.xz else ()),
    )


def _bundle(workshop: Workshop) -> Job:
    order = workshop.order
    step = Step(
        name="bundle",
        title="make the update bundle",
        needs=("slot",),
        facts={
            "stem": order.stem,
            "commit": order.revision.commit,
            "key": workshop.key.public.key_id,
        }
        | _time(order),
    )
    return _job(workshop, step, papers.make_bundle)


def _materials(workshop: Workshop, which: System) -> Job:
    order = workshop.order
    step = Step(
        name=which.step("materials"),
        title="list what is in the image",
        needs=("sets", *(("packages",) if order.has_packages else ())),
        facts={"stem": order.stem} | _time(order),
    )
    return _job(workshop, step, papers.list_materials)


def _sums(workshop: Workshop, which: System, shipped: Sequence[Job]) -> Job:
    step = Step(
        name=which.step("sums"),
        title="write checksums and sign them",
        needs=(which.step("tree"), which.step("slot"), *(job.step.name for job in shipped)),
        facts={"key": workshop.key.public.key_id, "stem": workshop.order.stem},
    )
    return _job(workshop, step, papers.seal)


def _sizes(order: Order) -> dict[str, str]:
    return {"sizes": repr(order.recipe.disk.sizes())} | _time(order)


def _time(order: Order) -> dict[str, str]:
    return {"time": str(order.revision.committed_at)}


def _data(order: Order, *names: str) -> dict[str, str]:
    """Files of image/ as facts."""
    return {name: digests.of_file(order.data(name)) for name in names}
