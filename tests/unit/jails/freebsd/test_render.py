"""The files that FreeBSD reads, letter by letter; ``golden/`` holds what they should be."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import render
from jails.freebsd.model.jailconf import read_configuration
from jails.freebsd.place import Place
from jails.naming import derive
from jails.spec import (
    Hooks,
    Isolation,
    JailSpec,
    Network,
    NetworkKind,
    Restart,
    RestartPolicy,
    SharedFolder,
)

GOLDEN = Path(__file__).parent / "golden"
PLACE = Place(Path("/data/jails/n1"))
HOST = JailSpec(
    name="n1",
    command=("/usr/local/bin/python3", "-m", "maculaos", "--config", "{data}/etc/node's.yaml"),
    environment={"GREETING": 'say "$HOME"; exit', "STATE": "{data}/state"},
)
VNET = replace(
    HOST,
    restart=Restart(policy=RestartPolicy.NEVER),
    stop_deadline_s=2.5,
    isolation=Isolation(
        network=Network(
            kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1"
        ),
        user="macula",
        mounts=(SharedFolder(source="/data/media", target="/media"),),
        hooks=Hooks(prepare=(("/bin/mkdir", "-p", "/x"),), release=(("/bin/rmdir", "/x"),)),
    ),
)
SHARED = replace(
    HOST,
    restart=Restart(policy=RestartPolicy.ON_FAILURE, base_s=1.5, max_s=60.0, steady_s=0.5),
    isolation=Isolation(
        network=Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")
    ),
)


def check(name: str, text: str) -> None:
    """Compare with the golden file; a change of it is a change of what runs."""
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "spec"), [("host", HOST), ("vnet", VNET), ("shared", SHARED)])
def test_jail_conf_is_as_it_should_be_and_the_model_reads_it(name: str, spec: JailSpec) -> None:
    text = render.jail_conf(spec, PLACE, derive("n1"))
    check(f"{name}.conf", text)
    parameters = read_configuration(text, "macula-n1")
    assert parameters is not None
    assert parameters["path"] == ["/data/jails/n1/root"]


def test_fstab_is_as_it_should_be() -> None:
    wanted = render.mounts(VNET, PLACE, Path("/"), render.SHARED_PARTS)
    check("fstab", render.fstab(wanted))


@pytest.mark.parametrize(
    ("name", "spec"), [("start", HOST), ("start-of-a-user", VNET), ("start-on-failure", SHARED)]
)
def test_the_start_script_is_as_it_should_be(name: str, spec: JailSpec) -> None:
    check(name, render.start_script(spec))


def test_the_program_script_is_as_it_should_be() -> None:
    check("program", render.program_script(HOST))


@pytest.mark.parametrize("name", ["start", "start-of-a-user", "program"])
def test_the_scripts_are_clean_shell(name: str) -> None:
    linter = Path(sys.executable).with_name("shellcheck")
    found = subprocess.run(
        # SC2016 thinks that a quoted $ of the spec should mean something: it must not.
        [linter, "-s", "sh", "-e", "SC2016", GOLDEN / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    assert subprocess.run(["/bin/sh", "-n", GOLDEN / name], check=False).returncode == 0


@given(
    base_s=st.floats(allow_nan=False), max_s=st.floats(allow_nan=False), steady_s=st.floats(0, 1e9)
)
def test_every_restart_is_numbers_that_a_shell_reads(
    base_s: float, max_s: float, steady_s: float
) -> None:
    restart = Restart(base_s=base_s, max_s=max_s, steady_s=steady_s)
    script = render.start_script(replace(HOST, restart=restart))
    said = dict(re.findall(r"^(base_ms|max_ms|steady_s)=([0-9]{1,13})$", script, re.MULTILINE))
    assert set(said) == {"base_ms", "max_ms", "steady_s"}
    assert int(said["base_ms"]) > 0


@pytest.mark.parametrize("text", ['a"b', "a;b", "a$b", "a\\b", "a\nb", "a{b"])
def test_what_jail_conf_would_misread_is_never_written(text: str) -> None:
    network = Network(kind=NetworkKind.SHARED, interface=text, address="10.88.0.5/32")
    spec = replace(HOST, isolation=Isolation(network=network))
    with pytest.raises(ValueError, match=r"cannot stand in jail\.conf"):
        render.jail_conf(spec, PLACE, derive("n1"))


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(words=st.lists(WORDS, min_size=1, max_size=4), value=WORDS)
def test_a_shell_reads_the_program_script_as_it_was_meant(words: list[str], value: str) -> None:
    spec = JailSpec(name="n1", command=("/x", *words), environment={"KEY": value})
    lines = render.program_script(spec).split("\n", 2)
    read = shlex.split(lines[2])
    meant = [word.replace("{data}", "/data") for word in words]
    assert read[:3] == ["exec", "/usr/bin/env", "-i"]
    assert read[-len(meant) - 1 :] == ["/x", *meant]
    assert f"KEY={value.replace('{data}', '/data')}" in read


def test_a_real_shell_runs_it_with_exactly_that_environment(tmp_path: Path) -> None:
    awkward = 'it\'s "$HOME" `id`; \\ *\n#'
    spec = JailSpec(name="n1", command=("/usr/bin/env", "-0"), environment={"A": awkward})
    script = render.program_script(spec).replace("cd /data", f"cd {tmp_path}")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert found == {"A": awkward, "HOME": "/data", "LANG": "C.UTF-8", "PATH": render._PATH}
