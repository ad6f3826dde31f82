"""The start's shell: what changed is restarted, in order; what fails is said and passed over."""

from __future__ import annotations

from pathlib import Path

from unit.appliance.startyard import SEED, Machine

SYSCTL_CONF = Path(__file__).resolve().parents[3] / "overlays/base/etc/sysctl.conf"


def restarted(machine: Machine) -> list[tuple[str, ...]]:
    return [argv[1:] for argv in machine.asked if argv[0] == "service"]


def test_nothing_is_restarted_while_the_machine_starts(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.start()
    assert restarted(machine) == []


def test_changed_seed_restarts_only_what_reads_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "cfg/seed.toml").write_bytes(SEED)
    machine.start()
    changed = SEED.replace(b"edge-7", b"edge-8") + b"[firewall]\nquic_ports = [4433, 4434]\n"
    (tmp_path / "cfg/seed.toml").write_bytes(changed)
    machine.startup().settle(is_running=True)
    assert restarted(machine) == [("hostname", "restart"), ("pf", "reload")]


def test_part_of_the_seed_that_went_takes_its_files_along(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "cfg/seed.toml").write_bytes(SEED)
    machine.start()
    (tmp_path / "cfg/seed.toml").write_bytes(b"version = 1\n")
    machine.startup().settle(is_running=True)
    assert not (tmp_path / "etc/macula/reconciler.yaml").exists()
    assert not (tmp_path / "etc/ssh/authorized_keys/root").exists()
    assert ("reconciler", "restart") in restarted(machine)


def test_service_that_does_not_restart_is_said(tmp_path: Path) -> None:
    machine = Machine(tmp_path, failing={"service"})
    machine.startup().settle(is_running=True)
    assert "hostname does not restart: it fails" in machine.said


def test_growth_that_fails_does_not_end_the_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path, failing={"gpart"})
    machine.startup().grow()
    assert machine.said[-1].startswith("the data partition stays as it is: ")


def test_tune_sets_what_fits_the_memory(tmp_path: Path) -> None:
    machine = Machine(tmp_path, memory_bytes=16 << 30)
    machine.startup().tune()
    assert machine.tunables["kern.ipc.maxsockbuf"] == str(16 << 20)


def read_by_rc(machine: Machine, file: Path) -> None:
    """What rc.d/sysctl does with one of its files, each time."""
    for line in file.read_text().splitlines():
        name, is_set, value = line.partition("=")
        if is_set and not line.startswith("#"):
            machine.tunables[name] = value


def test_tuned_values_outlast_the_second_reading_of_sysctl_conf(tmp_path: Path) -> None:
    machine = Machine(tmp_path, memory_bytes=16 << 30)
    machine.startup().tune()
    tuned = dict(machine.tunables)
    read_by_rc(machine, SYSCTL_CONF)
    assert machine.tunables["kern.ipc.maxsockbuf"] != tuned["kern.ipc.maxsockbuf"]
    read_by_rc(machine, tmp_path / "etc/sysctl.conf.local")
    assert {name: machine.tunables[name] for name in tuned} == tuned


def test_name_that_the_kernel_lacks_is_not_asked_for_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, unknown={"net.inet.udp.maxdgram"})
    machine.startup().tune()
    kept = (tmp_path / "etc/sysctl.conf.local").read_text()
    assert "net.inet.udp.maxdgram" not in kept
    assert "net.inet.udp.recvspace=" in kept
    assert machine.said == []


def test_file_that_cannot_be_read_or_written_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "etc/pf.ports.conf/x").mkdir(parents=True)
    machine.start()
    assert 'hostname="macula-' in machine.text("/etc/rc.conf.d/hostname")
    assert any("cannot write /etc/pf.ports.conf" in line for line in machine.said)
    assert any("write /etc/ntp.servers.conf" in line for line in machine.said)
