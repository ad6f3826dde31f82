"""Folders in memory: their templates, their sizes, and what has to be there before they are."""

from __future__ import annotations

from pathlib import Path

from imagebuilder.memory import parse_layout

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "overlays/base"
LAYOUT = parse_layout((ROOT / "image/layout.toml").read_text(), "layout.toml")
# Recorded on FreeBSD 13.1: used in /etc and /var right after a start, in KiB.
USED_KIB = {"etc": 2340, "var": 2140}


def test_etc_and_var_are_copied_from_conf_base() -> None:
    assert {(each.folder, each.template, each.how) for each in LAYOUT} == {
        ("etc", "conf/base/etc", "copy"),
        ("var", "conf/base/var", "copy"),
    }
    # It is what makes rc(8) look for templates at all.
    assert (BASE / "etc/diskless").is_file()


def test_memory_disks_have_room_and_a_bound() -> None:
    for each in LAYOUT:
        kib = int((BASE / each.template / "md_size").read_text()) * 512 // 1024
        assert 4 * USED_KIB[each.folder] <= kib <= 128 * 1024


def test_templates_bring_nothing_but_their_size() -> None:
    brought = [path for path in (BASE / "conf").rglob("*") if path.is_file()]
    assert {path.name for path in brought} == {"md_size"}, "put it into etc or var of the overlay"
