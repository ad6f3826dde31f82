"""The seed: every key is known, every problem is one line with its key, nothing hostile gets by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.seed import BYTES_MAX, InvalidSeed, parse_seed
from unit.appliance.startyard import SEED, ssh_key

FULL = f"""
version = 1
hostname = "edge-7.plant.example"
[network]
mode = "static"
interface = "igb0"
address = "192.0.2.10/24"
gateway = "192.0.2.1"
address6 = "2001:db8::10/64"
gateway6 = "2001:db8::1"
nameservers = ["192.0.2.53", "2001:db8::53"]
[ssh]
authorized_keys = ["{ssh_key()} ann@example.org", "{ssh_key("ssh-rsa")}"]
[realm]
join_token = "abc.DEF-123_~:=/+"
[repository]
url = "ssh://git@git.example:2222/site.git"
branch = "release/1.x"
known_hosts = ["[git.example]:2222 {ssh_key()}", "|1|aGFzaA==|aGFzaA== {ssh_key()}"]
allowed_signers = ["ann@example.org {ssh_key()}"]
[jails]
network = "vnet"
[firewall]
quic_ports = [4433, 4701]
[log]
remote = "[2001:db8::14]:514"
[time]
servers = ["192.0.2.123", "pool time.example"]
"""


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(InvalidSeed) as raised:
        parse_seed(text.encode() if isinstance(text, str) else text)
    return raised.value.problems


def test_every_key_can_be_given() -> None:
    seed = parse_seed(FULL.encode())
    assert seed.network.nameservers == ("192.0.2.53", "2001:db8::53")
    assert seed.repository is not None
    assert seed.repository.branch == "release/1.x"
    assert seed.firewall.quic_ports == (4433, 4701)


def test_only_the_version_must_be_given() -> None:
    seed = parse_seed(b"version = 1\n")
    assert (seed.hostname, seed.network.mode, seed.jails.network) == (None, "dhcp", "host")


def test_editors_of_windows_are_understood() -> None:
    assert parse_seed(b"\xef\xbb\xbf" + FULL.replace("\n", "\r\n").encode()) == parse_seed(
        FULL.encode()
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "version: it is missing"),
        ("version = 2", "version: it should be 1"),
        ("version = '1'", "version: it should be 1"),
        ("version = 1\nhostnam = 'x'", "hostnam: there is no such key"),
        ("version = 1\nhostname = 3", "hostname: it must be text in quotes"),
        ("version = 1\nhostname = 2026-01-01", "dates and times belong in quotes"),
        ("version = 1\nnetwork = 1", "network: it must be a table"),
        ("version = 1\n[ssh]\nauthorized_keys = []", "ssh.authorized_keys: it must not be empty"),
        ("version = 1\n[ssh]", "ssh.authorized_keys: it is missing"),
        ("version = 1\n[firewall]\nquic_ports = [70000]", "firewall.quic_ports[1]: "),
        ("version = 1\n[firewall]\nquic_ports = [true]", "firewall.quic_ports[1]: "),
        ("version = 1\n[network]\naddress = '192.0.2.1/24'", "network: addresses and gateways"),
        ("version = 1\n[network]\nmode = 'static'", "network: mode = 'static' needs"),
        ("version = 1\n[network]\nmode = 'dchp'", "network.mode: it should be"),
        ("version = [", "Invalid value"),
    ],
)
def test_problem_begins_with_its_key(text: str, problem: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_all_problems_are_found_at_once() -> None:
    text = FULL.replace("igb0", "igb 0").replace("release/1.x", "-x").replace("4701", "0")
    assert [line.partition(":")[0] for line in problems(text)] == [
        "network.interface",
        "repository.branch",
        "firewall.quic_ports[2]",
    ]


def test_gateway_of_the_wrong_family_is_a_problem() -> None:
    text = FULL.replace('gateway = "192.0.2.1"', 'gateway = "2001:db8::1"')
    assert problems(text) == ("network: gateway: '2001:db8::1' is no IPv4 address",)


def test_too_large_is_refused_before_it_is_read() -> None:
    assert problems(b"#" * (BYTES_MAX + 1)) == ("it has more than 64 KiB",)


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    assert len(problems(b"a=" + b"[" * 60_000)) == 1


def test_a_wrong_token_is_never_shown() -> None:
    found = problems(SEED.replace(b"token-of-edge-7", b"se cret"))
    assert "cret" not in "".join(found)


# What would end a word in a shell, YAML, pf.conf or ntp.conf.
HOSTILE = st.sampled_from(['"', "'", "$(x)", "`x`", "\n", ";", "\\", "#", "{", " x", "\0", "é"])


@given(key=st.sampled_from([
    "edge-7.plant.example", "igb0", "192.0.2.10/24", "2001:db8::1\"", "abc.DEF", "git.example:2222",
    "release/1.x", "[git.example]", "ann@example.org ssh", "192.0.2.123", "pool time", "::14]:514",
]), sign=HOSTILE, at=st.integers(0, 3))  # fmt: skip
def test_no_value_carries_a_sign_that_another_program_obeys(key: str, sign: str, at: int) -> None:
    quoted = sign.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    text = FULL.replace(key, key[:at] + quoted.replace("\0", "\\u0000") + key[at:])
    assert problems(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_seed_or_a_problem(content: bytes) -> None:
    found: tuple[str, ...] = ("",)
    try:
        parse_seed(content)
    except InvalidSeed as error:
        found = error.problems
    assert found
    assert all(line.isprintable() for line in found)
