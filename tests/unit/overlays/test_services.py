"""What runs: rc.conf as sh reads it, one way in, scripts in the right order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.configuration import RECONCILER_SETTINGS, files

BASE = Path(__file__).resolve().parents[3] / "overlays/base"
# rc(8) looks at the first folder up to FILESYSTEMS, and at both from there on.
EARLY = sorted((BASE / "etc/rc.d").iterdir())
LATE = sorted((BASE / "usr/local/etc/rc.d").iterdir())
SCRIPTS = [*EARLY, *LATE]
# Of FreeBSD's own scripts: what the order of ours is seen from.
NATIVE = {
    "fsck": ((), ()),
    "root": (("fsck",), ()),
    "mountcritlocal": (("root",), ()),
    "FILESYSTEMS": (("root", "mountcritlocal"), ()),
    "ldconfig": (("FILESYSTEMS",), ("DAEMON",)),
    "kldxref": (("FILESYSTEMS",), ("netif",)),
    "kld": (("kldxref",), ()),
    "devmatch": (("kld",), ("netif",)),
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
            "macula_fsck",
            "devmatch",
            "macula_firstboot",
            "macula_screen",
            "maculaos_update",
            "reconciler",
            "sshd",
            "pf",
            "pf_fallback_rules",
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
    # Which interfaces there are is known once their drivers are loaded.
    assert "devmatch" in settled


def test_python_runs_only_when_its_library_can_be_found() -> None:
    # /usr/local/lib is in no program of the base system, but in what ldconfig writes to /var.
    before = order()
    for script in LATE:
        assert "ldconfig" in all_before(script.name, before), script.name


def test_partitions_are_repaired_before_they_are_mounted() -> None:
    before = order()
    (script,) = EARLY
    assert "fsck" in all_before(script.name, before)
    assert script.name in all_before("mountcritlocal", before)
    assert script.name in all_before("root", before)
    # Nothing of packages, and no script of theirs, is there so early.
    assert not re.search(r"/usr/local/(s?bin|lib)", script.read_text())


def checks(folder: Path, fstab: str, failing: str) -> list[str]:
    """What macula_fsck runs and warns of; ``failing`` are the calls of fsck_ffs that fail."""
    (folder / "fstab").write_text(fstab)
    (folder / "rc.subr").write_text(
        "load_rc_config() { :; }\n"
        "run_rc_command() { macula_fsck_start; }\n"
        'warn() { echo "warning: $*"; }\n'
        f'fsck_ffs() {{ echo "$*"; case "$*" in {failing}) return 3 ;; esac; }}\n'
    )
    text = EARLY[0].read_text()
    text = text.replace("/etc/rc.subr", f"{folder}/rc.subr")
    text = text.replace("/etc/fstab", f"{folder}/fstab")
    done = subprocess.run(
        ["sh", "-c", text, "sh", "start"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("none", ["-p /dev/gpt/cfg", "-p /dev/gpt/data"]),
        (
            "-p*cfg",
            ["-p /dev/gpt/cfg", "-y -R /dev/gpt/cfg", "-p /dev/gpt/data"],
        ),
        (
            "*cfg",
            [
                "-p /dev/gpt/cfg",
                "-y -R /dev/gpt/cfg",
                "warning: /dev/gpt/cfg is missing or damaged",
                "-p /dev/gpt/data",
            ],
        ),
    ],
)
def test_damage_is_repaired_or_told_and_never_ends_the_start(
    tmp_path: Path, failing: str, expected: list[str]
) -> None:
    assert checks(tmp_path, (BASE / "etc/fstab").read_text(), failing) == expected


def test_partitions_that_are_not_mounted_are_not_touched(tmp_path: Path) -> None:
    assert checks(tmp_path, "# /dev/gpt/cfg\n", "none") == []


@pytest.mark.parametrize("launcher", ["macula-system", "maculaos-update"])
def test_programs_of_packages_are_found_at_start(tmp_path: Path, launcher: str) -> None:
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\necho "$PATH"\n')
    python.chmod(0o755)
    # All that rc(8) and service(8) give.
    given = "/sbin:/bin:/usr/sbin:/usr/bin"
    done = subprocess.run(
        ["/bin/sh", str(BASE / "usr/local/sbin" / launcher)],
        env={"PATH": given, "MACULA_PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=True,
    )
    # What is asked for by name is the base system's, if that has it.
    assert done.stdout.strip() == f"{given}:/usr/local/sbin:/usr/local/bin"


def test_reconciler_finds_git_at_start() -> None:
    text = (BASE / "usr/local/etc/rc.d/reconciler").read_text()
    assert 'export PATH="${PATH}:/usr/local/sbin:/usr/local/bin"\n' in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_follows_rc_subr(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) <= 40
    assert f'name="{script.name}"' in text
    assert f'rcvar="{script.name}_enable"' in text
    assert text.rstrip().endswith('run_rc_command "$1"')
    subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shell_is_clean() -> None:
    launchers = sorted((BASE / "usr/local/sbin").iterdir())
    subprocess.run(["shellcheck", *map(str, (*launchers, *SCRIPTS))], check=True)


def test_ntpd_can_give_up_root() -> None:
    # rc.d/ntpd keeps it root if its settings name any of these files.
    for line in (BASE / "etc/ntp.conf").read_text().splitlines():
        assert not re.match(r"[ \t]*(crypto|driftfile|key|logfile|statsdir)", line)


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
