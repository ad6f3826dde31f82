"""What runs: rc.conf as sh reads it, one way in, scripts in the right order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.configuration import RECONCILER_SETTINGS, files

BASE = Path(__file__).resolve().parents[3] / "overlays/base"
SCRIPTS = sorted((BASE / "usr/local/etc/rc.d").iterdir())
# Of FreeBSD's own scripts: what the order of ours is seen from (13.1).
NATIVE = {
    "FILESYSTEMS": ((), ()),
    "ldconfig": (("FILESYSTEMS",), ("DAEMON",)),
    "random": (("FILESYSTEMS",), ("netif",)),
    "hostname": (("FILESYSTEMS",), ("netif",)),
    "netif": (("FILESYSTEMS",), ()),
    "NETWORKING": (("netif",), ()),
    "DAEMON": (("NETWORKING",), ()),
    "ntpd": (("DAEMON",), ()),
    "LOGIN": (("DAEMON",), ()),
}


def variables() -> dict[str, str]:
    done = subprocess.run(
        ["sh", "-c", f". {BASE}/etc/rc.conf\nset"], capture_output=True, text=True, check=True
    )
    lines = [line.partition("=") for line in done.stdout.splitlines()]
    return {name: value.strip("'") for name, _, value in lines}


def test_rc_conf_is_what_sh_can_read() -> None:
    subprocess.run(["sh", "-n", str(BASE / "etc/rc.conf")], check=True)
    said = variables()
    assert said["root_rw_mount"] == "NO"
    # Our updater owns the boot marks.
    assert said["gptboot_enable"] == "NO"
    # Identity is kept on cfg, so FreeBSD must not make its own.
    for name in ("hostid", "sshd_rsa", "sshd_ecdsa", "sshd_ed25519"):
        assert said[f"{name}_enable"] == "NO"
    assert said["fsck_y_enable"] == "YES"


def test_only_ssh_is_started_to_listen() -> None:
    said = variables()
    started = {name for name, value in said.items() if name.endswith("_enable") and value == "YES"}
    assert started == {
        f"{name}_enable"
        for name in (
            "fsck_y",
            "macula_firstboot",
            "macula_screen",
            "maculaos_update",
            "reconciler",
            "sshd",
            "pf",
            "ntpd",
            "watchdogd",
            "cron",
        )
    }
    assert said["syslogd_flags"] == "-ss"


def test_start_that_could_not_be_settled_is_not_healthy() -> None:
    # The check of an update asks whether the reconciler is enabled; its settings come later.
    assert variables()["reconciler_config"] == RECONCILER_SETTINGS
    assert not (BASE / RECONCILER_SETTINGS[1:]).exists()
    (unseeded,) = [
        file for file in files(None, "m", ()) if file.path == "/etc/rc.conf.d/reconciler"
    ]
    assert b'reconciler_enable="NO"' in (unseeded.content or b"")


def test_every_value_of_rc_conf_is_quoted() -> None:
    for line in (BASE / "etc/rc.conf").read_text().splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r'[a-z0-9_]+="[^"$`\\]*"', line)


def header(script: Path, word: str) -> tuple[str, ...]:
    found = re.findall(rf"^# {word}: (.*)$", script.read_text(), re.MULTILINE)
    return tuple(name for line in found for name in line.split())


def order() -> dict[str, set[str]]:
    """For every name: what comes before it."""
    before: dict[str, set[str]] = {name: set(requires) for name, (requires, _) in NATIVE.items()}
    for name, (_, later) in NATIVE.items():
        for other in later:
            before[other].add(name)
    for script in SCRIPTS:
        (name,) = header(script, "PROVIDE")
        before.setdefault(name, set()).update(header(script, "REQUIRE"))
        for other in header(script, "BEFORE"):
            before.setdefault(other, set()).add(name)
    return before


def all_before(name: str, before: dict[str, set[str]], path: tuple[str, ...] = ()) -> set[str]:
    assert name not in path, f"a circle: {' '.join((*path, name))}"
    found = set(before.get(name, ()))
    for each in before.get(name, ()):
        found |= all_before(each, before, (*path, name))
    return found


def test_machine_is_settled_before_anything_uses_its_settings() -> None:
    before = order()
    for name in before:
        all_before(name, before)
    for user in ("hostname", "netif", "LOGIN", "reconciler", "macula_screen"):
        assert "macula_firstboot" in all_before(user, before)
    settled = all_before("macula_firstboot", before)
    # Python's library has to be found, and keys need entropy; a factory reset comes first of all.
    assert {"FILESYSTEMS", "ldconfig", "random", "maculaos_update"} <= settled


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_follows_rc_subr(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 40
    assert f'name="{script.name}"' in text
    assert f'rcvar="{script.name}_enable"' in text
    assert text.rstrip().endswith('run_rc_command "$1"')
    subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_launcher_is_clean() -> None:
    subprocess.run(["shellcheck", str(BASE / "usr/local/sbin/macula-system")], check=True)


def words(file: str) -> list[list[str]]:
    lines = (BASE / file).read_text().splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def test_ssh_takes_keys_only() -> None:
    said = {line[0].lower(): line[1:] for line in words("etc/ssh/sshd_config")}
    assert said["authenticationmethods"] == ["publickey"]
    for name in ("passwordauthentication", "kbdinteractiveauthentication", "usepam"):
        assert said[name] == ["no"]
    assert said["permitrootlogin"] == ["prohibit-password"]
    assert said["hostkey"] == ["/cfg/ssh/ssh_host_ed25519_key"]
    assert said["authorizedkeysfile"] == ["/etc/ssh/authorized_keys/%u"]


@pytest.mark.skipif(shutil.which("sshd") is None, reason="sshd is not installed")
def test_sshd_takes_its_settings(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    kept = [
        line
        for line in (BASE / "etc/ssh/sshd_config").read_text().splitlines()
        # FreeBSD's own sshd knows it.
        if not line.startswith("VersionAddendum")
    ]
    file = tmp_path / "sshd_config"
    file.write_text("\n".join(kept).replace("/cfg/ssh/ssh_host_ed25519_key", str(key)))
    done = subprocess.run(
        [str(shutil.which("sshd")), "-t", "-f", str(file)], capture_output=True, text=True
    )
    assert "Bad configuration option" not in done.stderr
    assert "Unsupported option" not in done.stderr


def test_root_can_reach_git_with_the_key_of_the_machine() -> None:
    text = (BASE / "etc/ssh/ssh_config").read_text()
    assert "IdentityFile /cfg/identity/machine.key" in text
    assert "StrictHostKeyChecking yes" in text


def test_serial_line_and_screen_are_asked_for_a_login() -> None:
    lines = {line[0]: line for line in words("etc/ttys")}
    assert set(lines) == {"console", "ttyu0", "ttyv0"}
    assert lines["ttyu0"][-2:] == ["onifconsole", "secure"]
    assert "3wire.115200" in (BASE / "etc/ttys").read_text()


def test_every_log_is_bounded_and_made_at_start() -> None:
    bounded = {}
    for file in ("etc/newsyslog.conf", "etc/newsyslog.conf.d/macula.conf"):
        for line in words(file):
            if line[0].startswith("/"):
                path, _owner, _mode, count, size, _when, flags = (
                    line if len(line) == 7 else [line[0], "", *line[1:]]
                )
                bounded[path] = (int(count) + 1) * int(size)
                assert "C" in flags
    written = {line[-1] for line in words("etc/syslog.conf") if line[-1].startswith("/var/log/")}
    assert written <= set(bounded)
    var_kib = int((BASE / "conf/base/var/md_size").read_text()) // 2
    assert sum(bounded.values()) <= 5 * 1024 < var_kib // 4


def test_clock_cannot_be_asked_or_changed_from_outside() -> None:
    lines = [" ".join(line) for line in words("etc/ntp.conf")]
    assert "restrict default limited kod nomodify notrap noquery nopeer" in lines
    assert 'includefile "/etc/ntp.servers.conf"' in lines
