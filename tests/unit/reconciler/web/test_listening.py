"""Addresses to listen on, and when plain text may be spoken there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from reconciler.web.listening import Endpoint, check_privacy, parse_endpoint


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_an_endpoint_reads_what_it_says(address: object, port: int) -> None:
    if "%" not in str(address):
        endpoint = Endpoint(str(address), port)
        assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text", ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80",
             "[127.0.0.1]:80", "localhost:80", "127.0.0.1:٣"]
)  # fmt: skip
def test_other_words_are_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"address and port|names no port|brackets"):
        parse_endpoint(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_may_be_plain(host: str) -> None:
    check_privacy(Endpoint(host, 80), has_tls=False, behind_proxy=False)


@pytest.mark.parametrize("host", ["198.51.100.1", "::", "10.0.0.1", "192.0.2.1"])
def test_beyond_it_tls_or_a_proxy_is_wanted(host: str) -> None:
    check_privacy(Endpoint(host, 80), has_tls=True, behind_proxy=False)
    check_privacy(Endpoint(host, 80), has_tls=False, behind_proxy=True)
    with pytest.raises(UsageError, match="plain text"):
        check_privacy(Endpoint(host, 80), has_tls=False, behind_proxy=False)
