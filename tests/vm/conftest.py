"""Fixtures of the booted image, and the rule that only ``make test-vm`` collects these tests.

Without ``--image`` nothing here is collected: a whole system on a translator takes minutes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from imagebuilder.release.transport import HttpTransport, TransportError
from imagebuilder.vm.folder import find_image
from imagebuilder.vm.kvm import choose_accelerator
from imagebuilder.vm.machine import PROGRAM, Accelerator, Firmware
from maculaos.errors import UsageError
from maculaos.host.commands import SystemRunner
from vm.booted import Appliance, Bench, Wants
from vm.ssh import ALIAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
WRONG_USE: Final = 2
# A machine on the translator takes minutes to start, and a trial ten minutes to fail.
TEST_LIMIT_S: Final = 4 * 3600
_RELEASES: Final = "https://download.freebsd.org/releases/"
_TOOLS: Final = (PROGRAM, "qemu-img", "ssh", "scp", "ssh-keyscan", "ssh-keygen", "git", "mcopy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The image, and how to run it."""
    group = parser.getgroup("booted image")
    group.addoption("--image", help="a disk image, or the folder with one")
    group.addoption("--firmware", default="bios,uefi", help="bios, uefi or both")
    group.addoption("--accelerator", default="", help="kvm or tcg; found out if not given")
    group.addoption("--serial-logs", default="var/test-vm", help="where serial logs are kept")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whether to pass over a file of this folder: always, without an image."""
    if config.getoption("--image", default=None) is None and collection_path.suffix == ".py":
        return True
    return None


def pytest_configure(config: pytest.Config) -> None:
    """End with status 2 where there is nothing to boot, or nothing to boot it with."""
    place = config.getoption("--image", default=None)
    if place is None:
        return
    try:
        find_image(Path(place))
    except UsageError as error:
        pytest.exit(f"make test-vm: {error}{_whether_one_can_be_made()}", WRONG_USE)
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.exit(f"make test-vm: not installed: {', '.join(missing)}", WRONG_USE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and give it time."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.timeout(TEST_LIMIT_S))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a machine runs once with each firmware that was asked for."""
    if "firmware" in metafunc.fixturenames:
        wanted = str(metafunc.config.getoption("--firmware")).split(",")
        metafunc.parametrize("firmware", [Firmware(name) for name in wanted], scope="session")


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The image, the accelerator and the key of this run."""
    given = request.config.getoption("--accelerator")
    chosen = Accelerator(given) if given else choose_accelerator(SystemRunner()).accelerator
    return Bench.set_up(
        find_image(Path(request.config.getoption("--image"))).resolve(),
        chosen,
        ROOT / request.config.getoption("--serial-logs"),
        tmp_path_factory.mktemp("key"),
    )


@pytest.fixture(scope="session")
def appliance(
    bench: Bench, firmware: Firmware, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    """One machine for all tests that only look; no repository is followed."""
    wants = Wants(name="looked-at", firmware=firmware)
    with Appliance(bench, wants, tmp_path_factory.mktemp("appliance")) as booted:
        booted.first_boot()
        yield booted


@pytest.fixture
def host(appliance: Appliance) -> Any:
    """The machine, as testinfra sees it."""
    return testinfra_host(appliance)


@pytest.fixture
def fresh(
    bench: Bench, firmware: Firmware, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Appliance]]:
    """``fresh(seed=...)``: a machine of this test alone, after its first boot."""
    begun: list[Appliance] = []

    def boot(**more: Any) -> Appliance:
        name = request.node.originalname.removeprefix("test_").replace("_", "-")[:40].strip("-")
        wants = Wants(name=name, firmware=firmware, **more)
        booted = Appliance(bench, wants, tmp_path)
        begun.append(booted)
        booted.first_boot()
        return booted

    yield boot
    for booted in begun:
        booted.close()


def testinfra_host(appliance: Appliance) -> Any:
    """A testinfra host over the connection that all share; ``controlpersist=0``: it is ours."""
    # Here, so that `make test` does not load it. It ships no types.
    import testinfra  # type: ignore[import-untyped]

    where = f"ssh://{ALIAS}?controlpersist=0&timeout=60&ssh_config={appliance.ssh.config}"
    return testinfra.get_host(where)


def _whether_one_can_be_made() -> str:
    try:
        with HttpTransport(silence_max_s=5).get(_RELEASES, 0):
            return ""
    except TransportError:
        return (
            "; no FreeBSD release can be reached from here either, so give its sets: "
            "make image SETS=FOLDER"
        )
