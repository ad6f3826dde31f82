"""UEFI: the firmware of this host starts, and its console is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.vm.folder import find_ovmf
from imagebuilder.vm.machine import Firmware
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from integration.image_vm.conftest import Start

# The firmware has much to do: some 10 s on the translator, more on a busy host.
SOON_S = 15.0


@pytest.mark.timeout(180)
def test_uefi_firmware_is_seen_and_keeps_its_own_variables(start: Start) -> None:
    try:
        installed = find_ovmf()
    except UsageError as error:
        pytest.skip(str(error))
    machine = start(firmware=Firmware.UEFI, memory_mib=128)
    # The tiny guest has no EFI partition: the firmware says that it found nothing on the disk.
    machine.wait_line("BdsDxe: .*(UEFI Misc Device|No bootable option)", SOON_S)
    variables = machine.folder / "vars.fd"
    assert variables.stat().st_size == installed.variables.stat().st_size
    assert variables != installed.variables
