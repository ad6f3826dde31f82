"""The command: wrong use is one clear line and status 2; a seed is judged before it travels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import appliance
from appliance.seed import parse_seed
from unit.appliance.test_seed import FULL

LIBRARY = Path(appliance.__file__).parents[1]
LAUNCHER = LIBRARY.parents[1] / "sbin/macula-system"
ROOT = Path(__file__).resolve().parents[3]


def launch(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MACULA_PYTHON": sys.executable,
        "MACULA_LIB": f"{LIBRARY}:{ROOT}",
    }
    return subprocess.run(
        [str(LAUNCHER), *argv], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("argv", [("check", "/nonexistent"), ("identity",)], ids=" ".join)
def test_wrong_use_is_one_line_and_status_2(argv: tuple[str, ...]) -> None:
    done = launch(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("macula-system: ")


def test_check_says_every_problem_of_a_seed(tmp_path: Path) -> None:
    file = tmp_path / "seed.toml"
    file.write_text(FULL.replace("igb0", "igb 0").replace("4701", "0"))
    done = launch("check", str(file))
    assert done.returncode == 2
    assert [line.split(": ")[2] for line in done.stderr.splitlines()] == [
        "network.interface",
        "firewall.quic_ports[2]",
    ]


def test_check_of_a_good_seed_is_0(tmp_path: Path) -> None:
    file = tmp_path / "seed.toml"
    file.write_text(FULL)
    assert launch("check", str(file)).returncode == 0


def test_the_seeds_in_the_manual_are_seeds() -> None:
    manual = (ROOT / "docs/first-boot.md").read_text()
    blocks = [block.partition("```")[0] for block in manual.split("```toml\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        parse_seed(block.encode())


def test_every_key_is_in_the_manual() -> None:
    manual = (ROOT / "docs/first-boot.md").read_text()
    table = ""
    for line in FULL.splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif " = " in line:
            assert f"`{table}{line.partition(' ')[0]}`" in manual
