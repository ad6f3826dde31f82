"""What a traffic file may say: routes come of it, or it is refused as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.front.balance import Endpoint
from reconciler.front.routes import MOST_BYTES, BadTraffic, claims, read_routes

PORT = {"protocol": "tcp", "listen": 8080, "port": 20_001}


def instance(**said: Any) -> dict[str, Any]:
    good = {"instance": "blue-1", "jail": "app-shop", "version": "51f9", "address": ""}
    return {**good, "ports": {"web": PORT}, **said}


def content(**said: Any) -> bytes:
    good = {"version": 1, "app": "shop", "active": [instance()], "linger_s": 10}
    return json.dumps({**good, **said}).encode()


def test_route_leads_from_the_machines_port_to_that_of_each_instance() -> None:
    resting = instance(instance="blue-2", jail="a2-shop", address="10.77.0.9")
    routes = read_routes(content(resting=[resting]), "shop")
    (route,) = routes.values()
    assert (route.app, route.name, route.place, route.linger_s) == (
        "shop",
        "web",
        ("tcp", 8080),
        10,
    )
    assert route.active == [Endpoint("blue-1", "app-shop", "51f9", "127.0.0.1", 20_001)]
    assert route.resting == [Endpoint("blue-2", "a2-shop", "51f9", "10.77.0.9", 20_001)]


def test_app_without_ports_has_no_routes() -> None:
    assert read_routes(content(active=[instance(ports={})]), "shop") == {}


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[" * 100_000,
        b" " * (MOST_BYTES + 1),
        b"[]",
        content(version=2),
        content(app="other"),
        content(active={}),
        content(active=[[]]),
        content(active=[instance()] * 500),
        content(active=[instance(address="example.org")]),
        content(active=[instance(address=None)]),
        content(active=[instance(jail="")]),
        content(active=[instance(version="a\nb")]),
        content(active=[instance(ports={"web": {**PORT, "port": True}})]),
        content(active=[instance(ports={"web": {**PORT, "listen": 65_536}})]),
        content(active=[instance(ports={"web": {**PORT, "protocol": "sctp"}})]),
        content(active=[instance(ports=[])]),
        content(linger_s=float("nan")),
        content(linger_s=-1),
        content(linger_s=True),
    ],
)
def test_what_is_no_traffic_file_is_refused(bad: bytes) -> None:
    with pytest.raises(BadTraffic):
        read_routes(bad, "shop")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.sampled_from(["active", "resting", "linger_s", "version", "app"]), _JSON)
def test_any_other_value_is_refused_or_read_and_never_an_error(key: str, value: Any) -> None:
    try:
        read_routes(content(**{key: value}), "shop")
    except BadTraffic:
        return


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(said: bytes) -> None:
    with pytest.raises(BadTraffic):
        read_routes(said, "shop")


def test_who_has_a_port_keeps_it_and_of_others_the_first_gets_it() -> None:
    one, other = (read_routes(content(app=app), app) for app in ("one", "other"))
    both = {"other": other, "one": one}
    place = ("tcp", 8080)
    assert claims(both, {})[place].app == "one"
    assert claims(both, {place: "other"})[place].app == "other"
    assert claims({"one": one}, {place: "other"})[place].app == "one"
