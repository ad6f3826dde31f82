"""pf.conf: sections in the order that pf wants, everything closed first, little opened after."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.configuration import BRIDGE, SUBNET, files

BASE = Path(__file__).resolve().parents[3] / "overlays/base"
# pf.conf(5): statements come in this order.
SECTIONS = (
    ("macro", r'[a-z_]+ = "|include '),
    ("option", r"set "),
    ("normalization", r"scrub "),
    ("translation", r"(nat|rdr|nat-anchor|rdr-anchor) "),
    ("filter", r"(block|pass|anchor) "),
)


def statements(file: str = "etc/pf.conf") -> list[str]:
    text = re.sub(r"\\\n\s*", "", (BASE / file).read_text())
    return [" ".join(line.split()) for line in text.splitlines() if line and line[0] != "#"]


def section(statement: str) -> int:
    found = [n for n, (_, form) in enumerate(SECTIONS) if re.match(form, statement)]
    assert len(found) == 1, statement
    return found[0]


def test_statements_are_in_order() -> None:
    places = [section(statement) for statement in statements()]
    assert places == sorted(places)
    assert set(places) == set(range(len(SECTIONS)))


def test_everything_is_closed_before_anything_is_opened() -> None:
    rules = [each for each in statements() if section(each) == len(SECTIONS) - 1]
    assert rules[0] == "block in all"
    assert not [each for each in rules if " quick" in each], "the last rule that fits must count"


def test_only_ssh_and_quic_are_open_to_everybody() -> None:
    opened = [each for each in statements() if re.match(r"pass in proto (tcp|udp)", each)]
    assert len(opened) == 2
    assert "pass in proto tcp to (self) port ssh" in opened[0]
    assert opened[1] == "pass in proto udp to (self) port $quic_ports keep state"
    assert not [
        each for each in statements() if re.fullmatch(r"pass( in)?( all)?( keep state)?", each)
    ]


def test_jails_have_their_anchors() -> None:
    said = statements()
    for anchor in ('nat-anchor "macula/*"', 'rdr-anchor "macula/*"', 'anchor "macula/*"'):
        assert anchor in said


def test_jails_are_where_the_reconciler_puts_them() -> None:
    said = statements()
    assert f'bridge = "{BRIDGE}"' in said
    assert f'jails = "{SUBNET}"' in said


def test_ports_of_the_image_are_those_of_a_machine_without_seed() -> None:
    (made,) = [file for file in files(None, "m", ()) if file.path == "/etc/pf.ports.conf"]
    assert made.content is not None
    assert made.content.decode().splitlines()[-1] == statements("etc/pf.ports.conf")[-1]


def test_rules_that_cannot_be_loaded_leave_only_ssh() -> None:
    said = statements("etc/pf-fallback.conf")
    assert [section(each) for each in said] == sorted(section(each) for each in said)
    rules = [each for each in said if section(each) == len(SECTIONS) - 1]
    assert rules[0] == "block in all"
    opened = [each for each in rules if each.startswith("pass in") and "icmp" not in each]
    assert opened == ["pass in proto tcp to (self) port 22 flags S/SA keep state"]
    # It must load whatever is wrong with the files that are made at each start.
    assert not re.search(r"\$|include", " ".join(said))


def test_every_macro_is_defined() -> None:
    text = "\n".join([*statements(), *statements("etc/pf.ports.conf")])
    used = set(re.findall(r"\$([a-z_]+)", text))
    assert used <= set(re.findall(r"^([a-z_]+) = ", text, re.MULTILINE))
