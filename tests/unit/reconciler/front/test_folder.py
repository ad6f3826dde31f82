"""The folder of traffic files: what is new is read, however coarse the clock of its file system."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING

from maculaos.host.files import write_atomically
from reconciler.front.folder import Folder

if TYPE_CHECKING:
    from pathlib import Path


def content(listen: int) -> bytes:
    port = {"protocol": "tcp", "listen": listen, "port": 20_001}
    one = {"instance": "blue-1", "jail": "app-shop", "version": "v1", "address": ""}
    return json.dumps(
        {"version": 1, "app": "shop", "active": [{**one, "ports": {"web": port}}]}
    ).encode()


def write(folder: Path, listen: int) -> None:
    write_atomically(folder / "shop.json", content(listen))


def ports(folder: Folder) -> list[int]:
    return [place[1] for routes in folder.routes.values() for place in routes]


def test_only_what_is_new_is_news(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert not folder.glance()
    write(tmp_path, 80)
    assert folder.glance()
    assert (ports(folder), folder.seen) == ([80], {"shop": sha256(content(80)).hexdigest()})
    assert not any(folder.glance() for _ in range(5))
    (tmp_path / "shop.json").unlink()
    assert folder.glance()
    assert (ports(folder), folder.seen) == ([], {})


def test_second_change_in_one_tick_of_the_clock_is_seen_soon_after(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write(tmp_path, 80)
    tick = tmp_path.stat().st_mtime_ns
    assert folder.glance()
    write(tmp_path, 81)
    os.utime(tmp_path, ns=(tick, tick))
    assert folder.glance()
    assert ports(folder) == [81]


def test_who_asks_has_every_file_looked_at(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write(tmp_path, 80)
    tick = tmp_path.stat().st_mtime_ns
    while folder.glance() or folder.glance():
        pass
    folder.glance()
    write(tmp_path, 81)
    os.utime(tmp_path, ns=(tick, tick))
    assert folder.glance(is_asked=True)
    assert ports(folder) == [81]


def test_file_that_is_wrong_goes_on_saying_what_it_said(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write(tmp_path, 80)
    folder.glance()
    write_atomically(tmp_path / "shop.json", b"{")
    assert not folder.glance()
    assert ports(folder) == [80]
    assert folder.problems["shop"].startswith("not JSON")
    assert folder.seen == {"shop": sha256(b"{").hexdigest()}
    write(tmp_path, 81)
    assert folder.glance()
    assert not folder.problems


def test_folder_that_is_gone_says_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "traffic.d")
    assert not folder.glance()
    (tmp_path / "traffic.d").mkdir()
    write(tmp_path / "traffic.d", 80)
    (tmp_path / "traffic.d" / ".shop.json.1.abcdef01").write_text("half")
    assert folder.glance()
    assert ports(folder) == [80]
