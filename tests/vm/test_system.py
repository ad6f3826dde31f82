"""The running system: disk, mounts, tuning, services, accounts, ports and slots; it only looks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from vm.booted import Appliance

_SETTING: Final = re.compile(r"^([a-z][\w.]*)=(\S+)$", re.MULTILINE)
_SYSCTL_CONF: Final = Path(__file__).parents[2] / "overlays/base/etc/sysctl.conf"


def test_every_partition_has_its_place_name_and_type(host: Any) -> None:
    listed = host.check_output("gpart show -lp vtbd0")
    assert "[CORRUPT]" not in listed
    names = re.findall(r"vtbd0p(\d)\s+(\w+)", listed)
    assert names == [
        ("1", "boot"), ("2", "efi"), ("3", "slotA"), ("4", "slotB"), ("5", "cfg"), ("6", "data"),
    ]  # fmt: skip
    kinds = re.findall(r"vtbd0p\d\s+([\w-]+)", host.check_output("gpart show -p vtbd0"))
    assert kinds[2:4] == ["freebsd-ufs", "freebsd-ufs"]
    assert "freebsd-ufs" not in kinds[4:], "gptboot would take it for a slot"


def test_root_is_a_slot_and_cannot_be_written_to(host: Any, appliance: Appliance) -> None:
    root = host.mount_point("/")
    assert root.device == f"/dev/gpt/slot{appliance.slot()}"
    assert root.filesystem == "ufs"
    assert "ro" in root.options
    for path in ("/x", "/usr/x", "/boot/x", "/usr/local/etc/x"):
        assert host.run("touch %s", path).rc != 0, f"{path} was written"


@pytest.mark.parametrize("path", ["/etc", "/var", "/tmp"])  # noqa: S108  # of the guest
def test_what_changes_lies_in_memory(host: Any, path: str) -> None:
    assert host.mount_point(path).filesystem in {"tmpfs", "ufs"}
    assert not host.mount_point(path).device.startswith("/dev/gpt/")
    assert host.run("touch %s/probe && rm %s/probe", path, path).rc == 0


@pytest.mark.parametrize("name", ["cfg", "data"])
def test_what_lasts_lies_on_its_partition(host: Any, name: str) -> None:
    mounted = host.mount_point(f"/{name}")
    assert mounted.device == f"/dev/gpt/{name}"
    assert "rw" in mounted.options or "ro" not in mounted.options


def test_data_took_the_rest_of_the_larger_disk(host: Any, appliance: Appliance) -> None:
    kib = int(host.check_output("df -k /data").splitlines()[-1].split()[1])
    taken_by_others = 1200
    assert kib / 1024 > (appliance.wants.disk_mib - taken_by_others) * 0.9


@pytest.mark.parametrize(("name", "value"), _SETTING.findall(_SYSCTL_CONF.read_text()))
def test_sysctl_is_what_the_image_says_or_more(host: Any, name: str, value: str) -> None:
    said = host.check_output("sysctl -n %s", name).strip()
    if value.isdigit() and int(value) > 1:
        assert int(said) >= int(value), "macula-system tune only raises"
    else:
        assert said == value


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("kern.ipc.maxsockbuf", 4 << 20),
        ("net.inet.udp.recvspace", 256 << 10),
        ("kern.racct.enable", 1),
    ],
)
def test_what_quic_and_limits_need_is_there(host: Any, name: str, floor: int) -> None:
    assert int(host.check_output("sysctl -n %s", name)) >= floor


@pytest.mark.parametrize("name", ["sshd", "syslogd", "ntpd", "pf", "cron"])
def test_service_runs(host: Any, name: str) -> None:
    assert host.run("service %s onestatus", name).rc == 0


@pytest.mark.parametrize("name", ["gptboot", "growfs", "sendmail", "inetd", "rpcbind", "savecore"])
def test_service_is_off(host: Any, name: str) -> None:
    assert f"/{name}\n" not in host.check_output("service -e") + "\n"


def test_nobody_follows_a_repository_that_no_seed_names(host: Any) -> None:
    assert "/reconciler\n" not in host.check_output("service -e") + "\n"


def test_no_account_has_a_password_and_few_have_a_shell(host: Any) -> None:
    accounts = [
        line.split(":") for line in host.file("/etc/master.passwd").content_string.splitlines()
    ]
    accounts = [fields for fields in accounts if len(fields) == 10]
    assert accounts
    assert not [fields[0] for fields in accounts if not fields[1].startswith("*")]
    shells = {fields[0] for fields in accounts if not fields[9].endswith(("/nologin", "/false"))}
    assert shells <= {"root", "uucp"}, "an account that nobody needs has a shell"
    assert host.user("root").shell == "/bin/sh"


def test_ssh_takes_keys_only(host: Any) -> None:
    said = host.check_output("sshd -T").lower()
    for line in ("passwordauthentication no", "kbdinteractiveauthentication no"):
        assert f"{line}\n" in said
    assert re.search(r"^permitrootlogin (prohibit-password|without-password)$", said, re.MULTILINE)


def test_host_key_is_the_one_kept_on_cfg(host: Any) -> None:
    keys = re.findall(r"^hostkey (\S+)$", host.check_output("sshd -T"), re.MULTILINE)
    assert keys == ["/cfg/ssh/ssh_host_ed25519_key"]
    assert host.file(keys[0]).mode == 0o600


def test_only_ssh_and_time_listen(host: Any) -> None:
    listening = {
        (fields[4], fields[5].rsplit(":", 1)[1])
        for line in host.check_output("sockstat -46l").splitlines()[1:]
        if len(fields := line.split()) >= 6
    }
    assert {(kind.rstrip("46"), port) for kind, port in listening} <= {
        ("tcp", "22"),
        ("udp", "123"),
    }


def test_firewall_is_on_and_blocks_by_default(host: Any) -> None:
    assert "Status: Enabled" in host.check_output("pfctl -s info")
    rules = host.check_output("pfctl -s rules")
    assert re.search(r"^block (drop )?in all", rules, re.MULTILINE)


def test_slots_hold_the_same_bytes_and_the_first_one_boots(host: Any, appliance: Appliance) -> None:
    sums = {host.check_output("sha256 -q /dev/gpt/slot%s", name) for name in "AB"}
    assert len(sums) == 1
    status = appliance.update_status()
    assert status["running"] == appliance.slot() == "A"
    assert status["phase"] == "idle"
    assert not status["on_trial"]
    assert appliance.marks() == {"A": ["bootme"], "B": []}


def test_machine_has_an_identity_of_its_own(host: Any) -> None:
    uuid = host.check_output("sysctl -n kern.hostuuid").strip()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid)
    assert uuid != "00000000-0000-0000-0000-000000000000"
    assert host.check_output("hostname").strip() == "looked-at"


def test_nothing_complained_while_it_started(host: Any) -> None:
    said = host.check_output("dmesg -a")
    for complaint in ("Read-only file system", "unknown oid", "No such file or directory"):
        lines = [line for line in said.splitlines() if complaint in line]
        assert not lines, lines


def test_settings_survive_a_power_cut(fresh: Any) -> None:
    appliance = fresh()
    before = appliance.ssh.run("sysctl", "-n", "kern.hostuuid")
    appliance.power_cycle()
    assert appliance.ssh.run("sysctl", "-n", "kern.hostuuid") == before
    assert appliance.slot() == "A"
