"""The peer: ``ansible-pull`` over a repository of items that want a file and a running program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

PULL = Path(sys.executable).with_name("ansible-pull")
# An item of the reconciler is a file of settings and a program that runs; so is one here.
ITEM = """\
    - name: settings of {name}
      ansible.builtin.copy:
        dest: "{folder}/{name}.conf"
        content: "name={name}\\n"
        mode: "0600"
    - name: program of {name}
      ansible.builtin.command: "pgrep --exact --full 'sleep {number}'"
      changed_when: false
      failed_when: false
"""


class AnsibleSite:
    """A repository with a playbook of ``count`` items, and a folder that it was applied to."""

    def __init__(self, root: Path, count: int) -> None:
        self._root = root
        (root / "applied").mkdir()
        self._upstream = Upstream(root)
        items = (
            ITEM.format(name=f"item{number}", folder=root / "applied", number=100_000 + number)
            for number in range(count)
        )
        play = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
        self._upstream.commit({"local.yml": play + "".join(items)})

    def pull(self, *options: str) -> float:
        """One ``ansible-pull``; seconds of the whole process."""
        words = [
            str(PULL),
            *options,
            "--url",
            str(self._upstream.path),
            "--directory",
            str(self._root / "checkout"),
            "--inventory",
            "localhost,",
            "--checkout",
            "main",
        ]
        environment = {
            "PATH": f"{PULL.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._root),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }
        began = time.perf_counter()
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)
        took = time.perf_counter() - began
        if done.returncode != 0:
            raise RuntimeError(f"ansible-pull failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return took


def figures_of(root: Path, count: int, runs: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Seconds of full runs with nothing to change, and of runs that look at Git only."""
    site = AnsibleSite(root, count)
    site.pull()
    yield "full", tuple(site.pull() for _ in range(runs))
    yield "only-if-changed", tuple(site.pull("--only-if-changed") for _ in range(runs * 3))
