"""Laws of ``host:port``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.addresses import Address, InvalidAddress, parse_address

HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z0-9]{1,10}(\.[a-z0-9]{1,10}){0,3}", fullmatch=True),
)


@given(host=HOSTS, port=st.integers(1, 65_535))
def test_written_address_reads_back_the_same(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidAddress:
        return
    assert 1 <= address.port <= 65_535


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":4701",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+1",
        "::1:4701",
        "[::1]",
        "[127.0.0.1:4701",
        "-a:4701",
        "a b:4701",
        "a:4701\n",
        "a:٤٧٠١",
    ],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_ipv6_host_is_written_in_brackets() -> None:
    assert str(Address("::1", 4701)) == "[::1]:4701"
